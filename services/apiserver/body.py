"""The body of a write, decoded, checked against the schema and of the kind that the path says."""

from __future__ import annotations

from cybernetes.core.api import codec, fielderror, schema
from cybernetes.core.api.protobuf.envelope import MEDIA_TYPE as PROTOBUF
from cybernetes.core.api.resource import Resource
from cybernetes.core.api.validation.metadata import check_field_manager
from cybernetes.core.client.interface import APPLY_PATCH
from cybernetes.core.errors import Cause, bad_request, invalid, unsupported_media_type
from cybernetes.core.objects import Gvk, Object
from cybernetes.services.apiserver.call import Call

_ACCEPTED = ("application/json", "application/yaml", PROTOBUF)
#: What is read as JSON or YAML; nothing means JSON.
_MEDIA = frozenset({"", "application/json", "application/yaml", "text/yaml", "application/x-yaml"})
FIELD_VALIDATIONS = ("Ignore", "Warn", "Strict")


def read(call: Call, resource: Resource) -> Object:
    """The object of ``call``'s body: the caller's to change. Adds warnings to the call. Raises ApiError 400, 415."""
    validation = check_options(call, resource)
    obj: Object = call.obj if call.obj is not None else decode(call, resource)
    call.warnings += codec.check(resource, obj, b"" if _is_protobuf(call.content_type) else call.body, validation)
    return obj


def read_kind(call: Call, gvk: Gvk) -> Object:
    """As ``read``, of a kind that is no resource: a Scale, a Binding, a TokenRequest."""
    validation = check_options(call, call.resource)
    obj: Object = call.obj if call.obj is not None else decode(call, call.resource, gvk.kind)
    raw = b"" if _is_protobuf(call.content_type) else call.body
    type_name = schema.load().type_name_of(gvk)
    assert type_name is not None, f"{gvk} is not in the schema"
    call.warnings += codec.check_type(type_name, gvk, obj, raw, validation)
    return obj


def decode(call: Call, resource: Resource, kind: str = "") -> Object:
    """Whatever object the body holds. Raises ApiError 400, 415."""
    if not _is_protobuf(call.content_type):
        if codec_media(call.content_type) not in _MEDIA:
            raise unsupported_media_type(_ACCEPTED[:2] if resource.is_custom else _ACCEPTED)
        return codec.decode(call.body, call.content_type, kind or resource.kind)
    if resource.is_custom:
        raise unsupported_media_type(_ACCEPTED[:2])
    from cybernetes.core.api.protobuf import decoder  # late: only Go's clients send it

    try:
        return decoder.decode(call.body, schema.load().type_name_of)
    except decoder.DecodeError as error:
        raise bad_request(str(error)) from None


def codec_media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _is_protobuf(content_type: str) -> bool:
    return content_type.startswith(PROTOBUF)


def check_options(call: Call, resource: Resource) -> str:
    """The fieldValidation of a write. Raises ApiError 422 for options that do not exist or do not go together."""
    errors = []
    manager = call.option("fieldManager")
    if call.verb == "patch":
        if codec_media(call.content_type) == APPLY_PATCH:
            if not manager:
                errors.append(fielderror.required("fieldManager", "is required for apply patch"))
        elif "force" in call.query:
            errors.append(fielderror.forbidden("force", "may not be specified for non-apply patch"))
    if manager:
        errors += check_field_manager(manager, "fieldManager")
    dry_run = call.query.get("dryRun")
    if dry_run and any(value != "All" for value in dry_run):
        for value in dry_run:
            if value != "All":
                errors.append(fielderror.not_supported("dryRun", value, ("All",)))
    validation = call.option("fieldValidation") or "Warn"
    if validation not in FIELD_VALIDATIONS:
        errors.append(fielderror.not_supported("fieldValidation", validation, ("", *sorted(FIELD_VALIDATIONS))))
    if errors:
        kind = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}.get(
            call.verb, "DeleteOptions"
        )
        raise invalid("meta.k8s.io", kind, "", [Cause(error.reason, error.message, error.path) for error in errors])
    return validation
