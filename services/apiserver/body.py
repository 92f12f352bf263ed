"""The body of a write, decoded, checked against the schema and of the kind that the path says."""

from __future__ import annotations

from cybernetes.core.api import codec, fielderror
from cybernetes.core.api.resource import Resource
from cybernetes.core.errors import Cause, invalid
from cybernetes.core.objects import Object
from cybernetes.services.apiserver.call import Call

FIELD_VALIDATIONS = ("Ignore", "Warn", "Strict")


def read(call: Call, resource: Resource) -> Object:
    """The object of ``call``'s body: the caller's to change. Adds warnings to the call. Raises ApiError 400, 415."""
    validation = check_options(call, resource)
    obj: Object = call.obj if call.obj is not None else codec.decode(call.body, call.content_type, resource.kind)
    call.warnings += codec.check(resource, obj, call.body, validation)
    return obj


def check_options(call: Call, resource: Resource) -> str:
    """The fieldValidation of a write. Raises ApiError 422 for options that do not exist."""
    errors = []
    validation = call.option("fieldValidation") or ("Strict" if resource.is_custom else "Warn")
    if validation not in FIELD_VALIDATIONS:
        errors.append(fielderror.not_supported("fieldValidation", validation, ("Ignore", "Strict", "Warn")))
    dry_run = call.query.get("dryRun")
    if dry_run and any(value != "All" for value in dry_run):
        for value in dry_run:
            if value != "All":
                errors.append(fielderror.not_supported("dryRun", value, ("All",)))
    if errors:
        kind = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}.get(
            call.verb, "DeleteOptions"
        )
        raise invalid("meta.k8s.io", kind, "", [Cause(error.reason, error.message, error.path) for error in errors])
    return validation
