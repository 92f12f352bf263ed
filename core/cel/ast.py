"""The tree of an expression. The checker notes types and overloads in it.

``position`` is where in the text a node is reported: of an operator, a dot or a bracket the sign itself.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.cel.types import DYN, Type


class Node:
    __slots__ = ("position", "type")

    def __init__(self, position: int) -> None:
        self.position = position
        self.type: Type = DYN


class Literal(Node):
    __slots__ = ("value",)

    def __init__(self, position: int, value: Any) -> None:
        super().__init__(position)
        self.value = value


class Ident(Node):
    """``value`` is what a name stands for that is no variable: a type."""

    __slots__ = ("is_value", "name", "value")

    def __init__(self, position: int, name: str) -> None:
        super().__init__(position)
        self.name = name
        self.is_value = False
        self.value: Any = None


class Select(Node):
    """``operand.field``; ``is_test``: has(operand.field). ``as_ident``: it is the qualified name of something."""

    __slots__ = ("as_ident", "field", "is_test", "operand")

    def __init__(self, position: int, operand: Node, field: str, is_test: bool = False) -> None:
        super().__init__(position)
        self.operand = operand
        self.field = field
        self.is_test = is_test
        self.as_ident: Ident | None = None


class Call(Node):
    """``function(args)`` or ``target.function(args)``. ``overloads``: what it may be, as the checker found."""

    __slots__ = ("args", "function", "overloads", "target")

    def __init__(self, position: int, function: str, args: list[Node], target: Node | None = None) -> None:
        super().__init__(position)
        self.function = function
        self.args = args
        self.target = target
        self.overloads: list[str] = []


class ListNode(Node):
    """``optionals``: indexes of elements that are left out when they have no value."""

    __slots__ = ("elements", "optionals")

    def __init__(self, position: int, elements: list[Node], optionals: frozenset[int] = frozenset()) -> None:
        super().__init__(position)
        self.elements = elements
        self.optionals = optionals


class Entry:
    __slots__ = ("is_optional", "key", "position", "value")

    def __init__(self, position: int, key: Any, value: Node, is_optional: bool) -> None:
        self.position = position
        #: A node in a map, a name in an object.
        self.key = key
        self.value = value
        self.is_optional = is_optional


class MapNode(Node):
    __slots__ = ("entries",)

    def __init__(self, position: int, entries: list[Entry]) -> None:
        super().__init__(position)
        self.entries = entries


class StructNode(Node):
    __slots__ = ("entries", "name")

    def __init__(self, position: int, name: str, entries: list[Entry]) -> None:
        super().__init__(position)
        self.name = name
        self.entries = entries


class Fold(Node):
    """A loop: ``accumulator`` begins as ``initial`` and becomes ``step`` for each element while ``condition``.

    ``macro`` is what it was written as (``all``, ``map``, …): evaluation knows these by heart. ``variable2`` is empty
    but where index and value, or key and value, are both named.
    """

    __slots__ = ("accumulator", "condition", "initial", "macro", "range", "result", "step", "variable", "variable2")

    def __init__(
        self,
        position: int,
        macro: str,
        range_: Node,
        variable: str,
        variable2: str,
        accumulator: str,
        initial: Node,
        condition: Node,
        step: Node,
        result: Node,
    ) -> None:
        super().__init__(position)
        self.macro = macro
        self.range = range_
        self.variable = variable
        self.variable2 = variable2
        self.accumulator = accumulator
        self.initial = initial
        self.condition = condition
        self.step = step
        self.result = result
