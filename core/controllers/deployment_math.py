"""The numbers of a rollout: how many replicas each ReplicaSet of a Deployment should have, and which is the new one.

Pure functions on plain objects; ``deployment`` takes the steps. Worked example of the bounds, 10 replicas, maxSurge 3,
maxUnavailable 2: at most 13 pods in all, at least 8 available.

    old 10, new 0      all 10 of 13: the new set may get 3                         old 10, new 3
    none available     13 - 8 - 3 unavailable new = 2 old ones may go              old  8, new 3 -> 5
    new become ready   for each, one old goes and the new set grows                 …
    done               old 0, new 10 available                                     complete

Source: the Deployment page of the Kubernetes documentation; upstream pkg/controller/deployment/util.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from cybernetes.core.clock import NAME_ALPHABET
from cybernetes.core.objects import Object

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
ROLLBACK_TO = "deprecated.deployment.rollback.to"
HASH_LABEL = "pod-template-hash"

#: Annotations of a Deployment that its ReplicaSets do not get.
NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        ROLLBACK_TO,
    }
)
REVISION_HISTORY_CHARS_MAX = 2000
UNLIMITED = 2**31 - 1


def replicas(obj: Mapping[str, Any]) -> int:
    """``spec.replicas``, by default 1."""
    found = obj["spec"].get("replicas")
    return 1 if found is None else int(found)


def status_count(obj: Mapping[str, Any], field: str) -> int:
    return int((obj.get("status") or {}).get(field) or 0)


def scaled(value: Any, total: int, *, round_up: bool) -> int:
    """An int, or a percentage of ``total`` such as "25%". 0 for what is neither: validation lets none through."""
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        exact = total * int(value[:-1])
        return -(-exact // 100) if round_up else exact // 100
    return 0


def is_rolling(deployment: Object) -> bool:
    return bool((deployment["spec"].get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def fenceposts(deployment: Object) -> tuple[int, int]:
    """(max surge, max unavailable); not both 0, or nothing would ever move."""
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    total = replicas(deployment)
    surge = scaled(rolling.get("maxSurge", "25%"), total, round_up=True)
    unavailable = scaled(rolling.get("maxUnavailable", "25%"), total, round_up=False)
    return (0, 1) if surge == 0 and unavailable == 0 else (surge, unavailable)


def max_surge(deployment: Object) -> int:
    return fenceposts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Object) -> int:
    total = replicas(deployment)
    return min(fenceposts(deployment)[1], total) if is_rolling(deployment) and total else 0


def total_replicas(sets: Iterable[Object]) -> int:
    return sum(map(replicas, sets))


def total_status(sets: Iterable[Object], field: str) -> int:
    return sum(status_count(replica_set, field) for replica_set in sets)


def active(sets: Iterable[Object]) -> list[Object]:
    """Sets that have, or ought to have, pods."""
    return [replica_set for replica_set in sets if replicas(replica_set) > 0]


def by_age(sets: Iterable[Object]) -> list[Object]:
    """Oldest first, equals by name."""
    return sorted(sets, key=lambda one: (one["metadata"].get("creationTimestamp") or "", one["metadata"]["name"]))


def _normal(value: Any) -> Any:
    """A value without its empty parts: absent and empty mean the same in a template."""
    if isinstance(value, dict):
        kept = {name: _normal(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part is not None and part != {} and part != []}
    if isinstance(value, list):
        return [_normal(part) for part in value]
    return value


def _without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(template.get("metadata") or {})
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name != HASH_LABEL}
    metadata["labels"] = labels
    metadata.pop("creationTimestamp", None)
    return {"metadata": metadata, "spec": template.get("spec") or {}}


def same_template(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Equal but for the hash label (upstream: EqualIgnoreHash)."""
    first, second = _without_hash(one), _without_hash(other)
    return first == second or bool(_normal(first) == _normal(second))


def template_hash(template: Mapping[str, Any], collision_count: int | None) -> str:
    """The value of the label pod-template-hash: stable between processes and versions, about ten safe characters."""
    content = orjson.dumps(_normal(_without_hash(template)), option=orjson.OPT_SORT_KEYS)
    if collision_count is not None:
        content += collision_count.to_bytes(4, "little")
    number = int.from_bytes(hashlib.blake2b(content, digest_size=4).digest(), "big")
    return "".join(NAME_ALPHABET[ord(digit) % len(NAME_ALPHABET)] for digit in str(number))


