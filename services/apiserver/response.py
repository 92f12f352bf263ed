"""Answers into bytes: JSON, YAML, Table, PartialObjectMetadata; whole objects and lists in slices.

Those that are protobuf are in ``binary``.

An object in its storage version is never decoded for JSON: its stored bytes get the resourceVersion put in, and a list
is those bytes joined by commas. Lists come as an iterator of slices of about 256 KB, made while the peer takes them, so
that a list of 43 MB never exists.

    {"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"812"},"items":[   item , item , … slice
    item , item , …                                                                                   slice
    ]}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import orjson

from cybernetes.core.api.resource import Resource
from cybernetes.core.objects import Object
from cybernetes.services.apiserver import binary
from cybernetes.services.apiserver.call import Document, Item, Items
from cybernetes.services.apiserver.negotiation import PLAIN, Form

SLICE_BYTES = 256 * 1024
#: Forms for which objects are decoded take 30 times as long: their slices are smaller, to leave the loop to others.
DECODED_SLICE_BYTES = 48 * 1024


def tables() -> ModuleType:
    """The Table renderer, loaded when the first kubectl asks for one."""
    from cybernetes.core.api import table

    return table


class Shape:
    """One client's wish: the form, and what a Table's rows carry (``includeObject``). Raises ApiError 400."""

    __slots__ = ("form", "include_object", "is_pretty", "now")

    def __init__(self, form: Form, now: float, include_object: str = "", is_pretty: bool = False) -> None:
        self.form = form
        self.now = now
        if form.kind == "Table":
            include_object = tables().include_object(include_object)
        self.include_object = include_object
        self.is_pretty = is_pretty

    @property
    def is_plain(self) -> bool:
        """The stored bytes will do."""
        return not self.is_pretty and self.form == PLAIN


def dump(obj: Any, shape: Shape | None = None) -> bytes:
    """Any JSON value as the media type says."""
    if shape is not None:
        if shape.form.is_yaml:
            return yaml_bytes(obj)
        if shape.is_pretty:
            return orjson.dumps(obj, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return orjson.dumps(obj, option=orjson.OPT_APPEND_NEWLINE)


def yaml_bytes(obj: Any) -> bytes:
    import yaml  # late: few clients ask for it

    class Plain(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        """Writes what occurs twice twice: no anchors, which nobody expects of an API."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    text: str = yaml.dump(obj, Dumper=Plain, default_flow_style=False, allow_unicode=True, width=2**30)
    return text.encode()


def item_bytes(item: Item, shape: Shape) -> bytes:
    """One object."""
    if shape.is_plain:
        return item.json() + b"\n"
    if shape.form.is_protobuf:
        return binary.item(item, shape.form)
    obj = item.object()
    kind = shape.form.kind
    if kind == "Table":
        metadata = {key: obj["metadata"][key] for key in ("resourceVersion",) if key in obj["metadata"]}
        obj = _table(item.resource, [obj], shape, metadata)
    elif kind == "PartialObjectMetadata":
        obj = partial(obj, shape.form.api_version)
    return dump(obj, shape)


def _table(resource: Resource, listed: Iterable[Object], shape: Shape, metadata: Object) -> Object:
    rendered: Object = tables().render(
        resource, listed, shape.now, shape.include_object, metadata=metadata, version=shape.form.version
    )
    return rendered


def document_bytes(document: Document, shape: Shape) -> bytes:
    """A Status, a review: in these forms only when it is none of ours to transform."""
    resource, kind = document.resource, shape.form.kind
    if resource is not None and kind:
        return dump(_shown(document.obj, resource, shape), shape)
    return binary.document(document.obj) if shape.form.is_protobuf else dump(document.obj, shape)


def _shown(obj: Object, resource: Resource, shape: Shape) -> Object:
    """An object or list that is not kept, as a Table or its metadata alone."""
    listed = obj.get("items")
    if shape.form.kind == "Table":
        return _table(resource, [obj] if listed is None else listed, shape, {})
    api_version = shape.form.api_version
    if listed is None:
        return partial(obj, api_version)
    items = [partial(each, api_version) for each in listed]
    return {"kind": "PartialObjectMetadataList", "apiVersion": api_version, "metadata": {}, "items": items}


