"""Macros: calls that stand for loops and tests (cel-go, parser/macro.go, ext/comprehensions.go, cel/library.go)."""

from __future__ import annotations

from collections.abc import Callable

from cybernetes.core.cel.ast import Call, Fold, Ident, ListNode, Literal, MapNode, Node, Select
from cybernetes.core.cel.errors import Issue

#: The variable in which a loop gathers its result. No name of a user's can be it.
ACCUMULATOR = "@result"
_UNUSED = "#unused"
_SORTED = "@__sortBy_input__"


class MacroError(Exception):
    def __init__(self, position: int, message: str) -> None:
        self.issue = Issue(position, message)
        super().__init__(message)


def expand(call: Call) -> Node:
    """What the call stands for; itself when it is no macro. Raises MacroError."""
    macro = _MACROS.get((call.function, len(call.args), call.target is not None))
    return call if macro is None else macro(call)


def _has(call: Call) -> Node:
    argument = call.args[0]
    if isinstance(argument, Select) and not argument.is_test:
        return Select(call.position, argument.operand, argument.field, is_test=True)
    raise MacroError(argument.position, "invalid argument to has() macro")


def _accumulated(position: int) -> Ident:
    return Ident(position, ACCUMULATOR)


def _variable(node: Node) -> str:
    if isinstance(node, Ident) and "." not in node.name:
        if node.name in (ACCUMULATOR, "__result__"):
            raise MacroError(node.position, "iteration variable overwrites accumulator variable")
        return node.name
    raise MacroError(node.position, "argument must be a simple name")


def _variables(call: Call, count: int) -> tuple[str, str]:
    """The one or two names with which a loop begins."""
    one = _variable(call.args[0])
    if count == 1:
        return one, ""
    other = _variable(call.args[1])
    if one == other:
        raise MacroError(call.args[1].position, f"duplicate variable name: {one}")
    return one, other


def _fold(
    call: Call, macro: str, count: int, initial: Node, condition: Node, step: Node, result: Node | None = None
) -> Node:
    assert call.target is not None
    one, other = _variables(call, count)
    at = call.position
    return Fold(at, macro, call.target, one, other, ACCUMULATOR, initial, condition, step, result or _accumulated(at))


def _all(call: Call) -> Node:
    at, count = call.position, len(call.args) - 1
    condition = Call(at, "@not_strictly_false", [_accumulated(at)])
    step = Call(at, "_&&_", [_accumulated(at), call.args[-1]])
    return _fold(call, "all", count, Literal(at, True), condition, step)


def _exists(call: Call) -> Node:
    at, count = call.position, len(call.args) - 1
    condition = Call(at, "@not_strictly_false", [Call(at, "!_", [_accumulated(at)])])
    step = Call(at, "_||_", [_accumulated(at), call.args[-1]])
    return _fold(call, "exists", count, Literal(at, False), condition, step)


def _exists_one(call: Call) -> Node:
    at, count = call.position, len(call.args) - 1
    more = Call(at, "_+_", [_accumulated(at), Literal(at, 1)])
    step = Call(at, "_?_:_", [call.args[-1], more, _accumulated(at)])
    result = Call(at, "_==_", [_accumulated(at), Literal(at, 1)])
    return _fold(call, "exists_one", count, Literal(at, 0), Literal(at, True), step, result)


def _gathered(call: Call, macro: str, count: int, element: Node, test: Node | None) -> Node:
    at = call.position
    step: Node = Call(at, "_+_", [_accumulated(at), ListNode(at, [element])])
    if test is not None:
        step = Call(at, "_?_:_", [test, step, _accumulated(at)])
    return _fold(call, macro, count, ListNode(at, []), Literal(at, True), step)


def _map(call: Call) -> Node:
    return _gathered(call, "map", 1, call.args[-1], call.args[1] if len(call.args) == 3 else None)


def _filter(call: Call) -> Node:
    return _gathered(call, "filter", 1, Ident(call.args[0].position, _variable(call.args[0])), call.args[1])


def _transform_list(call: Call) -> Node:
    return _gathered(call, "map", 2, call.args[-1], call.args[2] if len(call.args) == 4 else None)


def _inserted(call: Call, values: list[Node]) -> Node:
    at = call.position
    step: Node = Call(at, "cel.@mapInsert", [_accumulated(at), *values])
    if len(call.args) == 4:
        step = Call(at, "_?_:_", [call.args[2], step, _accumulated(at)])
    return _fold(call, "insert", 2, MapNode(at, []), Literal(at, True), step)


def _transform_map(call: Call) -> Node:
    return _inserted(call, [Ident(call.args[0].position, _variable(call.args[0])), call.args[-1]])


def _transform_entry(call: Call) -> Node:
    return _inserted(call, [call.args[-1]])


def _bound(call: Call, what: str) -> Node:
    """The value of an optional under a name of its own."""
    assert call.target is not None
    variable = call.args[0]
    if not isinstance(variable, Ident):
        raise MacroError(variable.position, f"{what}() variable name must be a simple identifier")
    at = call.position
    return Fold(
        at,
        "bind",
        ListNode(at, []),
        _UNUSED,
        "",
        variable.name,
        Call(at, "value", [], call.target),
        Literal(at, False),
        Ident(at, variable.name),
        call.args[1],
    )


def _optional_map(call: Call) -> Node:
    at = call.position
    assert call.target is not None
    has_value = Call(at, "hasValue", [], call.target)
    made = Call(at, "optional.of", [_bound(call, "optMap")])
    return Call(at, "_?_:_", [has_value, made, Call(at, "optional.none", [])])


def _optional_flat_map(call: Call) -> Node:
    at = call.position
    assert call.target is not None
    has_value = Call(at, "hasValue", [], call.target)
    return Call(at, "_?_:_", [has_value, _bound(call, "optFlatMap"), Call(at, "optional.none", [])])


def _sort_by(call: Call) -> Node:
    """The list under a name of its own, sorted by what is gathered of its elements."""
    at, target = call.position, call.target
    assert target is not None
    if not isinstance(target, ListNode | Select | Ident | Fold | Call):
        what = "sortBy can only be applied to a list, identifier, comprehension, call or select expression"
        raise MacroError(target.position, what)
    keys = _map(Call(at, "map", call.args, Ident(at, _SORTED)))
    result = Call(at, "@sortByAssociatedKeys", [keys], Ident(at, _SORTED))
    return Fold(
        at, "bind", ListNode(at, []), _UNUSED, "", _SORTED, target, Literal(at, False), Ident(at, _SORTED), result
    )


#: (function, number of arguments, whether it has a target)
_MACROS: dict[tuple[str, int, bool], Callable[[Call], Node]] = {
    ("has", 1, False): _has,
    ("all", 2, True): _all,
    ("all", 3, True): _all,
    ("exists", 2, True): _exists,
    ("exists", 3, True): _exists,
    ("exists_one", 2, True): _exists_one,
    ("existsOne", 2, True): _exists_one,
    ("exists_one", 3, True): _exists_one,
    ("existsOne", 3, True): _exists_one,
    ("map", 2, True): _map,
    ("map", 3, True): _map,
    ("filter", 2, True): _filter,
    ("transformList", 3, True): _transform_list,
    ("transformList", 4, True): _transform_list,
    ("transformMap", 3, True): _transform_map,
    ("transformMap", 4, True): _transform_map,
    ("transformMapEntry", 3, True): _transform_entry,
    ("transformMapEntry", 4, True): _transform_entry,
    ("sortBy", 2, True): _sort_by,
    ("optMap", 2, True): _optional_map,
    ("optFlatMap", 2, True): _optional_flat_map,
}
