"""apply: PATCH with a configuration, which its manager wants in whole (server-side apply).

The configuration is merged into what is stored, or into nothing: an object that is not there is created. From there on
it is a create or an update like any other. Whoever is faster makes it start again from what they have written, unless
the configuration names a version of the object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from cybernetes.core.api import codec, yamlreader
from cybernetes.core.auth.attributes import Attributes, refusal
from cybernetes.core.errors import (
    ApiError,
    bad_request,
    conflict,
    failure,
    is_already_exists,
    is_not_found,
    not_found,
    server_timeout,
)
from cybernetes.core.objects import Object
from cybernetes.services.apiserver import body, objectmeta
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Item
from cybernetes.services.apiserver.handlers.create import create_object
from cybernetes.services.apiserver.handlers.update import modify, stored_object

_ATTEMPTS_MAX = 5


async def apply(backend: Backend, call: Call) -> Item:
    """PATCH of an object, of its status or of another part of it, with ``application/apply-patch+yaml``."""
    validation = body.check_options(call, call.resource)
    config, repeated = read_config(call)
    force = call.flag("force")
    resource = call.resource

    def made(live: Object | None) -> Object:
        obj = backend.fields.applied(call, config, live, force)
        report_repeated(call, repeated, validation)
        if not (config.get("metadata") or {}).get("resourceVersion"):
            obj["metadata"].pop("resourceVersion", None)  # not the configuration's: the stored one went through
        return _checked(call, obj)

    for _ in range(_ATTEMPTS_MAX):
        current = await backend.storage.current(resource, call.namespace, call.name)
        try:
            if current is None:
                return await _create(backend, call, made)
            return await modify(
                backend, call, lambda now: made(stored_object(call, now)), current=current, keeps_managers=True
            )
        except ApiError as error:
            # Meanwhile somebody else has created it, or deleted it.
            if is_already_exists(error) if current is None else is_not_found(error):
                continue
            raise
    raise server_timeout(*call.group_resource, "patch")


def read_config(call: Call) -> tuple[Any, str]:
    """The configuration of a call, and what a strict reader says of it. Raises ApiError 400."""
    if call.obj is not None:
        return call.obj, ""
    raw = call.body
    try:
        config = orjson.loads(raw)
        is_suspect = codec.has_repeated(config, raw)
        lines = yamlreader.read(raw)[1] if is_suspect else []
    except orjson.JSONDecodeError:
        try:
            config, lines = yamlreader.read(raw)
        except yamlreader.MalformedYaml as error:
            raise _malformed(error) from None
    except yamlreader.MalformedYaml as error:
        raise _malformed(error) from None
    if config is not None and not isinstance(config, dict):
        word = "array" if isinstance(config, list) else "string" if isinstance(config, str) else "number"
        why = f"json: cannot unmarshal {word} into Go value of type map[string]interface {{}}"
        raise bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {why}")
    if not lines:
        return config, ""
    return config, "error converting YAML to JSON: yaml: unmarshal errors:\n  " + "\n  ".join(lines)


def _malformed(error: yamlreader.MalformedYaml) -> ApiError:
    return bad_request(f"error decoding YAML: error converting YAML to JSON: {error}")


def report_repeated(call: Call, repeated: str, validation: str) -> None:
    """Fields that the configuration names twice. Raises ApiError 400 under Strict."""
    if not repeated or validation == "Ignore":
        return
    if validation == "Strict":
        raise bad_request(f"error strict decoding YAML: {repeated}")
    call.warnings += [line.strip() for line in repeated.partition("errors:\n")[2].split("\n")]


async def _create(backend: Backend, call: Call, made: Callable[[Object | None], Object]) -> Item:
    """Of nothing: the object is what the configuration says. Who applies must be allowed to create."""
    resource = call.resource
    if call.subresource is not None:
        raise not_found(*call.group_resource, call.name)
    obj = made(None)
    metadata = objectmeta.metadata_of(obj)
    if metadata.get("uid"):
        why = f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing object was found"
        raise conflict(*call.group_resource, call.name, why)
    gvr = resource.gvr
    attributes = Attributes("create", gvr.group, gvr.version, gvr.resource, "", call.namespace, call.name, "", ())
    decision = backend.authorize(call.user, attributes)
    if not decision.allowed:
        raise refusal(call.user, attributes, decision.reason)
    metadata.pop("resourceVersion", None)
    return await create_object(backend, call, resource, obj, keeps_managers=True)


def _checked(call: Call, obj: Object) -> Object:
    """The result of an apply in the form that is kept. Raises ApiError 400, 500."""
    resource = call.resource
    metadata = objectmeta.metadata_of(obj)
    objectmeta.match_namespace(metadata, call.namespace)
    objectmeta.match_name(metadata, call.name)
    try:
        codec.check(resource, obj, b"", "Ignore")
    except ApiError as error:
        what = f"{metadata.get('namespace') or ''}/{call.name}; {resource.gvr.group}/{resource.gvr.version}, "
        kind = f"{resource.gvr.api_version}, Kind={resource.kind}"
        why = error.message.partition(f"cannot be handled as a {resource.kind}: ")[2] or error.message
        raise failure(
            500,
            "",
            f"failed to convert new object ({what}Kind={resource.kind}) to proper version "
            f"({resource.gvr.api_version}): unable to convert unstructured object to {kind}: {why}",
        ) from None
    return obj