def partial(obj: Object, api_version: str) -> Object:
    """``PartialObjectMetadata``: the metadata alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": obj["metadata"]}


def list_metadata(items: Items) -> dict[str, Any]:
    metadata: dict[str, Any] = {"resourceVersion": str(items.revision)}
    if items.continue_token:
        metadata["continue"] = items.continue_token
    if items.remaining:
        metadata["remainingItemCount"] = items.remaining
    return metadata


def list_slices(items: Items, shape: Shape) -> Iterator[bytes]:
    """A page, in slices. The last one is what closes it."""
    form = shape.form
    if form.is_protobuf:
        yield from binary.list_slices(items, form, list_metadata(items))
        return
    if form.is_yaml or shape.is_pretty:
        yield dump(_whole_list(items, shape), shape)
        return
    metadata = orjson.dumps(list_metadata(items))
    if form.kind == "Table":
        columns = orjson.dumps(tables().columns(items.resource))
        yield b'{"kind":"Table","apiVersion":"%b","metadata":%b,"columnDefinitions":%b,"rows":[' % (
            form.api_version.encode(),
            metadata,
            columns,
        )
        yield from _joined(_rows(items, shape), DECODED_SLICE_BYTES)
    elif form.kind:
        yield b'{"kind":"PartialObjectMetadataList","apiVersion":"%b","metadata":%b,"items":[' % (
            form.api_version.encode(),
            metadata,
        )
        yield from _joined(_metadata_items(items, shape), DECODED_SLICE_BYTES)
    else:
        resource = items.resource
        yield b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (
            resource.list_kind.encode(),
            resource.gvr.api_version.encode(),
            metadata,
        )
        yield from _joined(_plain_items(items), SLICE_BYTES)
    yield b"]}\n"


def _joined(pieces: Iterator[bytes], slice_bytes: int) -> Iterator[bytes]:
    slice_: list[bytes] = []
    size = 0
    is_first = True
    for piece in pieces:
        slice_.append(piece)
        size += len(piece)
        if size >= slice_bytes:
            joined = b",".join(slice_)
            yield joined if is_first else b"," + joined
            is_first = False
            slice_ = []
            size = 0
    if slice_:
        joined = b",".join(slice_)
        yield joined if is_first else b"," + joined


def _plain_items(items: Items) -> Iterator[bytes]:
    resource = items.resource
    if resource.from_storage is None:
        for cached in items.records:
            yield cached.item()
        return
    for obj in objects(items):
        yield orjson.dumps(bare(obj, resource))


def _rows(items: Items, shape: Shape) -> Iterator[bytes]:
    resource = items.resource
    include, version = shape.include_object, shape.form.version
    table = tables()
    order = table.printer_for(resource).order
    for obj in objects(items) if order is None else sorted(objects(items), key=order):
        entry: dict[str, Any] = {"cells": table.row(resource, obj, shape.now)}
        conditions = table.row_conditions(resource, obj)
        if conditions:
            entry["conditions"] = conditions
        entry["object"] = table.row_object(resource, obj, include, version)
        yield orjson.dumps(entry)


def _metadata_items(items: Items, shape: Shape) -> Iterator[bytes]:
    api_version = shape.form.api_version
    for obj in objects(items):
        yield orjson.dumps(partial(obj, api_version))


def objects(items: Items) -> Iterator[Object]:
    """The page decoded, in the version of its resource."""
    convert = items.resource.from_storage
    for cached in items.records:
        obj = cached.object()
        yield obj if convert is None else convert(obj)


def bare(obj: Object, resource: Resource) -> Object:
    """An object as an item of a list: of built-in kinds without apiVersion and kind."""
    if resource.is_custom:
        return obj
    return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}


def _whole_list(items: Items, shape: Shape) -> Object:
    form = shape.form
    metadata = list_metadata(items)
    if form.kind == "Table":
        return _table(items.resource, objects(items), shape, metadata)
    if form.kind:
        listed = [partial(obj, form.api_version) for obj in objects(items)]
        kind, api_version = "PartialObjectMetadataList", form.api_version
    else:
        listed = [bare(obj, items.resource) for obj in objects(items)]
        kind, api_version = items.resource.list_kind, items.resource.gvr.api_version
    return {"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": listed}


def gzipped(slices: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes compressed as they come. Level 1: 3.4 GB/s, and within a fifth of zlib's size."""
    from isal import isal_zlib

    compressor = isal_zlib.compressobj(level=1, wbits=31)
    for piece in slices:
        out = compressor.compress(piece)
        if out:
            yield out
    yield compressor.flush()
