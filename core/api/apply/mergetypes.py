"""How values are merged: the schema as apply reads it.

A ``MergeType`` says what a value may be (a scalar, a list, a map, or several of these) and how each is merged. It is
made of a schema ``Type`` when it is first asked for, and knows nothing that the ``Type`` does not say, but for this:

* Some fields of lists' keys have defaults, and an element that leaves such a key out has the default for its step: a
  port without ``protocol`` is ``k:{"containerPort":80,"protocol":"TCP"}``.
* What the schema does not describe is deduced from the value: a map is merged by its members, all the way down, a list
  is one value. (``RawExtension`` is one value as a whole.) So are custom resources without a schema.

========  =============  ==========================================================================================
lists     ``atomic``     one value (also what says nothing about itself)
          ``set``        scalars, each owned alone
          ``map``        elements with keys, each merged with its like
maps      granular       member by member
          ``atomic``     one value
========  =============  ==========================================================================================

Of a whole object nobody owns the identity that the server gives it (``UNOWNED``, upstream's stripMeta).

Source: kube-openapi ``schemaconv``, structured-merge-diff ``schema``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from cybernetes.core.api.schema import Type, load
from cybernetes.ext import fieldchanges as kernel

Scalar = Literal["", "string", "numeric", "boolean", "untyped"]
Relation = Literal["atomic", "set", "map"]

#: What no manager owns, though every object has it.
UNOWNED = frozenset({"apiVersion", "kind"})
UNOWNED_METADATA = frozenset(
    {
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    }
)

_RAW_EXTENSION = "io.k8s.apimachinery.pkg.runtime.RawExtension"
_CORE = "io.k8s.api.core.v1."
#: Defaults of keys that the schema does not require. (What it requires has its zero value.)
_KEY_DEFAULTS: Mapping[tuple[str, str], Any] = {
    (_CORE + "ContainerPort", "protocol"): "TCP",
    (_CORE + "ServicePort", "protocol"): "TCP",
    (_CORE + "LocalObjectReference", "name"): "",
}
_SCALARS: Mapping[str, Scalar] = {"string": "string", "integer": "numeric", "number": "numeric", "boolean": "boolean"}


class ListRule:
    """``defaults``: of the keys that have one."""

    __slots__ = ("_element", "defaults", "keys", "relation")

    def __init__(
        self,
        relation: Relation,
        element: Callable[[], MergeType],
        keys: tuple[str, ...] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self.relation = relation
        self.keys = keys
        self.defaults = defaults or {}
        self._element: Callable[[], MergeType] | MergeType = element

    @property
    def element(self) -> MergeType:
        if not isinstance(self._element, MergeType):
            self._element = self._element()
        return self._element


class MapRule:
    """``fields`` have types of their own; other members have the type ``element``, or may not be when it is None."""

    __slots__ = ("_element", "_fields", "is_atomic")

    def __init__(
        self,
        is_atomic: bool,
        fields: Callable[[], Mapping[str, MergeType]] | None = None,
        element: Callable[[], MergeType] | None = None,
    ) -> None:
        self.is_atomic = is_atomic
        self._fields: Callable[[], Mapping[str, MergeType]] | Mapping[str, MergeType] = fields or {}
        self._element: Callable[[], MergeType] | MergeType | None = element

    @property
    def fields(self) -> Mapping[str, MergeType]:
        if callable(self._fields):
            self._fields = self._fields()
        return self._fields

    @property
    def element(self) -> MergeType | None:
        if self._element is not None and not isinstance(self._element, MergeType):
            self._element = self._element()
        return self._element

    def member(self, name: str) -> MergeType | None:
        """The type of a member; None for one that may not be."""
        return self.fields.get(name) or self.element


class MergeType:
    """What a value may be. Read-only; compare by identity."""

    __slots__ = ("list", "map", "name", "node", "scalar")

    def __init__(
        self,
        name: str = "",
        *,
        scalar: Scalar = "",
        list: ListRule | None = None,
        map: MapRule | None = None,
    ) -> None:
        #: For messages and for sharing; empty for what has none.
        self.name = name
        self.scalar: Scalar = scalar
        self.list = list
        self.map = map
        #: What the kernel made of it.
        self.node: kernel.Node | None = None

    def __repr__(self) -> str:
        return f"<MergeType {self.name or self.scalar or ('list' if self.list else 'map')}>"

    def of(self, value: Any) -> MergeType:
        """The one form that ``value`` has, of several possible ones; itself where the value does not say (null)."""
        if isinstance(value, dict):
            return MergeType(self.name, map=self.map) if self.map is not None and self._is_mixed else self
        if isinstance(value, list):
            return MergeType(self.name, list=self.list) if self.list is not None and self._is_mixed else self
        if value is not None and self.scalar and self._is_mixed:
            return MergeType(self.name, scalar=self.scalar)
        return self

    @property
    def _is_mixed(self) -> bool:
        return bool(self.scalar) + (self.list is not None) + (self.map is not None) > 1

    @property
    def kernel_node(self) -> kernel.Node:
        """Made, with everything below it, when it is first met: milliseconds for a pod."""
        return self.node or _node(self)


def _untyped(is_atomic: bool) -> MergeType:
    made = MergeType("__untyped_atomic_" if is_atomic else "__untyped_deduced_", scalar="untyped")
    made.list = ListRule("atomic", lambda: UNTYPED)
    made.map = MapRule(is_atomic, element=lambda: made)
    return made


#: One value, whatever it is.
UNTYPED = _untyped(True)
#: Whatever it is, deduced from the value.
DEDUCED = _untyped(False)

_SCALAR_TYPES: Mapping[Scalar, MergeType] = {
    name: MergeType(scalar=name) for name in ("string", "numeric", "boolean", "untyped")
}


def merge_type(type_: Type) -> MergeType:
    """How values of a schema type are merged. Always the same for one node of the schema."""
    found: MergeType | None = type_.merge_type
    if found is None:
        found = type_.merge_type = _make(type_)
    return found


def merge_type_of(type_name: str) -> MergeType:
    """By the name of a built-in type. Raises KeyError."""
    return merge_type(load().type(type_name))


def _make(type_: Type) -> MergeType:
    kind = type_.kind
    if kind == "any":
        return UNTYPED if type_.name == _RAW_EXTENSION else DEDUCED
    if kind == "object":
        is_atomic = type_.map_type == "atomic"
        if not type_.fields:
            return MergeType(type_.name, map=MapRule(is_atomic, element=lambda: DEDUCED))
        return MergeType(type_.name, map=MapRule(is_atomic, fields=lambda: _fields(type_)))
    if kind == "map":
        return MergeType(map=MapRule(type_.map_type == "atomic", element=lambda: merge_type(type_.items)))
    if kind == "array":
        return MergeType(list=_list(type_))
    if type_.format == "byte":
        return _SCALAR_TYPES["string"]
    return _SCALAR_TYPES[_SCALARS.get(kind, "untyped")]


def _fields(type_: Type) -> Mapping[str, MergeType]:
    return {name: merge_type(field) for name, field in type_.fields.items()}


def _list(type_: Type) -> ListRule:
    def element() -> MergeType:
        return merge_type(type_.items)

    relation = type_.list_type
    keys = type_.map_keys
    if not relation and "merge" in type_.patch_strategy:
        keys = (type_.patch_merge_key,) if type_.patch_merge_key else ()
        relation = "map" if keys else "set"
    if relation != "map":
        return ListRule(relation or "atomic", element)
    item = type_.items
    defaults = {}
    for key in keys:
        field = item.fields.get(key)
        if field is not None and field.presence == "always":
            defaults[key] = field.zero
        elif (item.name, key) in _KEY_DEFAULTS:
            defaults[key] = _KEY_DEFAULTS[item.name, key]
    return ListRule(relation, element, keys, defaults)


_LEAF, _STRUCT, _MAP, _LIST, _DEDUCED, _OTHER = range(6)


def _node(type_: MergeType) -> kernel.Node:
    """What the kernel walks. A node is known before its parts are made, so a type may hold itself."""
    if type_.node is not None:
        return type_.node
    kind = _kind(type_)
    node = type_.node = kernel.Node(kind, type_.scalar == "untyped" and type_.list is not None)
    if kind in (_STRUCT, _MAP):
        assert type_.map is not None
        node.set_fields(_node_fields(type_.map))
        if type_.map.element is not None:
            node.set_element(_node(type_.map.element))
    elif kind == _LIST:
        assert type_.list is not None
        node.set_element(_node(type_.list.element), tuple(sorted(type_.list.keys)), dict(type_.list.defaults))
    elif kind == _DEDUCED:
        node.set_element(node)
    return node


def _kind(type_: MergeType) -> int:
    if type_ is DEDUCED:
        return _DEDUCED
    has_map = type_.map is not None and not type_.map.is_atomic
    has_list = type_.list is not None and type_.list.relation != "atomic"
    if not has_map and not has_list:
        return _LEAF
    if type_._is_mixed:
        return _OTHER
    if has_list:
        return _LIST
    assert type_.map is not None
    return _STRUCT if type_.map.fields else _MAP


def root_node(type_: MergeType, passed_over: frozenset[str] = frozenset()) -> kernel.Node | None:
    """What the kernel walks for a whole object. What nobody owns is passed over, and these. None: there can be none."""
    whole = type_.map
    metadata = whole.member("metadata") if whole is not None else None
    if whole is None or metadata is None or metadata.map is None or {_kind(type_), _kind(metadata)} != {_STRUCT}:
        return None
    node = kernel.Node(_STRUCT, False)
    owned = kernel.Node(_STRUCT, False)
    owned.set_fields(_node_fields(metadata.map, UNOWNED_METADATA))
    node.set_fields({**_node_fields(whole, UNOWNED | passed_over), "metadata": owned})
    return node


def _node_fields(rule: MapRule, passed_over: frozenset[str] = frozenset()) -> dict[str, kernel.Node | None]:
    return {name: None if name in passed_over else _node(field) for name, field in rule.fields.items()}
