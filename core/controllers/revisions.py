"""ControllerRevisions: the history of templates of StatefulSets and DaemonSets.

A revision holds the template as a patch that replaces it (``{"spec": {"template": {…, "$patch": "replace"}}}``), is
named by a hash of that and numbered; the highest number is the newest. A template that was used before gets its old
revision back with a new number. Upstream: pkg/controller/history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import orjson

from cybernetes.core.clock import NAME_ALPHABET
from cybernetes.core.controllers.deployment_math import same_template
from cybernetes.core.controllers.interface import Action, Create, Delete, Get, Update
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.objects import (
    CONTROLLER_REVISIONS,
    Object,
    controller_reference,
    is_deleting,
    labels_of,
    name_of,
    uid_of,
)

HASH_LABEL = "controller.kubernetes.io/hash"


def in_order(revisions: Iterable[Object]) -> list[Object]:
    """Oldest first."""
    return sorted(
        revisions,
        key=lambda one: (int(one.get("revision") or 0), one["metadata"].get("creationTimestamp") or "", name_of(one)),
    )


def template_of(revision: Mapping[str, Any]) -> dict[str, Any]:
    """The template that a revision holds."""
    template = ((revision.get("data") or {}).get("spec") or {}).get("template") or {}
    return {name: value for name, value in template.items() if name != "$patch"}


def _data(template: Mapping[str, Any]) -> dict[str, Any]:
    """In the order of the keys: whoever looks for the revision of a template compares text."""
    return {"spec": {"template": _sorted({**template, "$patch": "replace"})}}


def _sorted(value: Any) -> Any:
    """A copy with every object's keys in order."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def hash_of(template: Mapping[str, Any], collision_count: int) -> str:
    content = orjson.dumps(template, option=orjson.OPT_SORT_KEYS) + str(collision_count).encode()
    number = int.from_bytes(hashlib.blake2b(content, digest_size=4).digest(), "big")
    return "".join(NAME_ALPHABET[ord(digit) % len(NAME_ALPHABET)] for digit in str(number))


def current_revision(
    owner: Object, api_version: str, kind: str, revisions: Sequence[Object], collision_count: int, hash_label: str
) -> Generator[Action, Any, tuple[Object, int]]:
    """The revision of the owner's template, made or brought to the front if need be, and the collision count.

    ``revisions`` are the owner's, oldest first. Raises what writing is refused with.
    """
    template = owner["spec"].get("template") or {}
    number = int(revisions[-1].get("revision") or 0) + 1 if revisions else 1
    equal = [one for one in revisions if same_template(template_of(one), template)]
    if equal:
        newest = equal[-1]
        if newest is revisions[-1]:
            return newest, collision_count
        changed = {**newest, "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number}
        return (yield Update(CONTROLLER_REVISIONS, changed)), collision_count
    while True:
        made = _make(owner, api_version, kind, template, number, collision_count, hash_label)
        try:
            created = yield Create(CONTROLLER_REVISIONS, made, owner["metadata"]["namespace"])
            return created, collision_count
        except ApiError as error:
            if not is_already_exists(error):
                raise
        there = yield Get(CONTROLLER_REVISIONS, name_of(made), owner["metadata"]["namespace"])
        if same_template(template_of(there), template) and not is_deleting(there):
            return there, collision_count
        collision_count += 1


def _make(
    owner: Object,
    api_version: str,
    kind: str,
    template: Mapping[str, Any],
    number: int,
    collision_count: int,
    hash_label: str,
) -> Object:
    hash_text = hash_of(template, collision_count)
    metadata = owner["metadata"]
    labels = {**((template.get("metadata") or {}).get("labels") or {}), hash_label: hash_text}
    made: Object = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{metadata['name'][:223]}-{hash_text}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [controller_reference(owner, api_version, kind)],
        },
        "data": _data(template),
        "revision": number,
    }
    annotations = {
        name: value
        for name, value in (metadata.get("annotations") or {}).items()
        if name != "kubectl.kubernetes.io/last-applied-configuration"
    }
    if annotations:
        made["metadata"]["annotations"] = annotations
    return made


def truncate(
    revisions: Sequence[Object], live: Iterable[str], limit: int | None, label: str
) -> Generator[Action, Any, None]:
    """Delete the oldest that nobody uses beyond ``limit``. ``live`` are names, or values of ``label``."""
    used = set(live)
    unused = [one for one in revisions if name_of(one) not in used and labels_of(one).get(label) not in used]
    count = len(unused) - (10 if limit is None else limit)
    for one in unused[: max(0, count)]:
        yield Delete(CONTROLLER_REVISIONS, name_of(one), one["metadata"]["namespace"], uid_of(one))
