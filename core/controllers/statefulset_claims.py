"""The volume claims of a StatefulSet's pods: their names, and who owns them.

Claims outlive pods unless ``persistentVolumeClaimRetentionPolicy`` says otherwise; ownership is how it is said:

    whenScaled  whenDeleted   the claim of a pod in range        of a pod beyond the range
    Retain      Retain        nobody                             nobody
    Retain      Delete        the set                            the set
    Delete      Retain        nobody                             the pod
    Delete      Delete        the set                            the pod

So the garbage collector deletes a claim with the set, or with a pod that is scaled away. A claim with another
controller is left alone. Upstream: pkg/controller/statefulset/stateful_set_utils.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cybernetes.core.objects import Object, clone, controller_reference, name_of, uid_of

Reference = dict[str, Any]

SET, POD = ("apps/v1", "StatefulSet"), ("v1", "Pod")


def ordinal_of(pod_name: str) -> int:
    """The number that the name ends in; -1 when there is none."""
    _, dash, digits = pod_name.rpartition("-")
    return int(digits) if dash and digits.isascii() and digits.isdigit() and len(digits) < 11 else -1


def parent_of(pod_name: str) -> str:
    return pod_name.rpartition("-")[0] if ordinal_of(pod_name) >= 0 else ""


def first_ordinal(owner: Object) -> int:
    return int((owner["spec"].get("ordinals") or {}).get("start") or 0)


def is_in_range(owner: Object, ordinal: int) -> bool:
    replicas = owner["spec"].get("replicas")
    start = first_ordinal(owner)
    return start <= ordinal < start + (1 if replicas is None else int(replicas))


def claim_name(template: Mapping[str, Any], owner: Object, ordinal: int) -> str:
    return f"{template['metadata']['name']}-{name_of(owner)}-{ordinal}"


def make_claims(owner: Object, ordinal: int) -> dict[str, Object]:
    """By the name of the volume that uses it, the claim of each template."""
    claims = {}
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        claim = clone(template)
        metadata = claim["metadata"]
        volume = metadata["name"]
        metadata["name"] = claim_name(template, owner, ordinal)
        metadata["namespace"] = owner["metadata"]["namespace"]
        labels = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
        for field in ("creationTimestamp", "resourceVersion", "uid"):
            metadata.pop(field, None)
        claim.pop("status", None)
        claims[volume] = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim}
    return claims


def with_volumes(pod: Object, claims: Mapping[str, Object]) -> None:
    """Have the pod use its claims, in the place of template volumes of the same name."""
    own = [{"name": volume, "persistentVolumeClaim": {"claimName": name_of(claim)}} for volume, claim in claims.items()]
    rest = [volume for volume in pod["spec"].get("volumes") or () if volume["name"] not in claims]
    if own or rest:
        pod["spec"]["volumes"] = [*own, *rest]


def policy_of(owner: Object) -> tuple[str, str]:
    """(whenScaled, whenDeleted)"""
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return policy.get("whenScaled", "Retain"), policy.get("whenDeleted", "Retain")


def _is_to(reference: Mapping[str, Any], obj: Object, kind: tuple[str, str]) -> bool:
    return (reference["apiVersion"], reference["kind"]) == kind and reference["name"] == name_of(obj)


def _references(claim: Object) -> Sequence[Reference]:
    return claim["metadata"].get("ownerReferences") or ()


def is_stale(claim: Object, obj: Object, kind: tuple[str, str]) -> bool:
    """The claim belongs to a former object of that name and is about to be collected."""
    for reference in _references(claim):
        if _is_to(reference, obj, kind):
            return bool(reference["uid"] != uid_of(obj))
    return False


def has_conflicting_controller(claim: Object, owner: Object, pod: Object) -> bool:
    if policy_of(owner) == ("Retain", "Retain"):
        return False
    for reference in _references(claim):
        for obj, kind in ((owner, SET), (pod, POD)):
            if _is_to(reference, obj, kind):
                if reference["uid"] != uid_of(obj):
                    return True
                break
        else:
            if reference.get("controller"):
                return True
    return False


def wanted_references(claim: Object, owner: Object, pod: Object) -> list[Reference]:
    """The owners that the claim should have; what it has when it is to be left alone."""
    found = list(_references(claim))
    if is_stale(claim, owner, SET) or is_stale(claim, pod, POD):
        return found
    others = [one for one in found if not _is_to(one, owner, SET) and not _is_to(one, pod, POD)]
    if has_conflicting_controller(claim, owner, pod):
        return others
    when_scaled, when_deleted = policy_of(owner)
    is_scaled_away = not is_in_range(owner, ordinal_of(name_of(pod)))
    if when_scaled == "Delete" and is_scaled_away:
        wanted = controller_reference(pod, *POD)
    elif when_deleted == "Delete":
        wanted = controller_reference(owner, *SET)
    else:
        return others
    if wanted in found and len(found) == len(others) + 1:
        return found
    return [*others, wanted]
