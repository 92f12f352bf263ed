"""Tables: what ``kubectl get`` shows, made by the server (meta.k8s.io Table).

Every kind has its columns; kinds without any show their name and when they were created. Wide columns are always in the
table, with priority 1, and the client leaves them out. Cells that do not change with the time can be kept by revision:
``cells`` gives them with an ``Age`` where an age belongs, ``shown`` fills these in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from cybernetes.core.api.resource import Resource
from cybernetes.core.api.table import cluster, control, network, pods, storage, workloads
from cybernetes.core.api.table.cells import DESCRIPTIONS, Age, Column, Printer, human_duration, name
from cybernetes.core.errors import ApiError, bad_request
from cybernetes.core.objects import Object

__all__ = ["Age", "IncludeObject", "cells", "columns", "human_duration", "include_object", "render", "row", "shown"]

IncludeObject = Literal["Metadata", "Object", "None"]

_PRINTERS: Mapping[tuple[str, str], Printer] = {
    **cluster.PRINTERS,
    **control.PRINTERS,
    **network.PRINTERS,
    **pods.PRINTERS,
    **storage.PRINTERS,
    **workloads.PRINTERS,
}


def _plain_cells(obj: Object) -> list[Any]:
    return [name(obj), obj["metadata"].get("creationTimestamp") or "0001-01-01T00:00:00Z"]


_PLAIN = Printer(
    (
        Column("Name", "string", "name", 0, DESCRIPTIONS["Name"]),
        Column("Created At", "date", "", 0, DESCRIPTIONS["Created At"]),
    ),
    _plain_cells,
)


def printer_for(resource: Resource, subresource: str = "") -> Printer:
    """How objects of ``resource`` are shown, or of its ``subresource``."""
    if subresource == "scale":
        return workloads.SCALE
    if resource.custom is not None:
        return resource.custom.printer
    return _PRINTERS.get((resource.gvr.group, resource.gvr.resource), _PLAIN)


def columns(resource: Resource, subresource: str = "") -> list[dict[str, Any]]:
    """The column definitions. The caller's own."""
    return [column.as_dict() for column in printer_for(resource, subresource).columns]


def cells(resource: Resource, obj: Object, subresource: str = "") -> list[Any]:
    """One object's cells, the ages among them as ``Age``. About 5 µs a pod."""
    return printer_for(resource, subresource).cells(obj)


def shown(kept: Sequence[Any], now: float) -> list[Any]:
    """Cells with their ages as of ``now`` (seconds since the epoch)."""
    return [cell.shown(now) if type(cell) is Age else cell for cell in kept]


def row(resource: Resource, obj: Object, now: float, subresource: str = "") -> list[Any]:
    """One object's cells as the table has them."""
    return shown(cells(resource, obj, subresource), now)


def row_conditions(resource: Resource, obj: Object) -> list[dict[str, str]]:
    """The conditions of a row: only pods that have ended have one."""
    return pods.row_conditions(obj) if (resource.gvr.group, resource.gvr.resource) == ("", "pods") else []


def include_object(text: str) -> IncludeObject:
    """The parameter ``includeObject``; absent it is Metadata. Raises ApiError 400."""
    if text in ("", "Metadata"):
        return "Metadata"
    if text == "Object":
        return "Object"
    if text == "None":
        return "None"
    raise _unrecognized(text)


def render(
    resource: Resource,
    objects: Iterable[Object],
    now: float,
    include_object: IncludeObject = "Metadata",
    *,
    metadata: Mapping[str, Any] | None = None,
    has_headers: bool = True,
    version: str = "v1",
    subresource: str = "",
) -> Object:
    """A Table of ``objects``, with the list's own ``metadata`` (resourceVersion, continue, remainingItemCount).

    ``version`` is that of meta.k8s.io that was asked for. Watches send one with headers and then such without.
    """
    how = printer_for(resource, subresource)
    listed = objects if how.order is None else sorted(objects, key=how.order)
    rows = []
    for obj in listed:
        line: dict[str, Any] = {"cells": shown(how.cells(obj), now)}
        conditions = row_conditions(resource, obj)
        if conditions:
            line["conditions"] = conditions
        line["object"] = row_object(resource, obj, include_object, version)
        rows.append(line)
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": dict(metadata or {}),
        "columnDefinitions": [column.as_dict() for column in how.columns] if has_headers else [],
        "rows": rows,
    }


def row_object(resource: Resource, obj: Object, include: IncludeObject, version: str = "v1") -> Object | None:
    """What a row says about its object: nothing, the metadata, or all of it."""
    if include == "None":
        return None
    if include == "Object":
        return {"kind": resource.kind, "apiVersion": resource.gvr.api_version, **obj}
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": obj["metadata"]}


def _unrecognized(text: str) -> ApiError:
    return bad_request(
        f'Unable to convert to Table as requested: includeObject: Invalid value: "{text}": must be '
        "'Metadata', 'Object', 'None', or empty"
    )
