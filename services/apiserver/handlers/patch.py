"""patch: a change computed from the stored object, in the version of the request, applied until the store takes it.

A patch without a resourceVersion is applied again to what somebody else wrote meanwhile; one that has it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from cybernetes.core.api import codec, schema
from cybernetes.core.client.interface import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from cybernetes.core.errors import ApiError, bad_request, failure, unsupported_media_type
from cybernetes.core.objects import Gvk, Object
from cybernetes.services.apiserver import body, objectmeta
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Item
from cybernetes.services.apiserver.handlers.apply import apply as apply_configuration
from cybernetes.services.apiserver.handlers.update import modify, stored_object
from cybernetes.services.apiserver.storage import Current

_BUILT_IN = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)
_CUSTOM = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)
#: More operations in one JSON patch are refused: each may copy the whole object.
_OPERATIONS_MAX = 10_000


async def patch_(backend: Backend, call: Call) -> Item:
    """PATCH of an object, of its status or of another part of it."""
    if body.codec_media(call.content_type) == APPLY_PATCH:
        return await apply_configuration(backend, call)
    validation = body.check_options(call, call.resource)
    apply, explain = patcher(call)

    def change(current: Current) -> Object:
        stored = stored_object(call, current, is_bare=leaves_managers)
        revision = stored["metadata"]["resourceVersion"]
        new = apply(stored)
        metadata = objectmeta.metadata_of(new)
        if metadata.get("resourceVersion") == revision and not names_revision:
            del metadata["resourceVersion"]  # not the client's own: the stored one went through the patch
        if metadata.get("name") != call.name:
            objectmeta.match_name(metadata, call.name)
        try:
            call.warnings += codec.check(call.resource, new, b"", validation)
        except ApiError as error:
            raise explain(error, stored_object(call, current)) from None
        return new

    names_revision = is_conditional(call)
    # Most patches are not about managers, which are half of an object: it is patched without them.
    is_document = call.obj is None and not call.content_type.startswith(JSON_PATCH)
    leaves_managers = is_document and b"managedFields" not in call.body
    return await modify(backend, call, change)


def is_conditional(call: Call) -> bool:
    """Whether a patch names a resourceVersion: then it is for that state only."""
    return b"resourceVersion" in call.body if call.obj is None else _names_revision(call.obj)


class Patcher(NamedTuple):
    """What the body of a PATCH stands for. Neither function changes what it is given."""

    apply: Callable[[Object], Object]
    #: From why the result of ``apply`` was refused, and what it was applied to, to what the client is told.
    explain: Callable[[ApiError, Object], ApiError]


def patcher(call: Call, kind: Gvk | None = None) -> Patcher:
    """``kind`` is of what is patched, the resource's without one. Raises ApiError 400, 413, 415."""
    from cybernetes.core.api import patch  # late: a server that only reads never needs it

    resource = call.resource
    accepted = _CUSTOM if resource.is_custom else _BUILT_IN
    media_type = call.content_type.partition(";")[0].strip().lower()
    if media_type not in accepted:
        raise unsupported_media_type(accepted)
    content: Any = call.obj
    if content is None:
        try:
            content = orjson.loads(call.body)
        except ValueError as error:
            raise bad_request(f"error decoding patch: {error}") from None
    if media_type == JSON_PATCH:
        if not isinstance(content, list):
            raise bad_request(
                "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"
            )
        if len(content) > _OPERATIONS_MAX:
            text = f"The allowed maximum operations in a JSON patch is {_OPERATIONS_MAX}, got {len(content)}"
            raise failure(413, "RequestEntityTooLarge", f"Request entity too large: {text}")
        return _of_document(lambda stored: patch.apply_json_patch(stored, content))
    if not isinstance(content, dict):
        raise bad_request("error decoding patch: the patch must be a JSON object")
    if media_type == MERGE_PATCH:
        return _of_document(lambda stored: patch.apply_merge_patch(stored, content))
    known = schema.load()
    type_name = resource.type_name if kind is None else known.type_name_of(kind)
    assert type_name is not None
    node = known.type(type_name)
    return Patcher(
        lambda stored: patch.apply_strategic_merge_patch(stored, content, node),
        lambda error, stored: patch.undecodable_strategic(error, stored, content, node),
    )


def _of_document(apply: Callable[[Object], Object]) -> Patcher:
    from cybernetes.core.api import patch

    return Patcher(apply, lambda error, stored: patch.undecodable(error, apply(stored)))


def _names_revision(content: Any) -> bool:
    if isinstance(content, dict):
        metadata = content.get("metadata")
        return isinstance(metadata, dict) and "resourceVersion" in metadata
    return any("resourceVersion" in str(operation.get("path", "")) for operation in content)
