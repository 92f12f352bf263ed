"""What an object uses of a quota, and which quotas are about it.

Every object counts as one of ``count/RESOURCE.GROUP``; pods, services, claims and device claims use more. A quota with
scopes is only about objects that are in all of them, and only pods and claims are in any.

Source: documentation "Resource Quotas".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from cybernetes.core.admission import amounts
from cybernetes.core.admission.amounts import Amounts, add
from cybernetes.core.admission.storage import class_of
from cybernetes.core.clock import parse_time
from cybernetes.core.kubelet.qos import qos_class
from cybernetes.core.objects import Gvr, Object
from cybernetes.core.quantity import NANOS, ZERO, Quantity, of

_ONE = of(1)
_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"
_DEVICES_SUFFIX = ".deviceclass.resource.k8s.io/devices"
#: The most devices that one request can be given.
_DEVICES_MAX = 32

#: What is answered and never kept, and events, which were never counted.
_IGNORED = frozenset(
    {
        "bindings",
        "componentstatuses",
        "events",
        "events.events.k8s.io",
        "localsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectreviews.authentication.k8s.io",
        "selfsubjectrulesreviews.authorization.k8s.io",
        "subjectaccessreviews.authorization.k8s.io",
        "tokenreviews.authentication.k8s.io",
    }
)
#: Resources that are also counted under their plain name.
_ALIASES = frozenset({"configmaps", "replicationcontrollers", "resourcequotas", "secrets"})

_POD_NAMES = frozenset(
    {
        "count/pods",
        "cpu",
        "ephemeral-storage",
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "memory",
        "pods",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    }
)
_SERVICE_NAMES = frozenset({"count/services", "services", "services.nodeports", "services.loadbalancers"})
_CLAIM_NAMES = ("persistentvolumeclaims", "requests.storage")


class Scope(NamedTuple):
    name: str
    operator: str
    values: tuple[str, ...]


def is_counted(gvr: Gvr) -> bool:
    return gvr.qualified not in _IGNORED


def resource_names(gvr: Gvr, names: Iterable[str]) -> list[str]:
    """Those of a quota's resource names that objects of this resource use, sorted."""
    test = _NAMES.get(gvr.qualified)
    if test is None:
        own = _counts(gvr)
        return sorted(name for name in names if name in own)
    return sorted(name for name in names if test(name))


def usage(gvr: Gvr, obj: Object, now: float) -> Amounts:
    """What ``obj`` uses. ``now`` (seconds since the epoch) tells pods that will never end from those that end."""
    measure = _USAGE.get(gvr.qualified)
    return dict.fromkeys(_counts(gvr), _ONE) if measure is None else measure(obj, now)


def scopes_of(quota: Object) -> list[Scope]:
    spec = quota.get("spec") or {}
    found = [Scope(name, "Exists", ()) for name in spec.get("scopes") or ()]
    for each in (spec.get("scopeSelector") or {}).get("matchExpressions") or ():
        found.append(Scope(each.get("scopeName", ""), each.get("operator", ""), tuple(each.get("values") or ())))
    return found


def matches(quota: Object, gvr: Gvr, obj: Object) -> bool:
    """Whether ``quota`` counts ``obj``.

    It limits something that the object uses, and the object is in all its scopes.
    """
    hard = (quota.get("status") or {}).get("hard") or {}
    return bool(resource_names(gvr, hard)) and is_in_scopes(quota, gvr, obj)


def is_in_scopes(quota: Object, gvr: Gvr, obj: Object) -> bool:
    test = _SCOPES.get(gvr.qualified)
    return all(test is not None and test(scope, obj) for scope in scopes_of(quota))


def _counts(gvr: Gvr) -> list[str]:
    count = f"count/{gvr.qualified}"
    return [count, gvr.resource] if gvr.qualified in _ALIASES else [count]


# Pods -----------------------------------------------------------------------------------------------------------------


def _is_pod_name(name: str) -> bool:
    if name in _POD_NAMES or name.startswith(("hugepages-", "requests.hugepages-")):
        return True
    if not name.startswith("requests."):
        return False
    # requests.example.com/gpu: what Kubernetes does not know itself
    return not _is_native(name) or name.startswith("requests.deviceclass.resource.kubernetes.io/")


def _is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def _pod(pod: Object, now: float) -> Amounts:
    if not is_alive(pod, now):
        return {"count/pods": _ONE}
    requests = amounts.pod_amounts(pod, "requests", uses_status=True)
    limits = amounts.pod_amounts(pod, "limits", uses_status=True)
    return {"count/pods": _ONE, **compute_usage(requests, limits)}


def compute_usage(requests: Mapping[str, Quantity], limits: Mapping[str, Quantity]) -> Amounts:
    """Requests and limits under the names by which quotas know them."""
    result: Amounts = {"pods": _ONE}
    for name in ("cpu", "memory", "ephemeral-storage"):
        if name in requests:
            result[name] = result[f"requests.{name}"] = requests[name]
        if name in limits:
            result[f"limits.{name}"] = limits[name]
    for name, quantity in requests.items():
        if name.startswith("hugepages-"):
            result[name] = quantity
        if name.startswith(("hugepages-", "deviceclass.resource.")) or not _is_native(name):
            result[f"requests.{name}"] = quantity
    return result


def is_alive(pod: Object, now: float) -> bool:
    """A pod that has ended, or whose time to end is long over (its node is lost), uses nothing but its place."""
    if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return False
    metadata = pod["metadata"]
    deleted, grace_s = metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")
    if deleted and grace_s is not None:
        return bool(now <= parse_time(deleted) + grace_s)
    return True


