"""Refusals of the API, each carrying the exact Kubernetes ``Status``.

Two kinds of failure are kept apart. An ``ApiError`` is an answer: the caller asked for something that the API refuses,
and the ``Status`` says why in Kubernetes' words (apimachinery, ``pkg/api/errors``). Anything else that is raised is a
bug and ends as a 500 whose details stay in the log.

    ApiError
    └── raised with one of the constructors below: not_found, conflict, invalid, …
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Cause(NamedTuple):
    """One field that was refused. ``reason`` is a CauseType such as ``FieldValueRequired``."""

    reason: str
    message: str
    field: str

    def as_dict(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message, "field": self.field}


class ApiError(Exception):
    """A refusal. ``status`` is the ``v1.Status`` object that the client sees, as a plain dict."""

    def __init__(self, status: dict[str, Any], *, retry_after_s: int | None = None) -> None:
        super().__init__(status.get("message", ""))
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def code(self) -> int:
        return int(self.status["code"])

    @property
    def reason(self) -> str:
        return str(self.status.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.status.get("message", ""))


def failure(
    code: int,
    reason: str,
    message: str,
    *,
    name: str = "",
    group: str = "",
    kind: str = "",
    uid: str = "",
    causes: Sequence[Cause] = (),
    retry_after_s: int | None = None,
    keeps_details: bool = False,
) -> ApiError:
    """Build any refusal. ``kind`` is what upstream puts there: the resource's plural name, or for Invalid the Kind.

    ``keeps_details``: they are there even when there is nothing to say, as upstream's generic refusals have them.
    """
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if kind:
        details["kind"] = kind
    if uid:
        details["uid"] = uid
    if causes:
        details["causes"] = [cause.as_dict() for cause in causes]
    if retry_after_s is not None:
        details["retryAfterSeconds"] = retry_after_s
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
    }
    if not reason:
        del status["reason"]
    if details or keeps_details:
        status["details"] = details
    status["code"] = code
    return ApiError(status, retry_after_s=retry_after_s)


def _qualified(group: str, resource: str) -> str:
    return f"{resource}.{group}" if group else resource


def not_found(group: str, resource: str, name: str) -> ApiError:
    message = f'{_qualified(group, resource)} "{name}" not found'
    return failure(404, "NotFound", message, name=name, group=group, kind=resource)


def no_such_path() -> ApiError:
    """The path names no resource that is served."""
    return failure(404, "NotFound", "the server could not find the requested resource", keeps_details=True)


def already_exists(group: str, resource: str, name: str) -> ApiError:
    message = f'{_qualified(group, resource)} "{name}" already exists'
    return failure(409, "AlreadyExists", message, name=name, group=group, kind=resource)


#: What ``conflict`` says when the revision that the client sent is not the current one.
OBJECT_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(
    group: str, resource: str, name: str, why: str = OBJECT_MODIFIED, causes: Sequence[Cause] = ()
) -> ApiError:
    message = f'Operation cannot be fulfilled on {_qualified(group, resource)} "{name}": {why}'
    return failure(409, "Conflict", message, name=name, group=group, kind=resource, causes=causes)


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with every refused field. ``causes`` have messages without their paths, as ``field.Error.ErrorBody``."""
    texts = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    unique = list(dict.fromkeys(texts))  # upstream's aggregate drops repeated texts
    if not unique:
        body = "<nil>"
    elif len(unique) == 1:
        body = unique[0]
    else:
        body = "[" + ", ".join(unique) + "]"
    message = f'{_qualified(group, kind)} "{name}" is invalid: {body}'
    return failure(422, "Invalid", message, name=name, group=group, kind=kind, causes=causes)


def bad_request(message: str) -> ApiError:
    return failure(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> ApiError:
    return failure(401, "Unauthorized", message)


def forbidden(group: str, resource: str, name: str, why: str) -> ApiError:
    qualified = _qualified(group, resource)
    if not resource:
        message = f"forbidden: {why}"
    elif name:
        message = f'{qualified} "{name}" is forbidden: {why}'
    else:
        message = f"{qualified} is forbidden: {why}"
    return failure(403, "Forbidden", message, name=name, group=group, kind=resource, keeps_details=True)


def method_not_supported(group: str, resource: str, verb: str) -> ApiError:
    message = f"{verb} is not supported on resources of kind {quoted(_qualified(group, resource))}"
    return failure(405, "MethodNotAllowed", message, group=group, kind=resource)


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return failure(405, "MethodNotAllowed", message, keeps_details=True)


def not_acceptable(accepted: Sequence[str]) -> ApiError:
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return failure(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return failure(415, "UnsupportedMediaType", message)


def expired(
    message: str = "The provided continue parameter is too old to display a consistent list result.",
) -> ApiError:
    """410: the revision that was asked for has been compacted away."""
    return failure(410, "Expired", message)


def too_old_revision(requested: int, oldest: int) -> ApiError:
    return expired(f"too old resource version: {requested} ({oldest})")


def too_large_revision(requested: int, current: int) -> ApiError:
    """504 with the cause that clients look for to retry at once (ResourceVersionTooLarge)."""
    cause = Cause("ResourceVersionTooLarge", "Too large resource version", "")
    message = f"Timeout: Too large resource version: {requested}, current: {current}"
    return failure(504, "Timeout", message, causes=[cause], retry_after_s=1)


def request_too_large(limit: int) -> ApiError:
    return failure(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def too_many_requests(message: str, retry_after_s: int = 1) -> ApiError:
    return failure(429, "TooManyRequests", message, retry_after_s=retry_after_s)


def timeout(message: str, retry_after_s: int | None = None) -> ApiError:
    return failure(504, "Timeout", f"Timeout: {message}", retry_after_s=retry_after_s)


def server_timeout(group: str, resource: str, operation: str, retry_after_s: int = 0) -> ApiError:
    target = _qualified(group, resource)
    message = f"The {operation} operation against {target} could not be completed at this time, please try again."
    return failure(500, "ServerTimeout", message, group=group, kind=resource, retry_after_s=retry_after_s)


def service_unavailable(message: str) -> ApiError:
    return failure(503, "ServiceUnavailable", message)


def internal(message: str) -> ApiError:
    return failure(500, "InternalError", f"Internal error occurred: {message}", causes=[Cause("", message, "")])


def quoted(text: str) -> str:
    """A string as Go's %q prints it, for messages that quote the client's input."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def from_status(status: Mapping[str, Any]) -> ApiError:
    """Turn a Status that a server sent back into the error that it stands for."""
    body = dict(status)
    body.setdefault("code", 500)
    details = body.get("details") or {}
    return ApiError(body, retry_after_s=details.get("retryAfterSeconds"))


def is_not_found(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.code == 404


def is_conflict(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.reason == "Conflict"


def is_already_exists(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.reason == "AlreadyExists"


def is_expired(error: BaseException) -> bool:
    """Gone and Expired are both 410 and mean the same to a client: list again."""
    return isinstance(error, ApiError) and error.code == 410
