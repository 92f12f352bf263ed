"""Whether there is room in the quotas of a namespace for a write, and what they count afterwards."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from cybernetes.core.admission import amounts
from cybernetes.core.admission.amounts import Amounts
from cybernetes.core.admission.contract import Attributes, Reader, refused
from cybernetes.core.admission.quota.usage import (
    attribute_classes,
    compute_usage,
    is_counted,
    is_in_scopes,
    is_terminating,
    matches,
    resource_names,
    usage,
)
from cybernetes.core.objects import PERSISTENT_VOLUME_CLAIMS, PODS, RESOURCE_QUOTAS, SERVICES, Gvr, Object
from cybernetes.core.quantity import ZERO

#: Where a quota counts these, every container has to state them: kept from the days before there were QoS classes.
_HAS_TO_BE_STATED = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})

_RESOURCE_CLAIMS = Gvr("resource.k8s.io", "v1", "resourceclaims")


class ResourceQuota:
    """The last of all plugins: what it counts must come to be, or the count is wrong until the controller mends it.

    ``charge`` decides and says what the quotas count afterwards; storing that, before the object itself and only if
    nobody changed a quota meanwhile, is the caller's part.

    Source: documentation "Resource Quotas".
    """

    name = "ResourceQuota"

    def charge(self, attributes: Attributes, cluster: Reader, counted: Collection[str] = ()) -> list[Object]:
        """The quotas that this write changes, with their new ``status.used``; the caller's own.

        Raises ApiError 403 when one has no room. Nothing is charged for a dry run.
        """
        if not attributes.namespace or not _is_handled(attributes):
            return []
        quotas = [each for each in cluster.list(RESOURCE_QUOTAS, attributes.namespace) if _name(each) not in counted]
        changed = charged(attributes, sorted(quotas, key=_name), cluster.clock.now())
        return [] if attributes.dry_run else changed


def charged(attributes: Attributes, quotas: Iterable[Object], now: float) -> list[Object]:
    """As ``ResourceQuota.charge``, on these quotas."""
    gvr, obj = attributes.resource.gvr, attributes.obj
    if obj is None:
        return []
    concerned: list[Object] = []
    for quota in quotas:
        if not matches(quota, gvr, obj):
            continue
        name, status = _name(quota), quota.get("status") or {}
        names = resource_names(gvr, status.get("hard") or {})
        problem = _unstated(gvr, obj, names)
        if problem:
            raise refused(attributes, f"failed quota: {name}: {problem}")
        if any(each not in (status.get("used") or {}) for each in names):
            raise refused(attributes, f"status unknown for quota: {name}, resources: {','.join(names)}")
        concerned.append(quota)
    if not concerned:
        return []
    used = usage(gvr, obj, now)
    negative = sorted(name for name, quantity in used.items() if quantity < ZERO)
    if negative:
        raise refused(attributes, f"quota usage is negative for resource(s): {','.join(negative)}")
    changed = []
    for quota in concerned:
        delta = used
        old = attributes.old
        if attributes.operation == "UPDATE" and old is not None and is_in_scopes(quota, gvr, old):
            delta = amounts.subtract(used, usage(gvr, old, now))
        result = _with_room(attributes, quota, delta)
        if result is not None:
            changed.append(result)
    return changed


def _with_room(attributes: Attributes, quota: Object, delta: Amounts) -> Object | None:
    """The quota with ``delta`` counted, None when that changes nothing. Raises ApiError when there is no room."""
    status = quota["status"]
    hard, used = amounts.read(status.get("hard")), amounts.read(status.get("used"))
    requested = {name: quantity for name, quantity in amounts.mask(delta, hard).items() if quantity}
    if not requested:
        return None
    after = amounts.add(used, requested)
    exceeded = [name for name in requested if after[name] > hard[name]]
    if exceeded and attributes.subresource != "status":
        shown = [amounts.shown(amounts.mask(each, exceeded)) for each in (requested, used, hard)]
        raise refused(
            attributes,
            f"exceeded quota: {_name(quota)}, requested: {shown[0]}, used: {shown[1]}, limited: {shown[2]}",
        )
    return {**quota, "status": {**status, "used": amounts.written(after)}}


def _is_handled(attributes: Attributes) -> bool:
    """Whether this write can change what is used."""
    if not is_counted(attributes.resource.gvr):
        return False
    operation, part = attributes.operation, attributes.subresource
    old, new = attributes.old, attributes.obj
    if attributes.is_for(PODS, part):
        if part == "resize":
            return operation == "UPDATE"
        if part:
            return False
        if operation == "UPDATE" and old is not None and new is not None:
            return is_terminating(old) != is_terminating(new)
        return operation == "CREATE"
    if attributes.is_for(PERSISTENT_VOLUME_CLAIMS, "status"):
        return old is not None and new is not None and _is_resized(new, old)
    if part:
        return False
    if any(attributes.is_for(gvr) for gvr in (SERVICES, PERSISTENT_VOLUME_CLAIMS, _RESOURCE_CLAIMS)):
        return operation in ("CREATE", "UPDATE")
    return operation == "CREATE"


def _is_resized(new: Object, old: Object) -> bool:
    allotted = [(each.get("status") or {}).get("allocatedResources") for each in (new, old)]
    return allotted[0] != allotted[1] or attribute_classes(new) != attribute_classes(old)


def _unstated(gvr: Gvr, obj: Object, names: Iterable[str]) -> str:
    """What containers have to state because a quota counts it, and do not."""
    spec: Mapping[str, Any] = obj.get("spec") or {}
    required = _HAS_TO_BE_STATED & set(names)
    if gvr.qualified != "pods" or not required or amounts.states_pod_level(spec):
        return ""
    missing: dict[str, set[str]] = {}
    for part in ("containers", "initContainers"):
        for container in spec.get(part) or ():
            resources = container.get("resources") or {}
            stated = compute_usage(amounts.read(resources.get("requests")), amounts.read(resources.get("limits")))
            for name in required - stated.keys():
                missing.setdefault(name, set()).add(container.get("name", ""))
    if not missing:
        return ""
    return "must specify " + "; ".join(f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))


def _name(quota: Object) -> str:
    name: str = quota["metadata"]["name"]
    return name