def revision(obj: Mapping[str, Any]) -> int:
    """The revision annotation; 0 when there is none, -1 when it is no number."""
    text = (obj["metadata"].get("annotations") or {}).get(REVISION)
    if text is None:
        return 0
    try:
        return int(text)
    except ValueError:
        return -1


def max_revision(sets: Iterable[Object]) -> int:
    return max(map(revision, sets), default=0) if sets else 0


def last_revision(sets: Iterable[Object]) -> int:
    """The second highest revision: what a rollback without a number goes to; 0 when there is none."""
    highest = second = 0
    for number in map(revision, sets):
        if number >= highest:
            highest, second = number, highest
        elif number > second:
            second = number
    return second


def find_new(deployment: Object, sets: Iterable[Object]) -> Object | None:
    """The oldest set with the Deployment's template."""
    template = deployment["spec"].get("template") or {}
    for replica_set in by_age(sets):
        if same_template(replica_set["spec"].get("template") or {}, template):
            return replica_set
    return None


def new_annotations(deployment: Object, replica_set: Object, new_revision: int, *, exists: bool) -> dict[str, str]:
    """The annotations that the new set should have: copied ones, its revision and the history of its revisions."""
    annotations: dict[str, str] = dict(replica_set["metadata"].get("annotations") or {})
    for name, value in (deployment["metadata"].get("annotations") or {}).items():
        if name not in NOT_COPIED:
            annotations[name] = value
    old_text = annotations.get(REVISION)
    old_revision = revision(replica_set)
    if old_revision < 0:
        return annotations
    if old_revision < new_revision:
        annotations[REVISION] = str(new_revision)
        if old_text is not None:
            _remember(annotations, old_text)
    if not exists:
        annotations.update(replica_annotations(deployment))
    return annotations


def _remember(annotations: dict[str, str], old_revision: str) -> None:
    """A rollback to this set: keep the revisions that it had, the latest that fit in 2000 characters."""
    history = annotations.get(REVISION_HISTORY, "")
    if not history:
        annotations[REVISION_HISTORY] = old_revision
        return
    revisions = history.split(",")
    length = len(history) + len(old_revision) + 1
    while length > REVISION_HISTORY_CHARS_MAX and revisions:
        length -= len(revisions.pop(0)) + 1
    if length <= REVISION_HISTORY_CHARS_MAX:
        annotations[REVISION_HISTORY] = ",".join([*revisions, old_revision])


def replica_annotations(deployment: Object) -> dict[str, str]:
    total = replicas(deployment)
    return {DESIRED_REPLICAS: str(total), MAX_REPLICAS: str(total + max_surge(deployment))}


def count_annotation(replica_set: Object, name: str) -> int | None:
    """A non-negative number in an annotation; None for anything else."""
    text = (replica_set["metadata"].get("annotations") or {}).get(name, "")
    return int(text) if text.isascii() and text.isdigit() and int(text) <= UNLIMITED else None


def room_to_grow(deployment: Object, sets: Sequence[Object]) -> int:
    """How many replicas may be added to any of ``sets`` without ever having more pods than the surge allows.

    A set that has been told to shrink still counts with the pods that it has: upstream counts what it should have, and
    for a moment there are more pods than allowed. While a set has not seen its last size nobody can say how many it
    has: it may be creating pods for the size before. Then nothing grows; its answer is a change that comes back here.
    """
    if any(_is_unseen(one) for one in sets):
        return 0
    there = sum(max(replicas(one), status_count(one, "replicas")) for one in sets)
    return max(0, replicas(deployment) + max_surge(deployment) - there)


def _is_unseen(replica_set: Object) -> bool:
    return int(replica_set["metadata"].get("generation") or 0) > status_count(replica_set, "observedGeneration")


def new_set_replicas(deployment: Object, sets: Sequence[Object], new: Object) -> int:
    """How many replicas the new set may have now."""
    wanted = replicas(deployment)
    if not is_rolling(deployment):
        return wanted
    return replicas(new) + max(0, min(room_to_grow(deployment, sets), wanted - replicas(new)))


def is_saturated(deployment: Object, new: Object | None) -> bool:
    """The new set has all the replicas, says so, and all are available."""
    if new is None:
        return False
    wanted = replicas(deployment)
    return (
        replicas(new) == wanted
        and count_annotation(new, DESIRED_REPLICAS) == wanted
        and status_count(new, "availableReplicas") == wanted
    )


