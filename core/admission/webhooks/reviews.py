"""What is said to an admission webhook, and what its answer means (admission.k8s.io/v1 and v1beta1, AdmissionReview).

An answer that is none (another uid, a patch of a webhook that may not change anything) is an ``InvalidResponse``; one
that refuses is a ``Rejection``, whatever the failure policy says.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, NamedTuple

import orjson

from cybernetes.core.admission.expressions import Request
from cybernetes.core.admission.webhooks.hooks import Hook
from cybernetes.core.api import webhookanswers
from cybernetes.core.errors import ApiError, bad_request, quoted
from cybernetes.core.objects import Gvk, Gvr, Object

_GROUP = "admission.k8s.io"
_KIND = "AdmissionReview"
VERSIONS = ("v1", "v1beta1")


class InvalidResponse(ValueError):
    """An answer that cannot be used."""


class Review(NamedTuple):
    uid: str
    version: str
    body: bytes


class Response(NamedTuple):
    """``patch`` is a list of operations, empty for none."""

    allowed: bool
    status: Object | None
    patch: list[Any]
    annotations: dict[str, str]
    warnings: list[str]


def version_for(hook: Hook) -> str | None:
    """The first version of reviews that the webhook accepts and we speak."""
    return next((version for version in hook.review_versions if version in VERSIONS), None)


def review(
    version: str, uid: str, request: Request, resource: Gvr, kind: Gvk, obj: Object | None, old: Object | None
) -> Review:
    """The question. ``obj`` and ``old`` are of ``kind``."""
    asked: Object = {"uid": uid, **request.as_dict(resource, kind), "object": obj, "oldObject": old}
    body = {"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{version}", "request": asked}
    return Review(uid, version, orjson.dumps(body))


def response(asked: Review, data: bytes, *, is_mutating: bool) -> Response:
    """The answer to ``asked``. Raises UnreadableAnswer, InvalidResponse."""
    answer = webhookanswers.read(data, Gvk(_GROUP, asked.version, _KIND), VERSIONS).get("response")
    if not isinstance(answer, dict):
        raise InvalidResponse("webhook response was absent")
    if asked.version == "v1" and answer.get("uid", "") != asked.uid:
        raise InvalidResponse(f"expected response.uid={quoted(asked.uid)}, got {quoted(str(answer.get('uid', '')))}")
    status = answer.get("status")
    return Response(
        answer.get("allowed") is True,
        status if isinstance(status, dict) else None,
        _patch(asked.version, answer, is_mutating),
        {str(key): str(value) for key, value in (answer.get("auditAnnotations") or {}).items()},
        [str(text) for text in answer.get("warnings") or ()],
    )


def _patch(version: str, answer: Object, is_mutating: bool) -> list[Any]:
    encoded, kind = answer.get("patch"), answer.get("patchType")
    if version == "v1":
        if not is_mutating:
            if encoded:
                raise InvalidResponse("validating webhook may not return response.patch")
            if kind is not None:
                raise InvalidResponse("validating webhook may not return response.patchType")
        elif encoded and kind is None:
            raise InvalidResponse("webhook returned response.patch but not response.patchType")
        elif not encoded and kind is not None:
            raise InvalidResponse("webhook returned response.patchType but not response.patch")
        elif kind == "":
            raise InvalidResponse('webhook returned invalid response.patchType of ""')
    if not is_mutating or not encoded:
        return []
    try:
        patch = orjson.loads(base64.b64decode(encoded, validate=True))
    except (binascii.Error, TypeError, ValueError) as error:
        raise UndecodablePatch(f"received undecodable patch in webhook response: {error}") from None
    if patch is None:
        return []
    if not isinstance(patch, list):
        word = {dict: "object", str: "string", bool: "bool"}.get(type(patch), "number")
        why = f"json: cannot unmarshal {word} into Go value of type jsonpatch.Patch"
        raise UndecodablePatch(f"received undecodable patch in webhook response: {why}")
    if patch and version == "v1" and kind != "JSONPatch":
        raise UnsupportedPatch(f"unsupported patch type {quoted(str(kind))}")
    return patch


class UnsupportedPatch(InvalidResponse):
    """A patch of another kind than JSON patch."""


class UndecodablePatch(InvalidResponse):
    """A patch that cannot be read."""


def rejection(name: str, status: Object | None) -> ApiError:
    """The refusal of a webhook as the client sees it: its own status, said to be the webhook's."""
    found = dict(status or {})
    code = found.get("code")
    found["code"] = code if isinstance(code, int) and code >= 400 else 400
    if found.get("status") in (None, "", "Success"):
        found["status"] = "Failure"
    denied = f"admission webhook {quoted(name)} denied the request"
    if found.get("message"):
        found["message"] = f"{denied}: {found['message']}"
    elif found.get("reason"):
        found["message"] = f"{denied}: {found['reason']}"
    else:
        found["message"] = f"{denied} without explanation"
    found.setdefault("metadata", {})
    details = found.get("details")
    retry = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    return ApiError({"kind": "Status", "apiVersion": "v1", **found}, retry_after_s=retry if retry else None)


def no_dry_run(name: str) -> ApiError:
    return bad_request(f"admission webhook {quoted(name)} does not support dry run")
