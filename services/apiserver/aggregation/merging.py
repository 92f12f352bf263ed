"""Documents of this server with what extension servers serve in them: discovery in both forms, and OpenAPI."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from cybernetes.core.objects import Object
from cybernetes.services.apiserver.aggregation.apiservices import ApiServices, Remote


def discovered(resource_list: Object) -> list[Object]:
    """An APIResourceList as the resources of aggregated discovery. Raises KeyError, TypeError for what is none."""
    own_group, _, own_version = resource_list.get("groupVersion", "").rpartition("/")
    found: dict[str, Object] = {}
    parts: dict[str, list[Object]] = {}
    for item in resource_list["resources"]:
        kind = {
            "group": item.get("group") or own_group,
            "version": item.get("version") or own_version,
            "kind": item["kind"],
        }
        name, slash, part = item["name"].partition("/")
        if slash:
            parts.setdefault(name, []).append({"subresource": part, "responseKind": kind, "verbs": item["verbs"]})
            continue
        entry = {
            "resource": name,
            "responseKind": kind,
            "scope": "Namespaced" if item.get("namespaced") else "Cluster",
            "singularResource": item.get("singularName") or "",
            "verbs": item["verbs"],
        }
        found[name] = entry | {key: item[key] for key in ("shortNames", "categories") if item.get(key)}
    for name, listed in parts.items():
        if name in found:
            found[name]["subresources"] = listed
    return list(found.values())


def group_list(document: Object, services: ApiServices) -> Object:
    """``/apis`` with the groups of remote servers, in the order of all priorities."""
    groups = services.groups(_versions(document["groups"]))
    return {**document, "groups": [_group(name, versions) for name, versions in groups.items() if name]}


def group(document: Object | None, name: str, services: ApiServices) -> Object | None:
    """``/apis/GROUP``, None when nobody serves it. ``document`` is what we say ourselves."""
    ours = _versions([document]) if document is not None else {}
    versions = services.groups(ours).get(name)
    return None if versions is None else {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def aggregated(document: Object, services: ApiServices) -> Object:
    """The APIGroupDiscoveryList of ``/apis`` with the resources of remote servers."""
    ours = {
        item["metadata"].get("name", ""): {each["version"]: each for each in item["versions"]}
        for item in document["items"]
    }
    remotes = {(remote.group, remote.version): remote for remote in services.remotes()}
    items = []
    for name, versions in services.groups({name: tuple(each) for name, each in ours.items()}).items():
        listed = [
            _version(remotes[name, version]) if (name, version) in remotes else ours[name][version]
            for version in versions
        ]
        items.append({"metadata": {"name": name}, "versions": listed})
    return {**document, "items": items}


def openapi_index(document: Object, services: ApiServices) -> Object:
    """``/openapi/v3`` with the documents of remote servers."""
    paths = dict(document["paths"])
    for remote in services.remotes():
        path = f"apis/{remote.group}/{remote.version}"
        paths.pop(path, None)
        if remote.openapi:
            tag = hashlib.sha512(remote.openapi).hexdigest()[:128].upper()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={tag}"}
    return {**document, "paths": paths}


def openapi_v2(document: Object, services: ApiServices) -> Object:
    """``/openapi/v2`` with the paths and definitions that remote servers have told in their v3 documents."""
    merged = {**document, "paths": dict(document["paths"]), "definitions": dict(document["definitions"])}
    for remote in services.remotes():
        if not remote.openapi:
            continue
        try:
            told: Object = orjson.loads(remote.openapi)
        except orjson.JSONDecodeError:
            continue
        for name, schema in ((told.get("components") or {}).get("schemas") or {}).items():
            merged["definitions"].setdefault(name, _as_v2(schema))
    return merged


def _as_v2(schema: Any) -> Any:
    """A schema of OpenAPI 3 in the words of 2: other places of definitions, no alternatives."""
    if isinstance(schema, list):
        return [_as_v2(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "allOf" in schema and len(schema["allOf"]) == 1 and "$ref" in schema["allOf"][0]:
        schema = {**{key: value for key, value in schema.items() if key != "allOf"}, **schema["allOf"][0]}
    kept = {key: _as_v2(value) for key, value in schema.items() if key not in _NOT_IN_V2 or isinstance(value, dict)}
    reference = kept.get("$ref")
    if isinstance(reference, str):
        kept["$ref"] = reference.replace("#/components/schemas/", "#/definitions/")
    return kept


_NOT_IN_V2 = frozenset({"oneOf", "anyOf", "not", "nullable", "default"})


def _version(remote: Remote) -> Object:
    if not remote.discovered:
        return {"version": remote.version, "freshness": "Stale"}
    freshness = "Current" if remote.is_available else "Stale"
    return {"version": remote.version, "resources": remote.discovered, "freshness": freshness}


def _versions(groups: list[Object]) -> Mapping[str, tuple[str, ...]]:
    return {each["name"]: tuple(version["version"] for version in each["versions"]) for each in groups}


def _group(name: str, versions: tuple[str, ...]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}
