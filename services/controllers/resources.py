"""Every resource that the garbage collector and the deletion of namespaces have to know: built-in ones and custom ones.

Of a resource that is served in several versions the preferred one counts. The list is made anew when a
CustomResourceDefinition changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cybernetes.core.api.registry import Registry
from cybernetes.core.objects import Gvr, Object, is_condition_true

CUSTOM_RESOURCE_DEFINITIONS = Gvr("apiextensions.k8s.io", "v1", "customresourcedefinitions")

Served = tuple[Gvr, str, bool]


def built_in(registry: Registry) -> Sequence[Served]:
    """(gvr, kind, is namespaced) of each built-in resource that can be listed, watched and deleted."""
    found: dict[tuple[str, str], Served] = {}
    for resource in registry.all():
        verbs = {"list", "watch", "delete"}
        identity = (resource.gvr.group, resource.gvr.resource)
        if resource.is_stored and not resource.is_custom and verbs <= set(resource.verbs) and identity not in found:
            found[identity] = (resource.gvr, resource.kind, resource.is_namespaced)
    return list(found.values())


def custom(definitions: Iterable[Object]) -> Sequence[Served]:
    """The same of established CustomResourceDefinitions: the version that is stored, if it is served."""
    found = []
    for definition in definitions:
        spec = definition["spec"]
        if not is_condition_true(definition, "Established"):
            continue
        served = [version for version in spec["versions"] if version.get("served")]
        if not served:
            continue
        stored = [version for version in served if version.get("storage")]
        version = (stored or served)[0]["name"]
        gvr = Gvr(spec["group"], version, spec["names"]["plural"])
        found.append((gvr, spec["names"]["kind"], spec["scope"] == "Namespaced"))
    return sorted(found)
