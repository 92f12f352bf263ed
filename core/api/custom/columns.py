"""Printer columns of custom resources: cells that JSONPaths find (upstream: registry/customresource/tableconvertor)."""

from __future__ import annotations

from typing import Any

from cybernetes.core import jsonpath
from cybernetes.core.api import schema
from cybernetes.core.api.table.cells import DESCRIPTIONS, Age, Column, Printer, name
from cybernetes.core.clock import parse_time
from cybernetes.core.objects import Object

_NAME = Column("Name", "string", "name", 0, DESCRIPTIONS["Name"])


def printer_of(version: Object) -> Printer:
    """The columns of one version of a definition. Without any of its own the age is shown."""
    columns = [_NAME]
    paths: list[tuple[str, jsonpath.Path]] = []
    for raw in version.get("additionalPrinterColumns") or [_age()]:
        text = raw.get("jsonPath") or ""
        try:
            path = jsonpath.parse(text)
        except jsonpath.PathError:
            break  # this column and those after it are not shown
        description = raw.get("description") or f"Custom resource definition column (in JSONPath format): {text}"
        kind = raw.get("type") or ""
        columns.append(
            Column(raw.get("name") or "", kind, raw.get("format") or "", raw.get("priority") or 0, description)
        )
        paths.append((kind, path))

    def cells(obj: Object) -> list[Any]:
        return [name(obj), *(_cell(kind, path.find(obj)) for kind, path in paths)]

    return Printer(tuple(columns), cells)


def _age() -> Object:
    text = schema.load().descriptions(schema.OBJECT_META).get("creationTimestamp", "")
    return {"name": "Age", "type": "date", "description": text, "jsonPath": ".metadata.creationTimestamp"}


def _cell(kind: str, found: list[Any]) -> Any:
    if not found:
        return None
    value = found[0]
    if kind == "string":
        return jsonpath.shown(value)
    if kind in ("integer", "number"):
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        return int(value) if kind == "integer" else float(value)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "date" and isinstance(value, str):
        try:
            return Age(parse_time(value))
        except ValueError:
            return "<invalid>"
    return None
