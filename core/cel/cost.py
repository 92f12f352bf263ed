"""How much an expression may cost at most, before it is ever evaluated (cel-go, checker/cost.go; KEP-2876).

One unit is about what looking up a variable costs. Sizes come from the expression itself where it says them, and from
the schema of what it looks at: ``maxLength``, ``maxItems``, or what fits into a request. Ranges saturate at 2**64 - 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cybernetes.core.cel import librarycost
from cybernetes.core.cel.ast import Call, Fold, Ident, ListNode, Literal, MapNode, Node, Select, StructNode
from cybernetes.core.cel.macros import ACCUMULATOR
from cybernetes.core.cel.ranges import MAX, ONE, UNKNOWN, ZERO, Estimate, Range, fixed
from cybernetes.core.cel.types import Type

TRAVERSAL = 0.1
REGEX = 0.25
LIST_COST, MAP_COST, STRUCT_COST = 10, 30, 40

Path = tuple[str, ...]
#: The largest size of what lies at a path (of fields, @items, @keys and @values, the variable first); None: not known.
SizeOf = Callable[[Path], int | None]

_COMPARISONS = frozenset(
    f"{name}_{kind}" for name in ("less", "greater", "less_equals", "greater_equals") for kind in ("string", "bytes")
) | {"equals", "not_equals"}


class _Entry(NamedTuple):
    """The sizes of keys (or indexes) and values of a container."""

    kind: str
    key: Range
    value: Range

    def union(self, other: _Entry) -> _Entry:
        return _Entry(self.kind, self.key.union(other.key), self.value.union(other.value))


class _Local(NamedTuple):
    path: Path
    size: Range | None
    entry: _Entry | None


class Sized(NamedTuple):
    """A part of an expression as the costs of functions see it."""

    type: Type
    path: Path
    size: Range | None
    node: Node | None


def estimate(root: Node, size_of: SizeOf) -> Range:
    """The least and the most that evaluating the checked tree may cost."""
    return _Coster(size_of).cost(root)


class _Coster:
    def __init__(self, size_of: SizeOf) -> None:
        self.size_of = size_of
        self.paths: dict[int, Path] = {}
        self.sizes: dict[int, Range] = {}
        self.entries: dict[int, _Entry] = {}
        self.locals: dict[str, list[_Local]] = {}

    def cost(self, node: Node) -> Range:
        match node:
            case Literal():
                return ZERO
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
                total = ZERO
                for entry in node.entries:
                    total += self.cost(entry.value)
                return total + fixed(STRUCT_COST)
            case Fold():
                return self._bind(node) if node.macro == "bind" else self._fold(node)
        return ZERO

    def _ident(self, node: Ident) -> Range:
        local = self._local(node.name)
        self.paths[id(node)] = local.path if local is not None else (node.name,)
        return ONE

    def _select(self, node: Select) -> Range:
        if node.as_ident is not None:
            return self._ident(node.as_ident)
        total = self.cost(node.operand)
        if node.is_test:
            return total
        if node.operand.type.kind in ("map", "struct", "param"):
            total += ONE
        self.paths[id(node)] = (*self.path(node.operand), node.field)
        return total

    def _list(self, node: ListNode) -> Range:
        total, size = ZERO, Range(MAX if node.elements else 0, 0)
        for each in node.elements:
            total += self.cost(each)
            size = size.union(self.size(each))
        self.entries[id(node)] = _Entry("list", ONE, size)
        return total + fixed(LIST_COST)

    def _map(self, node: MapNode) -> Range:
        total = ZERO
        key = value = Range(MAX if node.entries else 0, 0)
        for entry in node.entries:
            total += self.cost(entry.key) + self.cost(entry.value)
            key = key.union(self.size(entry.key))
            value = value.union(self.size(entry.value))
        self.entries[id(node)] = _Entry("map", key, value)
        return total + fixed(MAP_COST)

    def _fold(self, node: Fold) -> Range:
        total = self.cost(node.range) + self.cost(node.initial)
        self._push(
            node.accumulator, _Local(self.path(node.initial), self.known_size(node.initial), self.entry(node.initial))
        )
        entry = self.entry(node.range)
        kind = entry.kind if entry is not None else node.range.type.kind
        path = self.path(node.range)
        keys = _Local((*path, "@indices" if kind == "list" else "@keys"), entry.key if entry else None, None)
        values = _Local((*path, "@items" if kind == "list" else "@values"), entry.value if entry else None, None)
        if node.variable2:
            self._push(node.variable, keys)
            self._push(node.variable2, values)
        elif kind == "list":
            self._push(node.variable, values)
        else:
            self._push(node.variable, _Local((*path, "@keys"), entry.key if entry else None, None))
        each = self.cost(node.condition) + self.cost(node.step)
        self.locals[node.variable].pop()
        if node.variable2:
            self.locals[node.variable2].pop()
        total += self.cost(node.result)
        self.locals[node.accumulator].pop()
        count = self.size(node.range)
        total += count.times(each)
        if isinstance(node.initial, Literal):
            size = self.known_size(node.initial)
            if size is not None:
                self.sizes[id(node)] = size
        elif isinstance(node.initial, ListNode | MapNode):
            self.sizes[id(node)] = count
            step = self.entry(node.step)
            if step is not None:
                self.entries[id(node)] = step
        return total

    def _bind(self, node: Fold) -> Range:
        total = self.cost(node.range) + self.cost(node.initial)
        self._push(
            node.accumulator, _Local(self.path(node.initial), self.known_size(node.initial), self.entry(node.initial))
        )
        total += self.cost(node.result)
        self.locals[node.accumulator].pop()
        self._copy(node, node.result)
        return total

    # Calls

    def _call(self, node: Call) -> Range:
        if node.function == "dyn":
            total = ONE + self.cost(node.args[0])
            self._copy(node, node.args[0])
            return total
        costs = [self.cost(each) for each in node.args]
        total = self.cost(node.target) if node.target is not None else ZERO
        target = self.sized(node.target) if node.target is not None else None
        arguments = [self.sized(each) for each in node.args]
        function = Range(MAX, 0)
        size: Range | None = None
        for overload in node.overloads:
            found = self._overload(node, overload, target, arguments, costs)
            function = function.union(found.cost)
            if found.size is not None:
                size = found.size if size is None else size.union(found.size)
            if overload in ("index_list", "index_map"):
                entry = self.entry(node.args[0])
                size = entry.value if entry is not None else None
                end = "@items" if overload == "index_list" else "@values"
                self.paths[id(node)] = (*self.path(node.args[0]), end)
            if size is None:
                size = self.known_size(node)
        if size is not None:
            self.sizes[id(node)] = size
        return total + function

    def _overload(
        self, node: Call, overload: str, target: Sized | None, arguments: Sequence[Sized], costs: Sequence[Range]
    ) -> Estimate:
        if overload in ("logical_or", "logical_and"):
            return Estimate(Range(costs[0].low, (costs[0] + costs[1]).high))
        summed = ZERO
        for each in costs:
            summed += each
        found = librarycost.estimate(node.function, overload, target, arguments, self.size_at)
        if found is None:
            found = self._standard(node, overload, target, arguments)
        if overload == "conditional":
            return Estimate(costs[0] + costs[1].union(costs[2]), found.size)
        return Estimate(found.cost + summed, found.size)

    def _standard(self, node: Call, overload: str, target: Sized | None, arguments: Sequence[Sized]) -> Estimate:
        def size(each: Sized) -> Range:
            return each.size if each.size is not None else UNKNOWN

        if overload == "string_format" and target is not None:
            return Estimate(size(target).scaled(TRAVERSAL))
        if overload == "string_to_bytes":
            one = size(arguments[0])
            return Estimate(one.scaled(TRAVERSAL), Range(one.low, min(one.high * 4, MAX)))
        if overload == "bytes_to_string":
            one = size(arguments[0])
            return Estimate(one.scaled(TRAVERSAL), Range(one.low // 4, one.high))
        if overload == "strings_quote":
            one = size(arguments[0])
            return Estimate(one.scaled(TRAVERSAL), Range(one.low + 2, min(one.high * 2 + 2, MAX)))
        if overload in ("starts_with_string", "ends_with_string"):
            return Estimate(size(arguments[0]).scaled(TRAVERSAL))
        if overload == "in_list":
            return Estimate(size(arguments[1]))
        if overload == "matches_string" and target is not None:
            text = (size(target) + ONE).scaled(TRAVERSAL)
            return Estimate(text.times(size(arguments[0]).scaled(REGEX)))
        if overload == "contains_string" and target is not None:
            return Estimate(size(target).scaled(TRAVERSAL).times(size(arguments[0]).scaled(TRAVERSAL)))
        if overload == "conditional":
            self.join(node, node.args[1], node.args[2])
            return Estimate(ZERO, size(arguments[1]).union(size(arguments[2])))
        if overload in ("add_string", "add_bytes", "add_list"):
            made = size(arguments[0]) + size(arguments[1])
            self.join(node, node.args[0], node.args[1])
            return Estimate(ONE if overload == "add_list" else made.scaled(TRAVERSAL), made)
        if overload in _COMPARISONS:
            most = min(size(arguments[0]).high, size(arguments[1]).high)
            return Estimate(Range(1 if most else 0, most).scaled(TRAVERSAL))
        return Estimate(ONE)

    # Sizes

    def sized(self, node: Node) -> Sized:
        path = self.path(node)
        if path and path[0] in (ACCUMULATOR, "__result__"):
            path = ()
        return Sized(node.type, path, self.known_size(node), node)

    def size_at(self, path: Path) -> Range | None:
        if not path:
            return None
        found = self.size_of(path)
        return None if found is None else Range(0, found)

    def size(self, node: Node) -> Range:
        found = self.known_size(node)
        return found if found is not None else UNKNOWN

    def known_size(self, node: Node) -> Range | None:
        found = self.sizes.get(id(node))
        if found is not None:
            return found
        found = _written_size(node)
        if found is not None:
            return found
        found = self.size_at(self.path(node))
        if found is not None:
            self.sizes[id(node)] = found
            return found
        found = _type_size(node.type)
        if found is not None:
            return found
        if isinstance(node, Ident):
            local = self._local(node.name)
            if local is not None:
                return local.size
        return None

    def join(self, node: Node, one: Node, other: Node) -> None:
        """What ``node`` gives is made of what these two give."""
        first, second = self.entry(one), self.entry(other)
        if first is not None and second is not None:
            self.entries[id(node)] = first.union(second)

    def entry(self, node: Node) -> _Entry | None:
        found = self.entries.get(id(node))
        if found is None and isinstance(node, Ident):
            local = self._local(node.name)
            return local.entry if local is not None else None
        return found

    def path(self, node: Node) -> Path:
        if isinstance(node, Ident):
            local = self._local(node.name)
            if local is not None:
                return local.path
        return self.paths.get(id(node), ())

    def _copy(self, node: Node, source: Node) -> None:
        size, entry = self.known_size(source), self.entry(source)
        if size is not None:
            self.sizes[id(node)] = size
        if entry is not None:
            self.entries[id(node)] = entry

    def _push(self, name: str, local: _Local) -> None:
        self.locals.setdefault(name, []).append(local)

    def _local(self, name: str) -> _Local | None:
        stack = self.locals.get(name)
        return stack[-1] if stack else None


def _written_size(node: Node) -> Range | None:
    if isinstance(node, Literal):
        value = node.value
        return fixed(len(value) if isinstance(value, str | bytes) else 1)
    if isinstance(node, ListNode):
        return fixed(len(node.elements))
    return fixed(len(node.entries)) if isinstance(node, MapNode) else None


def _type_size(type_: Type) -> Range | None:
    return ONE if type_.kind in ("bool", "double", "duration", "int", "timestamp", "uint") else None


def ceil(value: float) -> int:
    return min(math.ceil(value), MAX)