def active_or_latest(new: Object | None, old: Sequence[Object]) -> Object | None:
    """The one set to scale when there is at most one active; None when several must share."""
    sets = [*old, new] if new is not None else list(old)
    if not sets:
        return None
    found = active(sets)
    if len(found) > 1:
        return None
    if found:
        return found[0]
    return new if new is not None else by_age(old)[-1]


def proportional_sizes(deployment: Object, sets: Sequence[Object]) -> list[tuple[Object, int]]:
    """Spread a change of the Deployment's size over its active sets in proportion; the largest takes the rest."""
    allowed = replicas(deployment) + max_surge(deployment) if replicas(deployment) else 0
    to_add = allowed - total_replicas(sets)
    # Largest first; among equals the newest when growing, the oldest when shrinking.
    ordered = by_age(sets)
    if to_add > 0:
        ordered.reverse()
    ordered.sort(key=replicas, reverse=True)
    sizes = [replicas(one) for one in ordered]
    if to_add == 0:
        return list(zip(ordered, sizes, strict=True))
    added = 0
    for position, one in enumerate(ordered):
        share = _proportion(one, deployment, to_add, added)
        sizes[position] += share
        added += share
    if sizes:
        sizes[0] = max(0, sizes[0] + to_add - added)
    return list(zip(ordered, sizes, strict=True))


def _proportion(replica_set: Object, deployment: Object, to_add: int, added: int) -> int:
    if replicas(replica_set) == 0 or to_add == added:
        return 0
    fraction = _fraction(replica_set, deployment)
    return min(fraction, to_add - added) if to_add > 0 else max(fraction, to_add - added)


def _fraction(replica_set: Object, deployment: Object) -> int:
    size = replicas(replica_set)
    if replicas(deployment) == 0:
        return -size
    before = count_annotation(replica_set, MAX_REPLICAS) or status_count(deployment, "replicas")
    if before == 0:
        return 0
    exact = size * (replicas(deployment) + max_surge(deployment)) / before
    return math.floor(exact + 0.5) - size


def unhealthy_first(old: Sequence[Object], count_max: int) -> list[tuple[Object, int]]:
    """New sizes that remove up to ``count_max`` replicas that are not available, from the oldest set on."""
    changes = []
    removed = 0
    for one in by_age(old):
        unavailable = replicas(one) - status_count(one, "availableReplicas")
        count = min(count_max - removed, unavailable)
        if count > 0 and replicas(one) > 0:
            changes.append((one, replicas(one) - count))
            removed += count
    return changes


def shrink_old(deployment: Object, sets: Iterable[Object], old: Sequence[Object]) -> list[tuple[Object, int]]:
    """New sizes that remove what is available beyond the minimum, from the oldest set on."""
    spare = total_status(sets, "availableReplicas") - (replicas(deployment) - max_unavailable(deployment))
    changes = []
    for one in by_age(old):
        count = min(replicas(one), spare)
        if count > 0:
            changes.append((one, replicas(one) - count))
            spare -= count
    return changes


def is_complete(deployment: Object, status: Mapping[str, Any]) -> bool:
    """All replicas are new and available and no old ones are left."""
    wanted = replicas(deployment)
    return (
        int(status.get("updatedReplicas") or 0) == wanted
        and int(status.get("replicas") or 0) == wanted
        and int(status.get("availableReplicas") or 0) == wanted
        and int(status.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
    )


def has_progressed(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """More new, ready or available pods than before, or fewer old ones."""

    def count(status: Mapping[str, Any], field: str) -> int:
        return int(status.get(field) or 0)

    def old_replicas(status: Mapping[str, Any]) -> int:
        return count(status, "replicas") - count(status, "updatedReplicas")

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old_replicas(new) < old_replicas(old) or any(count(new, field) > count(old, field) for field in grown)


def progress_deadline(deployment: Object) -> int | None:
    """Seconds, or None when progress is not judged."""
    found = deployment["spec"].get("progressDeadlineSeconds")
    return None if found is None or found == UNLIMITED else int(found)


def set_name(deployment_name: str, hash_text: str) -> str:
    """``name-hash``, within 253 characters."""
    return f"{deployment_name[: 253 - 1 - len(hash_text)]}-{hash_text}"