def is_terminating(pod: Object) -> bool:
    """In quota's words: a pod with a deadline."""
    deadline = (pod.get("spec") or {}).get("activeDeadlineSeconds")
    return deadline is not None and bool(deadline >= 0)


def _pod_scope(scope: Scope, pod: Object) -> bool:
    if scope.name == "Terminating":
        return is_terminating(pod)
    if scope.name == "NotTerminating":
        return not is_terminating(pod)
    if scope.name == "BestEffort":
        return qos_class(pod) == "BestEffort"
    if scope.name == "NotBestEffort":
        return qos_class(pod) != "BestEffort"
    if scope.name == "PriorityClass":
        name = pod["spec"].get("priorityClassName")
        return _selects(scope, {name} if name else set())
    if scope.name == "CrossNamespacePodAffinity":
        return _reaches_other_namespaces(pod)
    return False


def _selects(scope: Scope, names: set[str]) -> bool:
    if scope.operator == "Exists":
        return bool(names)
    if scope.operator == "DoesNotExist":
        return not names
    if scope.operator == "In":
        return bool(names & set(scope.values))
    if scope.operator == "NotIn":
        return not names or bool(names - set(scope.values))
    return False


def _reaches_other_namespaces(pod: Object) -> bool:
    affinity = pod["spec"].get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        for weighted in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            terms.append(weighted.get("podAffinityTerm") or {})
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


# Services -------------------------------------------------------------------------------------------------------------


def _service(service: Object, now: float) -> Amounts:
    spec = service.get("spec") or {}
    ports = spec.get("ports") or ()
    kind = spec.get("type")
    node_ports = len(ports) if kind in ("NodePort", "LoadBalancer") else 0
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        node_ports = sum(bool(port.get("nodePort")) for port in ports)
    return {
        "count/services": _ONE,
        "services": _ONE,
        "services.nodeports": of(node_ports),
        "services.loadbalancers": of(int(kind == "LoadBalancer")),
    }


# Claims ---------------------------------------------------------------------------------------------------------------


def _is_claim_name(name: str) -> bool:
    if name == "count/persistentvolumeclaims" or name in _CLAIM_NAMES:
        return True
    return any(name.endswith(_CLASS_SUFFIX + each) for each in _CLAIM_NAMES)


def _claim(claim: Object, now: float) -> Amounts:
    result: Amounts = {"persistentvolumeclaims": _ONE, "count/persistentvolumeclaims": _ONE}
    storage = _claim_storage(claim)
    if storage is not None:
        result["requests.storage"] = storage
    name = class_of(claim)
    if name:
        for each in _CLAIM_NAMES:
            if each in result:
                result[f"{name}{_CLASS_SUFFIX}{each}"] = result[each]
    return result


def _claim_storage(claim: Object) -> Quantity | None:
    """What is asked for, or what has been allotted while it grows, in whole bytes."""
    asked = amounts.read(((claim.get("spec") or {}).get("resources") or {}).get("requests")).get("storage")
    if asked is None:
        return None
    allotted = amounts.read((claim.get("status") or {}).get("allocatedResources")).get("storage", ZERO)
    most = max(asked, allotted)
    return most if most.is_integer else Quantity(most.value * NANOS, most.format)


def attribute_classes(claim: Object) -> set[str]:
    """The VolumeAttributesClasses that a claim has, wants or is on the way to."""
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    names = {
        spec.get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    }
    return {name for name in names if name}


def _claim_scope(scope: Scope, claim: Object) -> bool:
    return scope.name == "VolumeAttributesClass" and _selects(scope, attribute_classes(claim))


# Device claims --------------------------------------------------------------------------------------------------------


def _device_claim(claim: Object, now: float) -> Amounts:
    result: Amounts = {"count/resourceclaims.resource.k8s.io": _ONE}
    for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        if request.get("firstAvailable"):
            # The worst that may be chosen of each class.
            most: Amounts = {}
            for choice in request["firstAvailable"]:
                most = amounts.most(most, _devices(choice))
            result = add(result, {name: quantity for name, quantity in most.items() if quantity})
        elif request.get("exactly") is not None:
            result = add(result, _devices(request["exactly"]))
    return result


def _devices(request: Mapping[str, Any]) -> Amounts:
    mode = request.get("allocationMode", "ExactCount")
    count = request.get("count", 1) if mode == "ExactCount" else _DEVICES_MAX if mode == "All" else 0
    return {f"{request.get('deviceClassName', '')}{_DEVICES_SUFFIX}": of(count)}


_USAGE: Mapping[str, Callable[[Object, float], Amounts]] = {
    "pods": _pod,
    "services": _service,
    "persistentvolumeclaims": _claim,
    "resourceclaims.resource.k8s.io": _device_claim,
}
_NAMES: Mapping[str, Callable[[str], bool]] = {
    "pods": _is_pod_name,
    "services": _SERVICE_NAMES.__contains__,
    "persistentvolumeclaims": _is_claim_name,
    "resourceclaims.resource.k8s.io": lambda name: (
        name == "count/resourceclaims.resource.k8s.io" or name.endswith(_DEVICES_SUFFIX)
    ),
}
_SCOPES: Mapping[str, Callable[[Scope, Object], bool]] = {"pods": _pod_scope, "persistentvolumeclaims": _claim_scope}
