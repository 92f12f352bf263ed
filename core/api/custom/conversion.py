"""The ConversionReview: what a conversion webhook is asked, and whether its answer can be believed.

A webhook may change everything of an object but who it is: kind, name, namespace and uid must stay, and of the metadata
only labels and annotations are its own. Upstream: apiserver/conversion/webhook_converter.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from cybernetes.core.api import webhookanswers
from cybernetes.core.api.validation.metadata import check_annotations, check_labels
from cybernetes.core.errors import quoted
from cybernetes.core.objects import Gvk, Object, clone

_GROUP = "apiextensions.k8s.io"
_KIND = "ConversionReview"
_KNOWN = ("v1", "v1beta1")
#: How Go calls what a value is.
_GO_TYPES = {dict: "map[string]interface {}", list: "[]interface {}", str: "string", bool: "bool", int: "int64"}


class ConversionFailed(Exception):
    """The text says why, after the name of what was converted."""


def review(versions: Sequence[str], objects: Sequence[Object], api_version: str, uid: str) -> tuple[str, bytes]:
    """(version, text) of the question, in the first of ``versions`` that is known. Raises ConversionFailed."""
    version = next((each for each in versions if each in _KNOWN), "")
    if not version:
        raise ConversionFailed("no supported conversion review versions")
    request = {"uid": uid, "desiredAPIVersion": api_version, "objects": objects}
    return version, orjson.dumps({"kind": _KIND, "apiVersion": f"{_GROUP}/{version}", "request": request})


def converted(version: str, uid: str, answer: bytes, originals: Sequence[Object], api_version: str) -> list[Object]:
    """The objects of an answer, each held to its original. Raises ConversionFailed."""
    objects = _objects(version, uid, answer)
    if len(objects) != len(originals):
        raise ConversionFailed(f" returned {len(objects)} objects, expected {len(originals)}")
    is_list = len(originals) > 1
    for index, (obj, original) in enumerate(zip(objects, originals, strict=True)):
        place = f" returned invalid converted object at index {index}" if is_list else " returned invalid object"
        at_index = place if is_list else f"{place} at index 0"
        if not isinstance(obj, dict):
            raise ConversionFailed(f"{at_index}: Object 'Kind' is missing")
        found = obj.get("apiVersion") or ""
        if found != api_version:
            raise ConversionFailed(f"{at_index}: invalid groupVersion (expected {api_version}, received {found})")
        kind = obj.get("kind") or ""
        if kind != original["kind"]:
            raise ConversionFailed(f"{at_index}: invalid kind (expected {original['kind']}, received {kind})")
        if wrong := _changed(obj, original):
            raise ConversionFailed(f"{place}: {wrong}")
        if wrong := _restore(obj, original):
            place = " returned invalid metadata" + (f" in object at index {index}" if is_list else "")
            raise ConversionFailed(f"{place}: {wrong}")
    return objects


def _objects(version: str, uid: str, answer: bytes) -> list[Any]:
    try:
        body = webhookanswers.read(answer, Gvk(_GROUP, version, _KIND), _KNOWN)
    except webhookanswers.UnreadableAnswer as error:
        raise ConversionFailed(f" failed: {error}") from None
    response = body.get("response")
    if not isinstance(response, dict):
        raise ConversionFailed(" failed: no response provided")
    if version == "v1" and response.get("uid", "") != uid:
        found = quoted(str(response.get("uid", "")))
        raise ConversionFailed(f" failed: expected response.uid={quoted(uid)}, got {found}")
    result = response.get("result") or {}
    status = result.get("status") or ""
    if status != "Success":
        message = result.get("message") or f"response.result.status was '{status}', not 'Success'"
        raise ConversionFailed(f" failed: {message}")
    objects = response.get("convertedObjects") or []
    if not isinstance(objects, list):
        raise ConversionFailed(" failed: convertedObjects is no list")
    return objects


def _changed(obj: Object, original: Object) -> str:
    """Whether it is another object than it was."""
    metadata = obj.get("metadata")
    new, old = metadata if isinstance(metadata, dict) else {}, original.get("metadata") or {}
    for field in ("name", "namespace", "uid"):
        mine, theirs = old.get(field) or "", new.get(field) or ""
        if mine != theirs:
            return f"must have the same {'UID' if field == 'uid' else field}: {mine} != {theirs}"
    return ""


def _restore(obj: Object, original: Object) -> str:
    """Give the object its metadata back, with the labels and annotations of the answer. Says what is wrong."""
    if "metadata" not in obj:
        return "missing metadata in converted object"
    answered = obj["metadata"]
    if not isinstance(answered, dict):
        return f"invalid metadata of type {_go_type(answered)} in converted object"
    metadata = clone(original.get("metadata") or {})
    for field in ("labels", "annotations"):
        found = answered.get(field)
        if found is None:
            metadata.pop(field, None)
            continue
        if not isinstance(found, dict):
            return f"invalid metadata.{field} of type {_go_type(found)} in converted object"
        for key, value in found.items():
            if not isinstance(value, str):
                return f"metadata.{field}[{key}] must be a string, but is {_go_type(value)} in converted object"
        if wrong := _wrong_words(field, found, metadata.get(field)):
            return wrong
        metadata[field] = found
    obj["metadata"] = metadata
    return ""


def _wrong_words(field: str, found: dict[str, str], before: Any) -> str:
    """What is wrong with labels or annotations that the webhook has changed."""
    if found == before:
        return ""
    # Upstream's path has no plural.
    errors = (
        check_labels(found, "metadata.labels") if field == "labels" else check_annotations(found, "metadata.annotation")
    )
    texts = list(dict.fromkeys(f"{error.path}: {error.message}" for error in errors))
    return f"[{', '.join(texts)}]" if len(texts) > 1 else "".join(texts)


def _go_type(value: Any) -> str:
    return "<nil>" if value is None else _GO_TYPES.get(type(value), "float64")
