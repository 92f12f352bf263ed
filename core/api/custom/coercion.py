"""What decoding does to a custom resource: unknown fields go, null goes where it says nothing, metadata is metadata.

For built-in kinds the types do this by being what they are; here it is done by the schema, in place, in one pass:

1. Fields that the schema does not describe are removed and reported, but not below
   ``x-kubernetes-preserve-unknown-fields``.
2. null is removed from fields that are neither nullable nor have a default (which takes its place later). It stays in
   lists, and wherever there is no schema.
3. metadata, at the root and in embedded resources, is held to ObjectMeta.

Upstream: apiserver/schema/{pruning,defaulting,objectmeta}.
"""

from __future__ import annotations

from typing import Any

import orjson

from cybernetes.core.api import schema, walk
from cybernetes.core.api.custom.structure import META_FIELDS, NO_DEFAULT, Structural
from cybernetes.core.objects import Object

#: How the path of a report grows: (the path above, a key or an index); () at the root.
_Path = tuple[Any, ...]


def coerce(root: Structural | None, obj: Object, *, prunes: bool = True) -> list[str]:
    """Bring ``obj`` into the form in which it is kept, in place. Returns ``unknown field "spec.foo"`` for each field
    that was removed, in upstream's order: metadata first, then by path.

    ``prunes`` False: the definition keeps unknown fields everywhere. Raises ``walk.DecodeError`` for what metadata,
    kind or apiVersion cannot be.
    """
    unknown = _coerce_meta(obj, ())
    if not prunes:
        return [_reported(path) for path in unknown]
    embedded: list[str] = []
    found: list[_Path] = []
    if root is None:
        for key in [key for key in obj if key not in META_FIELDS]:
            found.append((key,))
            del obj[key]
    else:
        _fields(obj, root, (), found, embedded, is_meta=True)
    return [_reported(path) for path in [*unknown, *sorted(map(_text, found)), *sorted(embedded)]]


def prune(root: Structural | None, value: Any) -> bool:
    """Remove what ``root`` does not describe from a value that is no object of its own, a default; whether there was
    such."""
    found: list[_Path] = []
    embedded: list[str] = []
    _value(value, root, (), found, embedded)
    return bool(found or embedded)


def _value(value: Any, node: Structural | None, path: _Path, found: list[_Path], embedded: list[str]) -> None:
    if type(value) is dict:
        if node is None:
            for key in value:
                found.append((path, key))
            value.clear()
        else:
            _fields(value, node, path, found, embedded, is_meta=node.is_embedded)
    elif type(value) is list:
        inner = node.items if node is not None else None
        keeps = node is not None and node.preserves
        for index, item in enumerate(value):
            if type(item) is dict or type(item) is list:
                if keeps and (inner is None or not inner.preserves):
                    _kept_item(item, inner, (path, index), found, embedded)
                else:
                    _value(item, inner, (path, index), found, embedded)


def _kept_item(item: Any, node: Structural | None, path: _Path, found: list[_Path], embedded: list[str]) -> None:
    """An element of a list that keeps unknown fields: they are kept in it too, but what is described is held to it."""
    if node is not None and type(item) is dict:
        _fields(item, node, path, found, embedded, is_meta=node.is_embedded, keeps=True)


def _fields(
    obj: Object,
    node: Structural,
    path: _Path,
    found: list[_Path],
    embedded: list[str],
    *,
    is_meta: bool,
    keeps: bool = False,
) -> None:
    """The fields of an object that has a schema. ``is_meta``: it is a whole object, with metadata of its own."""
    keeps = keeps or node.preserves
    dropped: list[str] | None = None
    for key, value in list(obj.items()) if is_meta else obj.items():
        if is_meta and key in META_FIELDS:
            if path:
                _embedded_meta(obj, key, path, embedded)
            continue
        child = node.field(key)
        if child is None:
            if not node.has_extra:
                if not keeps:
                    if path or key not in META_FIELDS:
                        found.append((path, key))
                    dropped = [key] if dropped is None else [*dropped, key]
                continue
            child = node.extra
        if value is None:
            if child is not None and not child.is_nullable and child.default is NO_DEFAULT:
                dropped = [key] if dropped is None else [*dropped, key]
        elif type(value) is dict or type(value) is list:
            _value(value, child, (path, key), found, embedded)
    if dropped is not None:
        for key in dropped:
            del obj[key]


def _embedded_meta(obj: Object, key: str, path: _Path, embedded: list[str]) -> None:
    if key == "metadata":
        try:
            embedded += _coerce_meta(obj, path)
        except walk.DecodeError as error:
            where = _text((path, key))
            raise walk.DecodeError(f"{where}: Invalid value: {orjson.dumps(obj[key]).decode()}: {error}") from None
    elif not isinstance(obj[key], str):
        where = _text((path, key))
        raise walk.DecodeError(f"{where}: Invalid value: {orjson.dumps(obj[key]).decode()}: must be a string")


def _coerce_meta(obj: Object, path: _Path) -> list[str]:
    """Hold the metadata of ``obj`` to ObjectMeta; returns the paths of unknown fields."""
    metadata = obj.get("metadata")
    if metadata is None:
        obj.pop("metadata", None)
        return []
    if not isinstance(metadata, dict):
        word = walk.json_word(metadata)
        raise walk.DecodeError(f"json: cannot unmarshal {word} into Go value of type v1.ObjectMeta")
    found = walk.normalize(schema.load().type(schema.OBJECT_META), metadata)
    prefix = _text((path, "metadata"))
    return [f"{prefix}.{text.partition(' field ')[2][1:-1]}" for text in found]


def _text(path: _Path) -> str:
    parts: list[str] = []
    while path:
        above, key = path if len(path) == 2 else ((), path[0])
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key}")
        path = above
    return "".join(reversed(parts)).removeprefix(".")


def _reported(path: str) -> str:
    return f'unknown field "{path}"'
