"""A CustomResourceDefinition as the Resources that are served by it.

    for resource in resources_of(definition): registry.add(resource)

Only accepted names are served (see ``naming``): those in the status, not those in the spec.
"""

from __future__ import annotations

from collections.abc import Callable

from cybernetes.core import jsonpath
from cybernetes.core.api.custom.kind import Custom
from cybernetes.core.api.custom.strategy import strategy_of
from cybernetes.core.api.discovery import version_priority
from cybernetes.core.api.registry import PART_VERBS, SCALE
from cybernetes.core.api.resource import Resource, Subresource
from cybernetes.core.objects import Gvr, Object

#: In the order in which upstream tells them of custom resources.
_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


def is_served(definition: Object) -> bool:
    """Whether its names are accepted, or were once."""
    conditions = (definition.get("status") or {}).get("conditions") or ()
    names = (definition.get("status") or {}).get("acceptedNames") or {}
    if not all(names.get(field) for field in ("plural", "singular", "kind", "listKind")):
        return False
    return any(
        each.get("type") in ("NamesAccepted", "Established") and each.get("status") == "True" for each in conditions
    )


def resources_of(definition: Object) -> list[Resource]:
    """One Resource for each served version, the best version first; empty for a definition that is not served."""
    if not is_served(definition):
        return []
    spec = definition["spec"]
    served = [version for version in spec["versions"] if version.get("served")]
    served.sort(key=lambda version: version_priority(version["name"]))
    return [_resource(definition, version) for version in served]


def _resource(definition: Object, version: Object) -> Resource:
    spec, names = definition["spec"], definition["status"]["acceptedNames"]
    custom = Custom(definition, version)
    is_namespaced = spec["scope"] == "Namespaced"
    parts: dict[str, Subresource] = {}
    if custom.has_status:
        parts["status"] = Subresource("status", PART_VERBS, custom.gvk)
    if custom.scale is not None:
        parts["scale"] = Subresource("scale", PART_VERBS, SCALE)
    return Resource(
        gvr=Gvr(spec["group"], custom.version, names["plural"]),
        kind=names["kind"],
        singular=names["singular"],
        is_namespaced=is_namespaced,
        type_name="",
        verbs=_VERBS,
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=parts,
        selectable_fields={path.removeprefix("."): _selectable(path) for path in custom.selectable},
        strategy=strategy_of(custom, is_namespaced=is_namespaced),
        is_custom=True,
        custom=custom,
        own_list_kind=names["listKind"],
    )


def stored_resource(definition: Object) -> Resource:
    """The version in which objects are stored, served or not."""
    version = next(each for each in definition["spec"]["versions"] if each.get("storage"))
    return _resource(definition, version)


def _selectable(path: str) -> Callable[[Object], str]:
    find = jsonpath.parse(path).find

    def text(obj: Object) -> str:
        found = find(obj)
        if not found or found[0] is None:
            return ""
        value = found[0]
        return ("true" if value else "false") if isinstance(value, bool) else str(value)

    return text
