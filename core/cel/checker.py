"""Types of all parts of an expression, and the overloads of its calls (cel-go, checker/checker.go).

Everything is noted in the tree. Complaints are gathered, so that one text tells all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cybernetes.core.cel import types
from cybernetes.core.cel.ast import (
    Call,
    Fold,
    Ident,
    ListNode,
    Literal,
    MapNode,
    Node,
    Select,
    StructNode,
)
from cybernetes.core.cel.declarations import Functions
from cybernetes.core.cel.errors import CompileError, Issue
from cybernetes.core.cel.types import DYN, ERROR, Substitutions, Type, most_general, unwrapped
from cybernetes.core.cel.values import type_of

#: Names of types that expressions may speak of.
_TYPE_NAMES: Mapping[str, Type] = {
    **{name: each for name, each in types.SIMPLE.items() if name not in ("dyn", "null", "timestamp", "duration")},
    "null_type": types.NULL,
    "list": types.list_of(DYN),
    "map": types.map_of(DYN, DYN),
    "google.protobuf.Timestamp": types.TIMESTAMP,
    "google.protobuf.Duration": types.DURATION,
    "optional_type": types.optional_of(DYN),
    "net.IP": types.opaque("net.IP"),
    "net.CIDR": types.opaque("net.CIDR"),
}


class Declarations:
    """What an expression may refer to. ``structs`` are the objects that it may make, by name."""

    def __init__(
        self,
        functions: Functions,
        variables: Mapping[str, Type],
        structs: Mapping[str, Type] | None = None,
    ) -> None:
        self.functions = functions
        self.variables = variables
        self.structs: Mapping[str, Type] = structs or {}


def check(source: str, root: Node, declarations: Declarations) -> Type:
    """The type of the whole. Raises CompileError."""
    checker = _Checker(declarations)
    checker.check(root)
    if checker.issues:
        raise CompileError(source, list(dict.fromkeys(checker.issues)))
    checker.finish(root)
    return root.type


class _Checker:
    def __init__(self, declarations: Declarations) -> None:
        self.declarations = declarations
        self.issues: list[Issue] = []
        self.known = Substitutions()
        self.locals: list[dict[str, Type]] = []
        self.unknowns = 0

    def complain(self, node: Node, message: str) -> None:
        self.issues.append(Issue(node.position, message))

    def unknown(self) -> Type:
        self.unknowns += 1
        return types.param(f"_var{self.unknowns - 1}")

    def check(self, node: Node) -> Type:
        match node:
            case Literal():
                node.type = types.NULL if node.value is None else type_of(node.value)
            case Ident():
                node.type = self._ident(node)
            case Select():
                node.type = self._select(node)
            case Call():
                node.type = self._call(node)
            case ListNode():
                node.type = self._list(node)
            case MapNode():
                node.type = self._map(node)
            case StructNode():
                node.type = self._struct(node)
            case Fold():
                node.type = self._fold(node)
        return node.type

    def finish(self, node: Node) -> None:
        """Put what is known of them into the types of all parts; what nobody knows is dyn."""
        node.type = self.known.of(node.type, unknown_is_dyn=True)
        for child in children(node):
            self.finish(child)

    # Names

    def _lookup(self, name: str) -> tuple[Type, Any] | None:
        """(type, value); the value is None for variables."""
        plain = name.removeprefix(".")
        if plain is name:
            for scope in reversed(self.locals):
                found = scope.get(name)
                if found is not None:
                    return found, None
        found = self.declarations.variables.get(plain)
        if found is not None:
            return found, None
        named = _TYPE_NAMES.get(plain) or self.declarations.structs.get(plain)
        return (types.type_of(named), named) if named is not None else None

    def _ident(self, node: Ident) -> Type:
        found = self._lookup(node.name)
        if found is None:
            self.complain(node, f"undeclared reference to '{node.name}' (in container '')")
            return ERROR
        if found[1] is not None:
            node.is_value, node.value = True, found[1]
        return found[0]

    def _select(self, node: Select) -> Type:
        if not node.is_test:
            qualified = _qualified(node)
            if qualified:
                found = self._lookup(qualified)
                if found is not None:
                    ident = Ident(node.position, qualified)
                    ident.type = found[0]
                    if found[1] is not None:
                        ident.is_value, ident.value = True, found[1]
                    node.as_ident = ident
                    return found[0]
        result = self._field(node, node.operand, node.field, is_optional=False)
        return types.BOOL if node.is_test else self.known.of(result)

    def _field(self, node: Node, operand: Node, field: str, *, is_optional: bool) -> Type:
        self.check(operand)
        target, was_optional = unwrapped(self.known.of(operand.type))
        result = ERROR
        if target.kind == "map":
            result = target.params[1]
        elif target.kind == "struct":
            found = target.fields.get(field) if target.fields is not None else None
            if found is not None:
                result = found.type
            else:
                self.complain(node, f"undefined field '{field}'")
        elif target.kind == "param":
            self.known.assign(DYN, target)
            result = DYN
        else:
            if target.kind not in ("dyn", "error"):
                self.complain(node, f"type '{target}' does not support field selection")
            result = DYN
        return types.optional_of(result) if was_optional or is_optional else result

    # Calls

    def _call(self, node: Call) -> Type:
        if node.function == "_?._":
            field = node.args[1]
            assert isinstance(field, Literal)
            result = self._field(node, node.args[0], field.value, is_optional=True)
            field.type = types.STRING
            node.overloads = ["select_optional_field"]
            return self.known.of(result)
        for argument in node.args:
            self.check(argument)
        functions = self.declarations.functions
        if node.target is None:
            name = node.function.removeprefix(".")
            if name not in functions:
                self.complain(node, f"undeclared reference to '{node.function}' (in container '')")
                return ERROR
            node.function = name
            return self._resolve(node, None)
        qualified = _qualified(node.target)
        if qualified and f"{qualified}.{node.function}" in functions:
            node.function = f"{qualified.removeprefix('.')}.{node.function}"
            node.target = None
            return self._resolve(node, None)
        self.check(node.target)
        if node.function not in functions:
            self.complain(node, f"undeclared reference to '{node.function}' (in container '')")
            return ERROR
        return self._resolve(node, node.target)

    def _resolve(self, node: Call, target: Node | None) -> Type:
        arguments = [each.type for each in ([target, *node.args] if target is not None else node.args)]
        if node.function in ("_&&_", "_||_"):
            return self._logical(node)
        result: Type | None = None
        node.overloads = []
        for overload in self.declarations.functions[node.function]:
            if overload.is_member is (target is None) or len(overload.arguments) != len(arguments):
                continue
            expected, returned = overload.arguments, overload.result
            if overload.params:
                fresh = {each: self.unknown() for each in overload.params}
                expected = tuple(_renamed(each, fresh) for each in expected)
                returned = _renamed(returned, fresh)
            if self.known.assign_all(arguments, expected):
                node.overloads.append(overload.id)
                returned = self.known.of(returned)
                if result is None:
                    result = returned
                elif result.kind != "dyn" and returned != result:
                    result = DYN
        if result is None:
            shown = types.signature(
                [self.known.of(each, unknown_is_dyn=True) for each in arguments], is_member=target is not None
            )
            self.complain(node, f"found no matching overload for '{node.function}' applied to '{shown}'")
            return ERROR
        return result

    def _logical(self, node: Call) -> Type:
        is_wrong = False
        for argument in node.args:
            if not self.known.assign(argument.type, types.BOOL):
                self.complain(argument, f"expected type 'bool' but found '{argument.type}'")
                is_wrong = True
        node.overloads = ["logical_and" if node.function == "_&&_" else "logical_or"]
        return ERROR if is_wrong else types.BOOL

    # What is made

    def _join(self, previous: Type | None, current: Type) -> Type:
        """Of elements side by side. Whether they may differ is for ``literals`` to say."""
        if previous is None:
            return current
        return most_general(previous, current) if self.known.assign(previous, current) else DYN

    def _optional(self, node: Node, type_: Type) -> Type:
        inner, is_optional = unwrapped(type_)
        if not is_optional and type_.kind != "dyn":
            self.complain(node, f"expected type '{types.optional_of(type_)}' but found '{type_}'")
        return inner

    def _list(self, node: ListNode) -> Type:
        element: Type | None = None
        for index, each in enumerate(node.elements):
            found = self.check(each)
            if index in node.optionals:
                found = self._optional(each, found)
            element = self._join(element, found)
        return types.list_of(element if element is not None else self.unknown())

    def _map(self, node: MapNode) -> Type:
        key: Type | None = None
        value: Type | None = None
        for entry in node.entries:
            key = self._join(key, self.check(entry.key))
            found = self.check(entry.value)
            if entry.is_optional:
                found = self._optional(entry.value, found)
            value = self._join(value, found)
        if key is None or value is None:
            return types.map_of(self.unknown(), self.unknown())
        return types.map_of(key, value)

    def _struct(self, node: StructNode) -> Type:
        name = node.name.removeprefix(".")
        made = self.declarations.structs.get(name)
        if made is None:
            found = self._lookup(node.name)
            if found is None:
                self.complain(node, f"undeclared reference to '{node.name}' (in container '')")
            else:
                self.complain(node, f"'{node.name}' is not a message type")
            return ERROR
        node.name = name
        for entry in node.entries:
            found_type = self.check(entry.value)
            declared = made.fields.get(entry.key) if made.fields is not None else None
            if entry.is_optional:
                found_type = self._optional(entry.value, found_type)
            if declared is None:
                self.issues.append(Issue(entry.position, f"undefined field '{entry.key}'"))
            elif not self.known.assign(declared.type, found_type):
                text = f"expected type of field '{entry.key}' is '{declared.type}' but provided type is '{found_type}'"
                self.issues.append(Issue(entry.position, text))
        return made

    def _fold(self, node: Fold) -> Type:
        self.check(node.range)
        self.check(node.initial)
        ranged = self.known.of(node.range.type)
        accumulated = node.initial.type
        one, two = ERROR, ERROR
        if ranged.kind == "list":
            one, two = (types.INT, ranged.params[0]) if node.variable2 else (ranged.params[0], DYN)
        elif ranged.kind == "map":
            one, two = ranged.params
        elif ranged.kind in ("dyn", "error", "param"):
            self.known.assign(DYN, ranged)
            one = two = DYN
        else:
            self.complain(
                node.range,
                f"expression of type '{ranged}' cannot be range of a comprehension (must be list, map, or dynamic)",
            )
        self.locals.append({node.accumulator: accumulated})
        self.locals.append({node.variable: one})
        if node.variable2:
            self.locals[-1][node.variable2] = two
        self.check(node.condition)
        self._expect(node.condition, types.BOOL)
        self.check(node.step)
        self._expect(node.step, accumulated)
        self.locals.pop()
        self.check(node.result)
        self.locals.pop()
        return self.known.of(node.result.type)

    def _expect(self, node: Node, type_: Type) -> None:
        if not self.known.assign(type_, node.type):
            self.complain(node, f"expected type '{self.known.of(type_)}' but found '{self.known.of(node.type)}'")


def children(node: Node) -> Sequence[Node]:
    """The parts of a node."""
    match node:
        case Select():
            return (node.operand,) if node.as_ident is None else ()
        case Call():
            return [*([node.target] if node.target is not None else []), *node.args]
        case ListNode():
            return node.elements
        case MapNode():
            return [part for entry in node.entries for part in (entry.key, entry.value)]
        case StructNode():
            return [entry.value for entry in node.entries]
        case Fold():
            return (node.range, node.initial, node.condition, node.step, node.result)
    return ()


def _qualified(node: Node) -> str:
    """``a.b.c`` of selections that are nothing else; empty for the rest."""
    if isinstance(node, Ident):
        return node.name
    if isinstance(node, Select) and not node.is_test:
        prefix = _qualified(node.operand)
        return f"{prefix}.{node.field}" if prefix else ""
    return ""


def _renamed(type_: Type, fresh: Mapping[Type, Type]) -> Type:
    if type_.kind == "param":
        return fresh[type_]
    if not type_.params:
        return type_
    return Type(type_.kind, type_.name, tuple(_renamed(each, fresh) for each in type_.params), type_.fields)
