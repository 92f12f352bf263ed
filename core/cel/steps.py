"""Steps of an evaluation that are made of other steps: logic, calls, comparisons, loops.

A step is called with the frame, ``[cost, limit, variables, locals…]``, adds to the cost and gives a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cybernetes.core.cel.callcosts import Cost
from cybernetes.core.cel.cost import LIST_COST, MAP_COST
from cybernetes.core.cel.errors import CostExceeded, EvaluationError, no_such_overload
from cybernetes.core.cel.library.operators import insert
from cybernetes.core.cel.values import equal

Frame = list[Any]
Step = Callable[[Frame], Any]


def read_local(place: int) -> Step:
    def local(f: Frame) -> Any:
        f[0] += 1
        return f[place]

    return local


def both(one: Step, other: Step) -> Step:
    return _decided(one, other, decisive=False)


def either(one: Step, other: Step) -> Step:
    return _decided(one, other, decisive=True)


def _decided(one: Step, other: Step, *, decisive: bool) -> Step:
    """``&&`` and ``||``: a side that decides does so whatever the other is; of two errors the first is told."""
    neutral = not decisive

    def decided(f: Frame) -> Any:
        problem: EvaluationError | None = None
        try:
            found = one(f)
            if found is decisive:
                return decisive
            if found is not neutral:
                problem = no_such_overload()
        except CostExceeded:
            raise
        except EvaluationError as error:
            problem = error
        if problem is None:
            found = other(f)
            if found is decisive:
                return decisive
            if found is neutral:
                return neutral
            raise no_such_overload()
        try:
            found = other(f)
        except CostExceeded:
            raise
        except EvaluationError:
            raise problem from None
        if found is decisive:
            return decisive
        raise problem

    return decided


def call_step(call: Callable[..., Any], steps: Sequence[Step], cost: Cost) -> Step:
    if isinstance(cost, int):
        fixed = cost
        if len(steps) == 1:
            single = steps[0]

            def called_one(f: Frame) -> Any:
                result = call(single(f))
                f[0] += fixed
                if f[0] > f[1]:
                    raise CostExceeded
                return result

            return called_one
        if len(steps) == 2:
            first, second = steps

            def called_two(f: Frame) -> Any:
                result = call(first(f), second(f))
                f[0] += fixed
                if f[0] > f[1]:
                    raise CostExceeded
                return result

            return called_two
    counted = cost if callable(cost) else (lambda values, result: cost)

    def called(f: Frame) -> Any:
        values = [each(f) for each in steps]
        result = call(*values)
        f[0] += counted(values, result)
        if f[0] > f[1]:
            raise CostExceeded
        return result

    return called


def index_step(container: Step, key: Any, call: Callable[..., Any]) -> Step:
    def index(f: Frame) -> Any:
        value = container(f)
        f[0] += 1
        return call(value, key)

    return index


# Two values of one plain kind, as the checker knows: Python's own operators will do.

FAST_KINDS = frozenset({"int", "string", "bool"})


def _fast_equal(one: Step, other: Step) -> Step:
    def fast(f: Frame) -> bool:
        mine, theirs = one(f), other(f)
        f[0] += _small(mine, theirs)
        return equal(mine, theirs) if type(mine) is not type(theirs) else bool(mine == theirs)

    return fast


def _fast_unequal(one: Step, other: Step) -> Step:
    def fast(f: Frame) -> bool:
        mine, theirs = one(f), other(f)
        f[0] += _small(mine, theirs)
        return not equal(mine, theirs) if type(mine) is not type(theirs) else bool(mine != theirs)

    return fast


def _small(mine: Any, theirs: Any) -> int:
    if type(mine) is str and type(theirs) is str:
        size = len(mine) if len(mine) < len(theirs) else len(theirs)
        return -(-size // 10)
    return 1


FAST: dict[str, Callable[[Step, Step], Step]] = {"_==_": _fast_equal, "_!=_": _fast_unequal}


def pairs(value: Any, has_two: bool) -> Sequence[Any]:
    """What is gone through: elements or keys, or pairs of both when two are named."""
    if isinstance(value, Mapping):
        return list(value.items()) if has_two else list(value)
    if isinstance(value, list | tuple):
        return list(enumerate(value)) if has_two else value
    raise no_such_overload()


def _bind_locals(f: Frame, each: Any, one: int, two: int, has_two: bool) -> None:
    if has_two:
        f[one], f[two] = each
    else:
        f[one] = each


def all_loop(
    test: Step, one: int, two: int, has_two: bool, cost: int, *, stops_at: bool
) -> Callable[[Frame, Sequence[Any]], bool]:
    """``all`` (stops at False) and ``exists`` (stops at True).

    ``cost`` is what a round costs beside the test: its condition, and the accumulator. Where a round decides, the
    condition of the next one is still looked at.
    """
    not_stops = not stops_at

    def loop(f: Frame, values: Sequence[Any]) -> bool:
        held: EvaluationError | None = None
        last = len(values) - 1
        for index, each in enumerate(values):
            if has_two:
                f[one], f[two] = each
            else:
                f[one] = each
            f[0] += cost
            if f[0] > f[1]:
                raise CostExceeded
            try:
                found = test(f)
            except CostExceeded:
                raise
            except EvaluationError as error:
                held = error
                continue
            if found is stops_at:
                f[0] += 1 if index == last else cost
                return bool(stops_at)
            if found is not_stops:
                continue
            held = no_such_overload()
        f[0] += 1
        if held is not None:
            raise held
        return not stops_at

    return loop


def exists_one_loop(test: Step, one: int, two: int, has_two: bool) -> Callable[[Frame, Sequence[Any]], bool]:
    def loop(f: Frame, values: Sequence[Any]) -> bool:
        count = 0
        for each in values:
            _bind_locals(f, each, one, two, has_two)
            found = test(f)
            if found is True:
                count += 1
                f[0] += 2
            elif found is False:
                f[0] += 1
            else:
                raise no_such_overload()
            if f[0] > f[1]:
                raise CostExceeded
        f[0] += 2
        return count == 1

    return loop


def gather_loop(
    test: Step | None, element: Step, one: int, two: int, has_two: bool
) -> Callable[[Frame, Sequence[Any]], list[Any]]:
    """``map``, ``filter`` and transformList."""

    def loop(f: Frame, values: Sequence[Any]) -> list[Any]:
        f[0] += LIST_COST
        found: list[Any] = []
        for each in values:
            _bind_locals(f, each, one, two, has_two)
            if test is not None:
                verdict = test(f)
                if verdict is False:
                    f[0] += 1
                    continue
                if verdict is not True:
                    raise no_such_overload()
            found.append(element(f))
            f[0] += LIST_COST + 2
            if f[0] > f[1]:
                raise CostExceeded
        f[0] += 1
        return found

    return loop


def insert_loop(
    test: Step | None, parts: Sequence[Step], one: int, two: int, has_two: bool
) -> Callable[[Frame, Sequence[Any]], dict[Any, Any]]:
    """transformMap and transformMapEntry."""

    def loop(f: Frame, values: Sequence[Any]) -> dict[Any, Any]:
        f[0] += MAP_COST
        found: dict[Any, Any] = {}
        for each in values:
            _bind_locals(f, each, one, two, has_two)
            if test is not None:
                verdict = test(f)
                if verdict is False:
                    f[0] += 1
                    continue
                if verdict is not True:
                    raise no_such_overload()
            found = insert(found, *(part(f) for part in parts))
            f[0] += 2
            if f[0] > f[1]:
                raise CostExceeded
        f[0] += 1
        return found

    return loop
