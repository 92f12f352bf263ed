"""From an object to the collection that it belongs to."""

from __future__ import annotations

from cybernetes.core.objects import Gvr, Object
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.testing.errors import Misuse


def resource_of(server: ApiServer, obj: Object) -> tuple[Gvr, bool]:
    """The collection of ``obj``, and whether it has namespaces. Raises Misuse when it is not served."""
    group, _, version = obj["apiVersion"].rpartition("/")
    for resource in server.registry.all():
        if resource.kind == obj["kind"] and (resource.gvr.group, resource.gvr.version) == (group, version):
            return resource.gvr, resource.is_namespaced
    raise Misuse(f"{obj['apiVersion']} {obj['kind']} is not served; create its CustomResourceDefinition and settle")
