"""The ResourceClaims of a pod, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cybernetes.core.objects import Gvr, Object, controller_of, is_deleting, name_of, namespace_of, uid_of
from cybernetes.core.scheduling.cluster import Cluster
from cybernetes.core.scheduling.devices.books import allocation_of
from cybernetes.core.scheduling.extender import duration_s

RESOURCE_CLAIMS = Gvr("resource.k8s.io", "v1", "resourceclaims")
#: ``resourceapi.ResourceClaimReservedForMaxSize``.
USERS_MAX = 256


class ClaimError(ValueError):
    """Why a claim cannot be used."""


def of_pod(cluster: Cluster, pod: Object) -> list[Object]:
    """In the pod's order. Raises ClaimError for one that is not there, not made yet, going, or another pod's."""
    entries = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    made = {entry["name"]: entry.get("resourceClaimName") for entry in entries}
    claims: list[Object] = []
    for entry in pod["spec"].get("resourceClaims") or ():
        name, is_own = entry.get("resourceClaimName"), False
        if name is None:
            if entry["name"] not in made:
                where = f"{namespace_of(pod)}/{name_of(pod)}"
                raise ClaimError(f'pod "{where}": ResourceClaim not created yet')
            name, is_own = made[entry["name"]], True
            if not name:
                continue  # none is needed
        claim = cluster.get(RESOURCE_CLAIMS, namespace_of(pod), name)
        if claim is None:
            raise ClaimError(f'resourceclaim.resource.k8s.io "{name}" not found')
        if is_deleting(claim):
            raise ClaimError(f'resourceclaim "{name}" is being deleted')
        owner = controller_of(claim)
        if is_own and (owner is None or owner.get("uid") != uid_of(pod)):
            of_claim, of_pod_ = (f"{namespace_of(obj)}/{name_of(obj)}" for obj in (claim, pod))
            raise ClaimError(f"ResourceClaim {of_claim} was not created for Pod {of_pod_} (Pod is not owner)")
        claims.append(claim)
    return claims


def classes_of(claim: Object) -> Iterator[tuple[str, str]]:
    """(request, device class) of each request and each alternative."""
    for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        if request.get("exactly") is not None:
            yield request["name"], request["exactly"].get("deviceClassName") or ""
        for each in request.get("firstAvailable") or ():
            yield f"{request['name']}/{each['name']}", each.get("deviceClassName") or ""


def has_alternatives(claim: Object) -> bool:
    requests = ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ()
    return any(request.get("firstAvailable") for request in requests)


def is_reserved_for(claim: Object, uid: str) -> bool:
    return any(user.get("uid") == uid for user in (claim.get("status") or {}).get("reservedFor") or ())


def can_be_reserved(claim: Object) -> bool:
    """Whether one more pod may use it."""
    return len((claim.get("status") or {}).get("reservedFor") or ()) < USERS_MAX


def has_conditions(claim: Object) -> bool:
    """Whether any of its devices must be made ready before the pod is bound."""
    return any(result.get("bindingConditions") for result in _results(claim))


def is_ready(claim: Object) -> bool:
    """Whether all that must be made ready are. Raises ClaimError for one that failed."""
    devices = (claim.get("status") or {}).get("devices") or ()
    for result in _results(claim):
        wanted = result.get("bindingConditions") or ()
        if not wanted:
            continue
        place = tuple(result.get(name) for name in ("driver", "pool", "device", "shareID"))
        status = next(
            (d for d in devices if tuple(d.get(name) for name in ("driver", "pool", "device", "shareID")) == place),
            None,
        )
        if status is None:
            return False
        conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
        for name in result.get("bindingFailureConditions") or ():
            failed = conditions.get(name)
            if failed is not None and failed.get("status") == "True":
                raise ClaimError(
                    f"device binding failed: claim={name_of(claim)}, reason={failed.get('reason', '')},"
                    f' message="{failed.get("message", "")}"'
                )
        if any((conditions.get(name) or {}).get("status") != "True" for name in wanted):
            return False
    return True


def seconds(value: Any, default: float) -> float:
    """A duration of a profile's arguments. Raises ValueError."""
    if value is None:
        return default
    found = duration_s(value)
    if found is None:
        raise ValueError(f'time: invalid duration "{value}"')
    return found


def _results(claim: Object) -> list[dict[str, Any]]:
    allocation = allocation_of(claim) or {}
    return (allocation.get("devices") or {}).get("results") or []
