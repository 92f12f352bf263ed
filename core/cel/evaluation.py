"""A checked tree as functions that compute it and count what that costs (cel-go, interpreter).

Each node becomes a closure over the closures of its parts, called with the frame: ``[cost, limit, variables, locals]``.
A local variable has a place in the frame of its own, so inner loops hide outer names by having other places. Costs are
those of upstream's interpreter, node for node, since a limit on them decides what is accepted; the loops of macros are
run as such and pay for the tree that they stand for.

Errors are exceptions. ``&&``, ``||``, ``all`` and ``exists`` hold one back as long as another part may decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cybernetes.core.cel import library, steps
from cybernetes.core.cel.ast import (
    Call,
    Entry,
    Fold,
    Ident,
    ListNode,
    Literal,
    MapNode,
    Node,
    Select,
    StructNode,
)
from cybernetes.core.cel.callcosts import cost_of
from cybernetes.core.cel.cost import LIST_COST, MAP_COST, STRUCT_COST
from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library.operators import MISSING, lookup, shown_key
from cybernetes.core.cel.steps import Frame, Step
from cybernetes.core.cel.values import Optional

#: Makes an object of a type that an expression constructs, from its fields.
Build = Callable[[str, Mapping[str, Any]], Any]

_COST, _LIMIT, _VARIABLES, _LOCALS = 0, 1, 2, 3


class Fields:
    """What is no dict but has fields that expressions select: variables that are computed when first asked for."""

    __slots__ = ()

    def field(self, name: str) -> Any:
        """The value; MISSING when there is no such field."""
        raise NotImplementedError


class Compiler:
    """Makes the closures of one expression. ``places`` is how long its frames must be."""

    def __init__(self, build: Build | None = None) -> None:
        self._build = build
        self._functions = library.functions()
        self._scopes: list[dict[str, int]] = []
        self.places = _LOCALS

    def step(self, node: Node) -> Step:
        match node:
            case Literal():
                value = node.value
                return lambda f: value
            case Ident():
                return self._ident(node)
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListNode():
                return self._list(node)
            case MapNode():
                return self._map(node)
            case StructNode():
                return self._struct(node)
            case Fold():
                return self._fold(node)
        raise TypeError(node)

    # Names and fields

    def _ident(self, node: Ident) -> Step:
        if node.is_value:
            value = node.value
            return lambda f: value
        name = node.name.removeprefix(".")
        for scope in reversed(self._scopes):
            place = scope.get(name)
            if place is not None:
                return steps.read_local(place)

        def variable(f: Frame) -> Any:
            f[0] += 1
            try:
                return f[2][name]
            except KeyError:
                raise EvaluationError(f"no such attribute(s): {name}") from None

        return variable

    def _select(self, node: Select) -> Step:
        if node.as_ident is not None:
            return self._ident(node.as_ident)
        operand = self.step(node.operand)
        name, convert, hides_null = _declared(node.operand, node.field)
        if node.is_test:

            def test(f: Frame) -> bool:
                value = operand(f)
                if isinstance(value, Optional):
                    if not value.has_value:
                        return False
                    value = value.value
                if isinstance(value, Mapping):
                    return name in value and not (hides_null and value[name] is None)
                if isinstance(value, Fields):
                    return value.field(name) is not MISSING
                raise no_such_overload()

            return test

        def select(f: Frame) -> Any:
            value = operand(f)
            f[0] += 1
            if type(value) is dict:
                found = value.get(name, MISSING)
            elif isinstance(value, Optional):
                return _optional_field(value, name, convert, hides_null)
            elif isinstance(value, Mapping):
                found = value.get(name, MISSING)
            elif isinstance(value, Fields):
                found = value.field(name)
            else:
                raise no_such_overload()
            if found is MISSING or (found is None and hides_null):
                raise EvaluationError(f"no such key: {name}")
            return found if convert is None else convert(found)

        return select

    def _optional_select(self, node: Call) -> Step:
        operand = self.step(node.args[0])
        assert isinstance(node.args[1], Literal)
        name, convert, hides_null = _declared(node.args[0], node.args[1].value)

        def select(f: Frame) -> Any:
            value = operand(f)
            f[0] += 1
            optional = value if isinstance(value, Optional) else Optional(True, value)
            return _optional_field(optional, name, convert, hides_null)

        return select

    # Calls

    def _call(self, node: Call) -> Step:
        function = node.function
        if function == "_&&_":
            return steps.both(self.step(node.args[0]), self.step(node.args[1]))
        if function == "_||_":
            return steps.either(self.step(node.args[0]), self.step(node.args[1]))
        if function == "_?_:_":
            return self._conditional(node)
        if function == "_?._":
            return self._optional_select(node)
        if function in ("or", "orValue") and node.target is not None:
            return self._alternative(node)
        parts = [*([node.target] if node.target is not None else []), *node.args]
        inner = [self.step(each) for each in parts]
        overload = node.overloads[0] if len(node.overloads) == 1 else ""
        kinds = {each.type.kind for each in parts}
        if len(kinds) == 1 and function in steps.FAST and kinds <= steps.FAST_KINDS:
            return steps.FAST[function](inner[0], inner[1])
        call = self._functions[function]
        if function == "_[_]" and isinstance(node.args[1], Literal):
            return steps.index_step(inner[0], node.args[1].value, call)
        return steps.call_step(call, inner, cost_of(function, overload))

    def _conditional(self, node: Call) -> Step:
        test, one, other = (self.step(each) for each in node.args)

        def conditional(f: Frame) -> Any:
            found = test(f)
            if found is True:
                return one(f)
            if found is False:
                return other(f)
            raise no_such_overload()

        return conditional

    def _alternative(self, node: Call) -> Step:
        """``a.or(b)``, ``a.orValue(b)``: b is only looked at when a has no value."""
        assert node.target is not None
        target, other = self.step(node.target), self.step(node.args[0])
        takes_value = node.function == "orValue"

        def alternative(f: Frame) -> Any:
            value = target(f)
            f[0] += 1
            if not isinstance(value, Optional):
                raise no_such_overload()
            if not value.has_value:
                return other(f)
            return value.value if takes_value else value

        return alternative

    # What is made

    def _list(self, node: ListNode) -> Step:
        elements = [self.step(each) for each in node.elements]
        optionals = node.optionals

        def make(f: Frame) -> list[Any]:
            found = []
            for index, each in enumerate(elements):
                value = each(f)
                if index in optionals:
                    if not _optional(value).has_value:
                        continue
                    value = value.value
                found.append(value)
            f[0] += LIST_COST
            return found

        return make

    def _map(self, node: MapNode) -> Step:
        entries = [(self.step(each.key), self.step(each.value), each.is_optional) for each in node.entries]

        def make(f: Frame) -> dict[Any, Any]:
            found: dict[Any, Any] = {}
            for key_step, value_step, is_optional in entries:
                key, value = key_step(f), value_step(f)
                if is_optional:
                    if not _optional(value).has_value:
                        continue
                    value = value.value
                if lookup(found, key) is not MISSING:
                    raise EvaluationError(f"Failed with repeated key: {shown_key(key)}")
                found[key] = value
            f[0] += MAP_COST
            return found

        return make

    def _struct(self, node: StructNode) -> Step:
        build = self._build
        name = node.name
        fields: list[tuple[Entry, Step]] = [(each, self.step(each.value)) for each in node.entries]
        if build is None:
            raise TypeError(f"nothing makes a {name}")

        def make(f: Frame) -> Any:
            found = {}
            for entry, each in fields:
                value = each(f)
                if entry.is_optional:
                    if not _optional(value).has_value:
                        continue
                    value = value.value
                found[entry.key] = value
            f[0] += STRUCT_COST
            return build(name, found)

        return make

    # Loops

    def _place(self) -> int:
        self.places += 1
        return self.places - 1

    def _fold(self, node: Fold) -> Step:
        ranged = self.step(node.range)
        if node.macro == "bind":
            return self._bind(node, ranged)
        accumulator, one, two = self._place(), self._place(), self._place()
        self._scopes.append({node.accumulator: accumulator})
        self._scopes.append({node.variable: one, **({node.variable2: two} if node.variable2 else {})})
        loop = self._loop(node, one, two)
        self._scopes.pop()
        self._scopes.pop()
        has_two = bool(node.variable2)

        def fold(f: Frame) -> Any:
            return loop(f, steps.pairs(ranged(f), has_two))

        return fold

    def _loop(self, node: Fold, one: int, two: int) -> Callable[[Frame, Sequence[Any]], Any]:
        step = node.step
        assert isinstance(step, Call)
        has_two = bool(node.variable2)
        if node.macro == "all":
            return steps.all_loop(self.step(step.args[1]), one, two, has_two, 3, stops_at=False)
        if node.macro == "exists":
            return steps.all_loop(self.step(step.args[1]), one, two, has_two, 4, stops_at=True)
        if node.macro == "exists_one":
            return steps.exists_one_loop(self.step(step.args[0]), one, two, has_two)
        test = None
        if step.function == "_?_:_":
            test = self.step(step.args[0])
            inner = step.args[1]
            assert isinstance(inner, Call)
            step = inner
        if node.macro == "insert":
            return steps.insert_loop(test, [self.step(each) for each in step.args[1:]], one, two, has_two)
        gathered = step.args[1]
        assert isinstance(gathered, ListNode)
        return steps.gather_loop(test, self.step(gathered.elements[0]), one, two, has_two)

    def _bind(self, node: Fold, ranged: Step) -> Step:
        """A value under a name of its own."""
        initial = self.step(node.initial)
        place = self._place()
        self._scopes.append({node.accumulator: place})
        result = self.step(node.result)
        self._scopes.pop()

        def bind(f: Frame) -> Any:
            ranged(f)
            f[place] = initial(f)
            return result(f)

        return bind


def _declared(operand: Node, field: str) -> tuple[str, Callable[[Any], Any] | None, bool]:
    """The name of a field as objects have it, what makes CEL's value of its, and whether null means: not there."""
    type_ = operand.type
    if type_.kind == "opaque" and type_.params:
        type_ = type_.params[0]
    if type_.kind == "struct" and type_.fields is not None:
        declared = type_.fields.get(field)
        if declared is not None:
            return declared.name, declared.convert, getattr(type_.fields, "hides_null", False)
    return field, None, False


def _optional(value: Any) -> Optional:
    if not isinstance(value, Optional):
        raise EvaluationError(f"cannot initialize optional entry from non-optional value {value}")
    return value


def _optional_field(value: Optional, name: str, convert: Callable[[Any], Any] | None, hides_null: bool) -> Optional:
    if not value.has_value:
        return value
    inner = value.value
    if isinstance(inner, Mapping):
        found = inner.get(name, MISSING)
    elif isinstance(inner, Fields):
        found = inner.field(name)
    else:
        raise no_such_overload()
    if found is MISSING or (found is None and hides_null):
        return Optional(False)
    return Optional(True, found if convert is None else convert(found))
