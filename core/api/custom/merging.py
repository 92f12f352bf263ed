"""How server-side apply merges custom resources: a structural schema as ``MergeType`` (kube-openapi, schemaconv)."""

from __future__ import annotations

from collections.abc import Mapping

from cybernetes.core.api import schema
from cybernetes.core.api.apply.mergetypes import DEDUCED, ListRule, MapRule, MergeType, Scalar, merge_type
from cybernetes.core.api.custom.structure import META_FIELDS, NO_DEFAULT, Structural

_SCALARS: Mapping[str, Scalar] = {"string": "string", "integer": "numeric", "number": "numeric", "boolean": "boolean"}


def of_root(node: Structural | None) -> MergeType:
    """The type of whole objects. Without a schema all is deduced from the values."""
    if node is None:
        return DEDUCED
    return _object(node, is_whole=True)


def of_node(node: Structural | None) -> MergeType:
    """The type of any value below."""
    if node is None:
        return DEDUCED
    if node.is_int_or_string:
        return MergeType(scalar="untyped")
    if node.type == "object":
        return _object(node, is_whole=node.is_embedded)
    if node.type == "array":
        return MergeType(list=_list(node))
    scalar = _SCALARS.get(node.type)
    return MergeType(scalar=scalar) if scalar is not None else DEDUCED


def _object(node: Structural, *, is_whole: bool) -> MergeType:
    is_atomic = node.map_type == "atomic"
    if not node.properties and not is_whole:
        if node.extra is not None:
            return MergeType(map=MapRule(is_atomic, element=lambda: of_node(node.extra)))
        return MergeType(map=MapRule(is_atomic, element=lambda: DEDUCED))

    def fields() -> Mapping[str, MergeType]:
        found = {}
        for name in node.properties:
            if not (is_whole and name in META_FIELDS):
                found[name] = of_node(node.field(name))
        if is_whole:
            found["apiVersion"] = found["kind"] = MergeType(scalar="string")
            found["metadata"] = merge_type(schema.load().type(schema.OBJECT_META))
        return found

    element = None
    if node.preserves or (node.has_extra and node.extra is None):
        element = DEDUCED
    elif node.extra is not None:
        element = of_node(node.extra)
    return MergeType(map=MapRule(is_atomic, fields=fields, element=None if element is None else lambda: element))


def _list(node: Structural) -> ListRule:
    def element() -> MergeType:
        return of_node(node.items)

    if node.list_type == "set":
        return ListRule("set", element)
    if node.list_type != "map":
        return ListRule("atomic", element)
    defaults = {}
    for key in node.map_keys:
        field = node.items.field(key) if node.items is not None else None
        if field is not None and field.default is not NO_DEFAULT:
            defaults[key] = field.default
    return ListRule("map", element, node.map_keys, defaults)
