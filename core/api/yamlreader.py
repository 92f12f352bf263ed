"""YAML into the values of JSON, as upstream's reader does it, and bounded.

Built on libyaml's events with a stack of its own, so that nesting costs no recursion, every alias is paid for before it
is expanded (CVE-2019-11253: nine lines that mean a billion nodes) and repeated keys are seen with their lines.

Scalars resolve as in go-yaml v2, which Kubernetes uses, not as in PyYAML: no dates, no sexagesimal numbers, ``0o17``
and ``017`` are octal. Keys become strings.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from cybernetes.core.objects import clone

DEPTH_MAX = 1000
#: How many nodes a document may have once its aliases are expanded. 3 MiB of plain text cannot have more.
NODES_MAX = 2_000_000
#: An alias may multiply a document, but not beyond this many times its own nodes (and a few thousand are always free).
ALIAS_FACTOR_MAX = 10
_FREE_NODES = 10_000

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o[0-7_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOATS = {
    ".inf": math.inf, ".Inf": math.inf, ".INF": math.inf, "+.inf": math.inf, "+.Inf": math.inf, "+.INF": math.inf,
    "-.inf": -math.inf, "-.Inf": -math.inf, "-.INF": -math.inf, ".nan": math.nan, ".NaN": math.nan, ".NAN": math.nan,
}  # fmt: skip
_PREFIX = "tag:yaml.org,2002:"


class MalformedYaml(ValueError):
    """Text that is no YAML, or one that means more than it may, in upstream's words."""


def read(data: bytes) -> tuple[Any, list[str]]:
    """The first document as JSON values, and its repeated keys: ``line 3: key "a" already set in map``.

    Raises MalformedYaml. Costs about 2 µs a node.
    """
    reader = _Reader()
    try:
        for event in yaml.parse(data, Loader=yaml.CSafeLoader):
            if reader.feed(event):
                break
    except yaml.YAMLError as error:
        raise MalformedYaml(_words(error)) from None
    return reader.result, reader.repeated


class _Open:
    """A list or an object that has not ended."""

    __slots__ = ("anchor", "is_map", "is_merging", "key", "merged", "nodes_before", "value")

    def __init__(self, is_map: bool, anchor: str | None, nodes_before: int) -> None:
        self.is_map = is_map
        self.anchor = anchor
        self.nodes_before = nodes_before
        self.value: Any = {} if is_map else []
        self.key: str | None = None
        self.is_merging = False
        self.merged: list[Any] = []


_MERGE = object()


class _Reader:
    def __init__(self) -> None:
        self.result: Any = None
        self.repeated: list[str] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0  # with aliases expanded
        self._written = 0  # as they stand

    def feed(self, event: yaml.Event) -> bool:
        """Take one event. True: the first document is complete."""
        if isinstance(event, yaml.ScalarEvent):
            self._count(1)
            self._written += 1
            value = self._scalar(event)
            self._keep(event.anchor, value, 1)
            self._place(value, event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(self._stack) >= DEPTH_MAX:
                raise MalformedYaml("yaml: exceeded max depth of 1000")
            self._written += 1
            is_map = isinstance(event, yaml.MappingStartEvent)
            self._stack.append(_Open(is_map, event.anchor, self._nodes))
            self._count(1)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            closed = self._stack.pop()
            for other in closed.merged:
                for key, value in other.items():
                    closed.value.setdefault(key, value)
            self._keep(closed.anchor, closed.value, self._nodes - closed.nodes_before)
            self._place(closed.value, event)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise MalformedYaml(f"yaml: unknown anchor '{event.anchor}' referenced")
            value, nodes = self._anchors[event.anchor]
            self._count(nodes)
            self._place(clone({"": value})[""], event)
        return isinstance(event, yaml.DocumentEndEvent)

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > NODES_MAX or self._nodes > _FREE_NODES + ALIAS_FACTOR_MAX * self._written:
            raise MalformedYaml("yaml: document contains excessive aliasing")

    def _keep(self, anchor: str | None, value: Any, nodes: int) -> None:
        if anchor:
            self._anchors[anchor] = (value, nodes)

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        tag = event.tag
        if tag and tag.startswith(_PREFIX):
            tag = tag[len(_PREFIX) :]
            return event.value if tag in ("str", "binary", "timestamp") else _resolve(event.value)
        if not event.implicit[0]:
            return event.value  # quoted, or a block
        if event.value == "<<" and self._expects_key():
            return _MERGE
        return _resolve(event.value)

    def _expects_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].is_map and self._stack[-1].key is None

    def _place(self, value: Any, event: yaml.Event) -> None:
        if not self._stack:
            self.result = value
            return
        parent = self._stack[-1]
        if not parent.is_map:
            parent.value.append(value)
        elif parent.key is None:
            if value is _MERGE:
                parent.key, parent.is_merging = "<<", True
                return
            parent.key = _key(value)
            if parent.key in parent.value:
                line = event.start_mark.line + 1 if event.start_mark else 0
                self.repeated.append(f'line {line}: key "{parent.key}" already set in map')
        elif parent.is_merging:
            self._merge(parent, value)
            parent.key, parent.is_merging = None, False
        else:
            parent.value[parent.key] = value
            parent.key = None

    def _merge(self, parent: _Open, value: Any) -> None:
        for other in value if isinstance(value, list) else [value]:
            if not isinstance(other, dict):
                raise MalformedYaml("yaml: map merge requires map or sequence of maps as the value")
            parent.merged.append(other)


def _resolve(text: str) -> Any:
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] in "+-.0123456789":
        if _INTEGER.fullmatch(text):
            number = _integer(text.replace("_", ""))
            if number is not None and -(2**63) <= number < 2**64:
                return number
        if _FLOAT.fullmatch(text):
            return float(text)
        if text in _SPECIAL_FLOATS:
            raise MalformedYaml(f"error converting YAML to JSON: json: unsupported value: {text}")
    return text


def _integer(text: str) -> int | None:
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-")
    try:
        if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
            return sign * int(digits, 8)
        return sign * int(digits, 0)
    except ValueError:
        return None


def _key(value: Any) -> str:
    """What a key that is no string is called in JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    kind = "null" if value is None else "map" if isinstance(value, dict) else "sequence"
    raise MalformedYaml(f"yaml: unsupported map key of type {kind}")


def _words(error: yaml.YAMLError) -> str:
    """As go-yaml words the failure of the same scanner."""
    problem = getattr(error, "problem", None) or str(error)
    mark = getattr(error, "context_mark", None)
    if mark is None or mark.line == 0:
        mark = getattr(error, "problem_mark", None)
    line = mark.line if mark else 0
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    return f"yaml: line {line}: {problem}" if line else f"yaml: {problem}"
