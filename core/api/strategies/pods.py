"""Pods and pod templates, with the two subresources that change a part of a pod (``pkg/registry/core/pod``)."""

from __future__ import annotations

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.qos import qos_class
from cybernetes.core.api.resource import Context
from cybernetes.core.api.strategies.generic import (
    copy_field,
    drop,
    drop_unless_used,
    raise_generation,
    reset_metadata,
)
from cybernetes.core.objects import Object, clone

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")


def create(pod: Object, context: Context) -> None:
    spec = pod["spec"]
    pod["status"] = {"phase": "Pending", "qosClass": qos_class({"spec": spec})}
    drop_disabled(spec, None)
    if spec.get("schedulingGates"):
        pod["status"]["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "lastProbeTime": None,
                "lastTransitionTime": None,
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]
    labels = (pod.get("metadata") or {}).get("labels") or {}
    for term in _affinity_terms(spec):
        _merge_label_keys(term, labels)
    for constraint in items(spec, "topologySpreadConstraints"):
        _merge_label_keys(constraint, labels)
    _apply_app_armor_annotations(pod)


def update(new: Object, old: Object, context: Context) -> None:
    drop_disabled(new["spec"], old["spec"])


def status(new: Object, old: Object, context: Context) -> None:
    """A status update also leaves owners and deletion alone, and reports generations it had already reported."""
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences"):
        copy_field(new["metadata"], old["metadata"], field)
    new_status, old_status = new.setdefault("status", {}), old.get("status") or {}
    for field in ("qosClass", "observedGeneration"):
        if not new_status.get(field) and old_status.get(field):
            new_status[field] = old_status[field]
    reported: dict[str, list[int]] = {}
    for condition in items(old_status, "conditions"):
        reported.setdefault(condition.get("type", ""), []).append(condition.get("observedGeneration") or 0)
    for condition in items(new_status, "conditions"):
        generations = reported.get(condition.get("type", ""))
        generation = generations.pop(0) if generations else 0
        if not condition.get("observedGeneration") and generation:
            condition["observedGeneration"] = generation
    drop_unless_used(new_status, old_status, "nodeAllocatableResourceClaimStatuses")


def prepare_ephemeral_containers(new: Object, old: Object, context: Context) -> None:
    """``pods/ephemeralcontainers``: only those change."""
    containers = new["spec"].get("ephemeralContainers")
    new["spec"] = clone(old["spec"])
    if containers is None:
        new["spec"].pop("ephemeralContainers", None)
    else:
        new["spec"]["ephemeralContainers"] = containers
    _finish_part(new, old)


def prepare_resize(new: Object, old: Object, context: Context) -> None:
    """``pods/resize``: only resources and resize policies change. Other containers than the pod's are left for
    validation to refuse."""
    for field in ("containers", "initContainers"):
        if len(items(new["spec"], field)) != len(items(old["spec"], field)):
            return
    spec = clone(old["spec"])
    if new["spec"].get("resources") is not None:
        spec["resources"] = new["spec"]["resources"]
    else:
        spec.pop("resources", None)
    for field in ("containers", "initContainers"):
        wanted = items(new["spec"], field)
        if not wanted:
            continue
        if [item.get("name") for item in wanted] != [item.get("name") for item in spec[field]]:
            spec[field] = wanted
            continue
        for container, sent in zip(spec[field], wanted, strict=True):
            copy_field(container, sent, "resources")
            copy_field(container, sent, "resizePolicy")
    new["spec"] = spec
    _finish_part(new, old)


def _finish_part(new: Object, old: Object) -> None:
    copy_field(new, old, "status")
    reset_metadata(new, old)
    drop_disabled(new["spec"], old["spec"])
    if new["spec"] != old["spec"]:
        raise_generation(new, old)


def grace_period_s(pod: Object) -> int | None:
    """What a deletion waits without being told: nothing for a pod that no node runs or that has ended."""
    spec, state = pod.get("spec") or {}, pod.get("status") or {}
    if not spec.get("nodeName") or state.get("phase") in ("Failed", "Succeeded"):
        return 0
    period = spec.get("terminationGracePeriodSeconds")
    return 0 if period is None else max(period, 1) if period < 0 else period


def drop_disabled(spec: Object | None, old: Object | None) -> None:
    """Leave out what belongs to features that are off by default in this version."""
    if not spec:
        return
    drop_unless_used(spec, old, "schedulingGroup")
    used = _uses_stop_signal(old)
    for field in _CONTAINERS:
        for container in items(spec, field):
            lifecycle = container.get("lifecycle")
            if lifecycle and "stopSignal" in lifecycle and not used:
                del lifecycle["stopSignal"]
                if not lifecycle:
                    del container["lifecycle"]
    sources = _projections(spec)
    if sources:
        stored = _projections(old)
        for kind in ("clusterTrustBundle", "podCertificate"):
            if not any(kind in item for item in stored):
                for source in sources:
                    drop(source, kind)


def drop_disabled_template(template: Object | None, old: Object | None) -> None:
    drop_disabled((template or {}).get("spec"), (old or {}).get("spec"))


def _uses_stop_signal(spec: Object | None) -> bool:
    return any(
        "stopSignal" in (container.get("lifecycle") or {}) for field in _CONTAINERS for container in items(spec, field)
    )


def _projections(spec: Object | None) -> list[Object]:
    return [source for volume in items(spec, "volumes") for source in items(volume.get("projected"), "sources")]


def _affinity_terms(spec: Object) -> list[Object]:
    terms: list[Object] = []
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind)
        preferred = items(rules, "preferredDuringSchedulingIgnoredDuringExecution")
        terms += [item["podAffinityTerm"] for item in preferred if item.get("podAffinityTerm")]
        terms += items(rules, "requiredDuringSchedulingIgnoredDuringExecution")
    return terms


def _merge_label_keys(holder: Object, labels: Object) -> None:
    """Write what matchLabelKeys and mismatchLabelKeys mean for this pod into the selector, which the scheduler reads.

    Without a selector, which matches nothing, there is nothing to narrow.
    """
    selector = holder.get("labelSelector")
    if selector is None:
        return
    for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for key in holder.get(field) or ():
            if key in labels:
                expression = {"key": key, "operator": operator, "values": [labels[key]]}
                selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), expression]


_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"


def _apply_app_armor_annotations(pod: Object) -> None:
    """Old clients ask for AppArmor in annotations, where the kubelet does not look: write them into the fields."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    spec = pod["spec"]
    if (spec.get("os") or {}).get("name") == "windows":
        return
    profile = (spec.get("securityContext") or {}).get("appArmorProfile")
    for field in _CONTAINERS:
        for container in items(spec, field):
            key = _APP_ARMOR + container.get("name", "")
            own = (container.get("securityContext") or {}).get("appArmorProfile")
            if key in annotations and own is None:
                asked = _app_armor_profile(annotations[key])
                if asked is not None and asked != profile:
                    container.setdefault("securityContext", {})["appArmorProfile"] = asked


def _app_armor_profile(text: str) -> Object | None:
    if text == "unconfined":
        return {"type": "Unconfined"}
    if text == "runtime/default":
        return {"type": "RuntimeDefault"}
    prefix, _, name = text.partition("/")
    if prefix == "localhost" and name.strip() == name and name:
        return {"type": "Localhost", "localhostProfile": name}
    return None
