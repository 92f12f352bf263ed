"""OpenAPI: the whole API as one document of the second version, or as one of the third for each group version.

``kubectl explain``, ``kubectl apply`` and every generated client read them. They are made from the Registry and the
schema when they are first asked for. The index of the third version names each document with a hash, so that a client
which has it need not ask again; the hash is of what the document is made from, because making all of them to announce
them would be most of what the first kubectl waits for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from cybernetes import __version__
from cybernetes.core.api import discovery
from cybernetes.core.api.openapi import definitions, gnostic, operations, plain
from cybernetes.core.api.openapi.definitions import PREFIX, Dialect
from cybernetes.core.api.openapi.names import META
from cybernetes.core.api.openapi.operations import Operation, Path
from cybernetes.core.api.openapi.parameters import Parameter
from cybernetes.core.api.registry import Registry
from cybernetes.core.api.resource import Resource
from cybernetes.core.api.schema import Schema, load

Json = dict[str, Any]

_INFO = {"title": "Kubernetes", "version": "v1.36.0"}
_SECURITY = {
    "BearerToken": {
        "description": "Bearer Token authentication",
        "type": "apiKey",
        "name": "authorization",
        "in": "header",
    }
}

#: Gives the definitions of a custom resource's objects and lists, in the dialect, by type name.
CustomDefinitions = Callable[[Resource, Dialect], dict[str, Json]]


def v2(registry: Registry, custom: CustomDefinitions | None = None) -> Json:
    """``/openapi/v2``: everything. About 40 ms; cache it."""
    schema = load()
    paths = _plain_paths(registry)
    for group, versions in discovery.groups(registry).items():
        for version in versions:
            paths += operations.paths(registry, group, version)
    return {
        "swagger": "2.0",
        "info": _INFO,
        "paths": {path.path: _path_v2(path) for path in sorted(paths)},
        "definitions": _definitions(schema, paths, "v2", registry.all(), custom),
        "securityDefinitions": _SECURITY,
        "security": [{"BearerToken": []}],
    }


def v2_protobuf(registry: Registry, custom: CustomDefinitions | None = None) -> bytes:
    """The same as protobuf, for clients that ask for ``gnostic.CONTENT_TYPE``. Twice as long; cache it."""
    return gnostic.encode(v2(registry, custom))


def v3_paths(registry: Registry) -> list[str]:
    """The names of the documents of the third version: ``api/v1``, ``apis/apps/v1``, ``version`` …"""
    names = ["api", "apis", "version", ".well-known/openid-configuration", "openid/v1/jwks"]
    for group, versions in discovery.groups(registry).items():
        if group:
            names.append(f"apis/{group}")
        names += [f"apis/{group}/{version}" if group else f"api/{version}" for version in versions]
    return sorted(names)


def v3_index(registry: Registry) -> Json:
    """``/openapi/v3``: where each document is, with its hash."""
    names = v3_paths(registry)
    urls = {name: f"/openapi/v3/{name}?hash={v3_hash(registry, name)}" for name in names}
    return {"paths": {name: {"serverRelativeURL": url} for name, url in urls.items()}}


def v3_hash(registry: Registry, name: str) -> str:
    """Differs when the document does: made from the resources and the release, not from the document."""
    group, version = _group_version(name)
    resources = registry.of(group, version) if version else ()
    # Strategies and conversions are functions, whose text is their address: not of the document.
    shown = [(each.gvr, each.kind, each.verbs, each.is_namespaced, sorted(each.subresources)) for each in resources]
    generation = registry.generation if any(each.is_custom for each in resources) else 0
    versions = discovery.groups(registry).get(group)
    text = repr((__version__, load().version, name, shown, generation, versions))
    return hashlib.sha512(text.encode()).hexdigest().upper()


def v3(registry: Registry, name: str, custom: CustomDefinitions | None = None) -> Json | None:
    """``/openapi/v3/NAME`` for one of ``v3_paths``; None for any other. About 20 ms for ``api/v1``; cache it."""
    group, version = _group_version(name)
    resources: tuple[Resource, ...] = ()
    if version:
        paths = operations.paths(registry, group, version)
        resources = registry.of(group, version)
    else:
        paths = [path for path in _plain_paths(registry) if path.path == f"/{name}/"]
    if not paths or (version and not resources):
        return None
    components: Json = {"schemas": _definitions(load(), paths, "v3", resources, custom)}
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": {path.path: _path_v3(path) for path in paths},
        "components": {**components, "securitySchemes": _SECURITY},
    }


def _plain_paths(registry: Registry) -> list[Path]:
    return [
        *plain.discovery_paths(discovery.groups(registry)),
        plain.version_path(),
        *plain.key_paths(),
    ]


def _group_version(name: str) -> tuple[str, str]:
    """``apis/apps/v1`` -> (apps, v1), ``api/v1`` -> ("", v1), everything else -> (its name, "")."""
    parts = name.split("/")
    if parts[0] == "apis" and len(parts) == 3:
        return parts[1], parts[2]
    if parts[0] == "api" and len(parts) == 2:
        return "", parts[1]
    return (parts[1] if parts[0] == "apis" and len(parts) == 2 else name), ""


def _definitions(
    schema: Schema,
    paths: Sequence[Path],
    dialect: Dialect,
    resources: Sequence[Resource],
    custom: CustomDefinitions | None,
) -> Json:
    has_custom = any(resource.is_custom for resource in resources)
    names = definitions.names_of(paths, schema, (META + "ObjectMeta", META + "ListMeta") if has_custom else ())
    versions = {(each.gvr.group, each.gvr.version) for each in resources}
    found = {name: definitions.definition(schema, name, dialect, versions) for name in names}
    if custom is not None:
        for resource in resources:
            if resource.is_custom:
                found |= custom(resource, dialect)
    return found


def _path_v2(path: Path) -> Json:
    common = path.common
    item: Json = {operation.method: _operation_v2(operation, common) for operation in path.operations}
    if common:
        item["parameters"] = [_parameter_v2(each) for each in common]
    return item


def _operation_v2(operation: Operation, common: Sequence[Parameter]) -> Json:
    parameters = []
    if operation.body:
        body: Json = {"name": "body", "in": "body", "schema": {"$ref": PREFIX["v2"] + operation.body}}
        if operation.is_body_required:
            body["required"] = True
        parameters.append(body)
    parameters += [_parameter_v2(each) for each in operation.parameters if each not in common]
    answer = {"$ref": PREFIX["v2"] + operation.answer} if operation.answer else {"type": "string"}
    responses: Json = {str(code): {"description": _CODES[code], "schema": answer} for code in operation.codes}
    result = _head(operation)
    if operation.consumes:
        result["consumes"] = list(operation.consumes)
    result |= {"produces": list(operation.produces), "schemes": ["https"]}
    if parameters:
        result["parameters"] = parameters
    result["responses"] = {**responses, "401": {"description": "Unauthorized"}}
    return result | _marks(operation)


def _path_v3(path: Path) -> Json:
    common = path.common
    item: Json = {operation.method: _operation_v3(operation, common) for operation in path.operations}
    if common:
        item["parameters"] = [_parameter_v3(each) for each in common]
    return item


def _operation_v3(operation: Operation, common: Sequence[Parameter]) -> Json:
    result = _head(operation)
    parameters = [_parameter_v3(each) for each in operation.parameters if each not in common]
    if parameters:
        result["parameters"] = parameters
    if operation.body:
        schema = {"schema": {"$ref": PREFIX["v3"] + operation.body}}
        body: Json = {"content": dict.fromkeys(operation.consumes, schema)}
        if operation.is_body_required:
            body["required"] = True
        result["requestBody"] = body
    answer = {"$ref": PREFIX["v3"] + operation.answer} if operation.answer else {"type": "string"}
    content = {kind: {"schema": answer} for kind in operation.produces}
    responses: Json = {str(code): {"description": _CODES[code], "content": content} for code in operation.codes}
    result["responses"] = {**responses, "401": {"description": "Unauthorized"}}
    return result | _marks(operation)


_CODES = {200: "OK", 201: "Created", 202: "Accepted"}


def _head(operation: Operation) -> Json:
    return {"description": operation.description, "operationId": operation.id, "tags": [operation.tag]}


def _marks(operation: Operation) -> Json:
    if operation.kind is None:
        return {}
    group, version, kind = operation.kind
    return {
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    }


def _parameter_v2(parameter: Parameter) -> Json:
    result: Json = {"name": parameter.name, "in": parameter.place, "description": parameter.description}
    if parameter.is_required:
        result["required"] = True
    return {**result, "type": parameter.type, "uniqueItems": True}


def _parameter_v3(parameter: Parameter) -> Json:
    result: Json = {"name": parameter.name, "in": parameter.place, "description": parameter.description}
    if parameter.is_required:
        result["required"] = True
    return {**result, "schema": {"type": parameter.type, "uniqueItems": True}}
