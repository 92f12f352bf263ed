"""What the API server says it serves: the documents below ``/api`` and ``/apis``, from a Registry.

Clients find resources by them: kubectl maps what people type to a collection, controllers learn which kinds exist.
There are two forms: a document for each group and version (the old one, a request each), and the aggregated one
(KEP-3352), which is everything below ``/api`` or ``/apis`` at once and is asked for by its media type.

Groups come in upstream's order of priority, which decides what ``kubectl get events`` means; groups of custom resources
follow by name, their versions in Kubernetes' order (v2, v1, v1beta2, v1alpha1).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any

from cybernetes.core.api.registry import GROUPS, Registry
from cybernetes.core.api.resource import Resource, Subresource
from cybernetes.core.objects import Gvk, Object

#: What can be done with objects whose definition is being deleted, as far as it is announced.
_TERMINATING_VERBS = ("delete", "deletecollection", "get", "list", "watch")

#: Parameters of the media type of aggregated discovery, newest first. The documents of both differ in nothing else.
AGGREGATED_VERSIONS = ("v2", "v2beta1")

_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Sorts versions with the best first: v10, v2, v1, v11beta2, v10beta3, v3beta1, v12alpha1, then others by name."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (3, 0, 0, version)
    major, stage, minor = match.groups()
    return ({None: 0, "beta": 1, "alpha": 2}[stage], -int(major), -int(minor or 0), "")


def groups(registry: Registry) -> dict[str, tuple[str, ...]]:
    """Group -> versions with the preferred first, in the order in which they are announced. The core group is ""."""
    found = registry.groups()
    ordered = {name: found[name] for name in GROUPS if name in found}
    for name in sorted(found.keys() - ordered.keys()):
        ordered[name] = tuple(sorted(found[name], key=version_priority))
    return ordered


def api_versions(server_address: str) -> Object:
    """``/api``. ``server_address`` is host:port, as clients of any network should use it."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    }


def group_list(registry: Registry) -> Object:
    """``/apis``: every group but the core one."""
    listed = [_group(name, versions) for name, versions in groups(registry).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(registry: Registry, name: str) -> Object | None:
    """``/apis/GROUP``; None when there is no such group."""
    versions = groups(registry).get(name) if name else None
    return None if versions is None else {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def resource_list(registry: Registry, group_name: str, version: str) -> Object | None:
    """``/api/v1`` or ``/apis/GROUP/VERSION``: every resource and subresource by name; None when it is not served."""
    if version not in registry.groups().get(group_name, ()):
        return None
    listed: list[dict[str, Any]] = []
    for resource in registry.of(group_name, version):
        listed.append(_resource(resource))
        listed += [_subresource(resource, part) for part in resource.subresources.values()]
    listed.sort(key=lambda item: str(item["name"]))
    head = {"kind": "APIResourceList"} if not group_name else {"kind": "APIResourceList", "apiVersion": "v1"}
    return {**head, "groupVersion": f"{group_name}/{version}" if group_name else version, "resources": listed}


def aggregated(registry: Registry, which: str, version: str = "v2") -> Object:
    """Everything below ``which`` (``/api`` or ``/apis``) as an APIGroupDiscoveryList of apidiscovery.k8s.io."""
    items = []
    for name, versions in groups(registry).items():
        if (name == "") != (which == "/api"):
            continue
        items.append(
            {
                "metadata": {"name": name} if name else {},
                "versions": [
                    {
                        "version": each,
                        "resources": [_discovered(resource) for resource in registry.of(name, each)],
                        "freshness": "Current",
                    }
                    for each in versions
                ],
            }
        )
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def storage_version_hash(resource: Resource) -> str:
    """Changes when the version in which objects are kept does; empty for what is not kept."""
    if not resource.is_stored:
        return ""
    stored = resource.storage_gvr
    version = stored.version if resource.custom is None else resource.custom.storage_version
    text = f"{stored.group}/{version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def _group(name: str, versions: Sequence[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resource(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": resource.gvr.resource,
        "singularName": resource.singular,
        "namespaced": resource.is_namespaced,
        "kind": resource.kind,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    version_hash = storage_version_hash(resource)
    if version_hash:
        entry["storageVersionHash"] = version_hash
    return entry


def _verbs(resource: Resource) -> list[str]:
    is_terminating = resource.custom is not None and resource.custom.is_terminating
    return list(_TERMINATING_VERBS if is_terminating else resource.verbs)


def _subresource(resource: Resource, part: Subresource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": f"{resource.gvr.resource}/{part.name}",
        "singularName": "",
        "namespaced": resource.is_namespaced,
    }
    foreign = _foreign(resource, part.gvk)
    if foreign:
        entry |= {"group": foreign.group, "version": foreign.version}
    return {**entry, "kind": part.gvk.kind, "verbs": list(part.verbs)}


def _discovered(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": resource.gvr.resource,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.is_namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    parts = []
    listed = resource.subresources.values()  # those of custom resources are told as they are defined: status first
    for part in listed if resource.is_custom else sorted(listed, key=lambda each: each.name):
        foreign = _foreign(resource, part.gvk) or Gvk("", "", part.gvk.kind)
        kind = {"group": foreign.group, "version": foreign.version, "kind": foreign.kind}
        parts.append({"subresource": part.name, "responseKind": kind, "verbs": list(part.verbs)})
    if parts:
        entry["subresources"] = parts
    return entry


def _foreign(resource: Resource, kind: Gvk) -> Gvk | None:
    """``kind`` when it belongs to another group version than the resource, which then has to be said."""
    return None if (kind.group, kind.version) == (resource.gvr.group, resource.gvr.version) else kind
