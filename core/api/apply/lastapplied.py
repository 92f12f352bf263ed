"""The annotation in which kubectl's client-side apply keeps what was applied last, and how its users come over.

Who has used ``kubectl apply`` and then uses ``kubectl apply --server-side`` (its manager is ``kubectl``) meets the
fields that its own former self manages as an updater. Conflicts over fields that the annotation shows to have been
applied, and that still have that value, are therefore none. While the annotation is there it is kept up to date, so
that client-side apply may be used again.
"""

from __future__ import annotations

from typing import Any

import orjson

from cybernetes.core.api.apply.comparison import compare_values
from cybernetes.core.api.apply.extraction import to_set
from cybernetes.core.api.apply.fieldset import FieldSet, difference
from cybernetes.core.api.apply.mergetypes import MergeType
from cybernetes.core.api.apply.validation import validate
from cybernetes.core.api.apply.values import MergeError
from cybernetes.core.objects import Object

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
#: Whose annotation it is.
MANAGER = "kubectl"
#: All annotations of an object together; beyond, the annotation is left out.
_ANNOTATIONS_BYTES_MAX = 256 * 1024


def allowed(type_: MergeType, api_version: str, live: Object) -> FieldSet:
    """The fields that client-side apply applied and that are as it left them; {} when there is nothing to go by."""
    text = _annotations(live).get(ANNOTATION)
    if not text:
        return {}
    try:
        last: Any = orjson.loads(text)
    except ValueError:
        return {}
    if not isinstance(last, dict) or last.get("apiVersion") != api_version:
        return {}
    try:
        validate(type_, live)
        validate(type_, last)
        fields = to_set(type_, last)
        found = compare_values(type_, last, live)
    except MergeError:
        return {}
    return difference(difference(fields, found.changed), found.removed)


def sync(obj: Object, config: Object) -> None:
    """Let the annotation of ``obj``, if it has one, say that ``config`` was applied."""
    annotations = _annotations(obj)
    if not annotations.get(ANNOTATION):
        return
    own = dict(config)
    metadata = own.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("annotations"), dict):
        kept = {name: value for name, value in metadata["annotations"].items() if name != ANNOTATION}
        metadata = own["metadata"] = {**metadata, "annotations": kept}
        if not kept:
            del metadata["annotations"]
    text = orjson.dumps(own, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE).decode()
    rest = sum(len(name) + len(value.encode()) for name, value in annotations.items() if name != ANNOTATION)
    if rest + len(ANNOTATION) + len(text.encode()) > _ANNOTATIONS_BYTES_MAX:
        del annotations[ANNOTATION]
    else:
        annotations[ANNOTATION] = text


def _annotations(obj: Object) -> dict[str, Any]:
    found = (obj.get("metadata") or {}).get("annotations")
    return found if isinstance(found, dict) else {}
