"""What may change in a pod after it was made: by an update, in its status, by its two partial subresources."""

from __future__ import annotations

from collections.abc import Sequence

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_supported,
    required,
)
from cybernetes.core.api.qos import qos_class
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.addresses import check_address, is_dual_stack
from cybernetes.core.api.validation.differences import difference
from cybernetes.core.api.validation.metadata import check_immutable, check_metadata_update, invalid_each
from cybernetes.core.api.validation.podannotations import (
    APP_ARMOR_PREFIX,
    MIRROR_ANNOTATION,
    check_pod_annotations,
)
from cybernetes.core.api.validation.pods import check_pod_parts
from cybernetes.core.labels.syntax import key_errors
from cybernetes.core.objects import Object, clone

_INT32_MAX = 2**31 - 1
_UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_ONLY_RESOURCES = "only cpu and memory resources are mutable"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def check_pod_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + check_pod_parts(new) + _check_annotation_changes(new, old)
    new_spec, old_spec = new["spec"], old["spec"]
    if new_spec == old_spec:
        return errors
    for field in ("containers", "initContainers"):
        if len(items(new_spec, field)) != len(items(old_spec, field)):
            errors.append(forbidden(f"spec.{field}", "pod updates may not add or remove containers"))
            return errors
        for index, container in enumerate(items(new_spec, field)):
            if not container.get("image"):
                errors.append(required(f"spec.{field}[{index}].image"))
    deadline, old_deadline = new_spec.get("activeDeadlineSeconds"), old_spec.get("activeDeadlineSeconds")
    at = "spec.activeDeadlineSeconds"
    if deadline is not None:
        if not 0 <= deadline <= _INT32_MAX:
            return [*errors, invalid_value(at, deadline, names.out_of_range(0, _INT32_MAX))]
        if old_deadline is not None and old_deadline < deadline:
            return [*errors, invalid_value(at, deadline, "must be less than or equal to previous value")]
    elif old_deadline is not None:
        errors.append(invalid_value(at, None, "must not update from a positive integer to nil value"))
    errors += _check_tolerations(items(new_spec, "tolerations"), items(old_spec, "tolerations"))
    errors += _check_gates(items(new_spec, "schedulingGates"), items(old_spec, "schedulingGates"))
    rest = clone(new_spec)
    for field in ("containers", "initContainers"):
        for container, stored in zip(items(rest, field), items(old_spec, field), strict=True):
            container["image"] = stored.get("image")
    for field in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _restore(rest, old_spec, field)
    if old_spec.get("schedulingGates"):
        errors += _check_gated(rest, old_spec)
    if rest != old_spec:
        message = f"pod updates may not change fields other than {_UPDATABLE}\n{difference(old_spec, rest)}"
        errors.append(forbidden("spec", message))
    return errors


def _restore(new: Object, old: Object, field: str) -> None:
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)


def _check_annotation_changes(new: Object, old: Object) -> list[FieldError]:
    new_texts = new["metadata"].get("annotations") or {}
    old_texts = old["metadata"].get("annotations") or {}
    errors: list[FieldError] = []
    if new_texts != old_texts:
        for key, text in old_texts.items():
            if new_texts.get(key) != text:
                errors += _refuse_annotation(key, "may not remove or update")
        for key in new_texts:
            if key not in old_texts:
                errors += _refuse_annotation(key, "may not add")
    return errors


def _refuse_annotation(key: str, verb: str) -> list[FieldError]:
    path = f"metadata.annotations[{key}]"
    if key.startswith(APP_ARMOR_PREFIX):
        return [forbidden(path, f"{verb} AppArmor annotations")]
    return [forbidden(path, f"{verb} mirror pod annotation")] if key == MIRROR_ANNOTATION else []


def _check_tolerations(new: list[Object], old: list[Object]) -> list[FieldError]:
    """Added ones, and other seconds of the same, are all that may change."""

    def rest(toleration: Object) -> tuple[str, ...]:
        return tuple(toleration.get(field) or "" for field in ("key", "operator", "value", "effect"))

    known = {rest(item) for item in new}
    if all(rest(item) in known for item in old):
        return []
    message = "existing toleration can not be modified except its tolerationSeconds"
    return [forbidden("spec.tolerations", message)]


def _check_gates(new: list[Object], old: list[Object]) -> list[FieldError]:
    known = {gate.get("name") for gate in old}
    return [
        forbidden(
            f"spec.schedulingGates[{index}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name') or ''}'",
        )
        for index, gate in enumerate(new)
        if gate.get("name") not in known
    ]


def _check_gated(rest: Object, old: Object) -> list[FieldError]:
    """While a pod is gated its node selector and node affinity may become narrower. Restores both in ``rest``."""
    errors: list[FieldError] = []
    new_selector, old_selector = rest.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if any(new_selector.get(key) != value for key, value in old_selector.items()):
        message = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        errors.append(invalid_value("spec.nodeSelector", new_selector, message))
    _restore(rest, old, "nodeSelector")
    new_affinity = (rest.get("affinity") or {}).get("nodeAffinity")
    old_affinity = (old.get("affinity") or {}).get("nodeAffinity")
    if new_affinity == old_affinity:
        return errors
    errors += _check_affinity_change(new_affinity or {}, old_affinity or {})
    affinity = rest.get("affinity")
    if affinity is None:
        rest["affinity"] = {"nodeAffinity": old_affinity}
    elif old.get("affinity") is None and set(affinity) <= {"nodeAffinity"}:
        del rest["affinity"]
    elif old_affinity is None:
        affinity.pop("nodeAffinity", None)
    else:
        affinity["nodeAffinity"] = old_affinity
    return errors


def _check_affinity_change(new: Object, old: Object) -> list[FieldError]:
    if old.get(_REQUIRED) is None:
        return []
    old_terms = items(old[_REQUIRED], "nodeSelectorTerms")
    new_terms = items(new.get(_REQUIRED), "nodeSelectorTerms")
    at = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    if old_terms and len(old_terms) != len(new_terms):
        message = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [invalid_value(at, new_terms, message)]
    return [
        invalid_value(f"{at}[{index}]", term, "only additions are allowed (no mutations or deletions)")
        for index, (term, stored) in enumerate(zip(new_terms, old_terms, strict=False))
        if not _only_adds(term, stored)
    ]


def _only_adds(new: Object, old: Object) -> bool:
    fields = ("matchExpressions", "matchFields")
    if not any(old.get(field) for field in fields):
        return not any(new.get(field) for field in fields)
    return all(items(new, field)[: len(items(old, field))] == items(old, field) for field in fields)


def check_pod_status(new: Object, old: Object) -> list[FieldError]:
    """An update of the status: what a kubelet and the scheduler report."""
    errors = check_metadata_update(new, old) + _check_annotation_changes(new, old)
    errors += check_pod_annotations(new["metadata"].get("annotations") or {}, new["spec"])
    status, stored, spec = new.get("status") or {}, old.get("status") or {}, old["spec"]
    for index, condition in enumerate(items(status, "conditions")):
        if (condition.get("observedGeneration") or 0) < 0:
            at, value = f"status.conditions[{index}].observedGeneration", condition["observedGeneration"]
            errors.append(invalid_value(at, value, "must be a non-negative integer"))
        kind = condition.get("type") or ""
        messages = key_errors(kind)
        if messages:
            errors += invalid_each(f"status.conditions[{index}].Type", kind, messages)
    nominated = status.get("nominatedNodeName") or ""
    if nominated and nominated != stored.get("nominatedNodeName"):
        errors += invalid_each("status.nominatedNodeName", nominated, names.dns_subdomain(nominated))
        if spec.get("nodeName"):
            message = "may not be set on pods that are already bound to a node"
            errors.append(forbidden("status.nominatedNodeName", message))
    if (status.get("observedGeneration") or 0) < 0:
        message = "must be a non-negative integer"
        errors.append(invalid_value("status.observedGeneration", status["observedGeneration"], message))
    errors += check_immutable(status.get("qosClass"), stored.get("qosClass"), "status.qosClass")
    for field, containers in (
        ("containerStatuses", items(spec, "containers")),
        ("initContainerStatuses", items(spec, "initContainers")),
        ("ephemeralContainerStatuses", None),
    ):
        errors += _check_transitions(items(status, field), items(stored, field), containers, spec, f"status.{field}")
    errors += _check_claim_statuses(items(status, "resourceClaimStatuses"), items(spec, "resourceClaims"))
    return errors + _check_addresses(status, stored)


def _check_transitions(
    new: list[Object], old: list[Object], containers: list[Object] | None, spec: Object, path: str
) -> list[FieldError]:
    """A container that has ended for good does not run again."""
    if containers is not None and _all_restart(spec):
        return []
    errors: list[FieldError] = []
    for index, stored in enumerate(old):
        ended = (stored.get("state") or {}).get("terminated")
        if ended is None:
            continue
        now = next((item for item in new if item.get("name") == stored.get("name")), None)
        if now is None or (now.get("state") or {}).get("terminated") is not None:
            continue
        container = next((item for item in containers or () if item.get("name") == stored.get("name")), None)
        if container is None or not restarts(container, spec, ended.get("exitCode") or 0):
            message = "may not be transitioned to non-terminated state"
            errors.append(forbidden(f"{path}[{index}].state", message))
    return errors


def _all_restart(spec: Object) -> bool:
    """Whether a rule of some container may restart all of them."""
    return any(
        rule.get("action") == "RestartAllContainers"
        for field in ("containers", "initContainers")
        for container in items(spec, field)
        for rule in items(container, "restartPolicyRules")
    )


def restarts(container: Object, spec: Object, exit_code: int) -> bool:
    """Whether a container that ended with ``exit_code`` is started again: its rules, its policy, then the pod's."""
    for rule in items(container, "restartPolicyRules"):
        codes = rule.get("exitCodes") or {}
        is_among = exit_code in (codes.get("values") or ())
        if rule.get("action") == "Restart" and is_among == (codes.get("operator") == "In") and codes:
            return True
    policy = container.get("restartPolicy") or spec.get("restartPolicy")
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def _check_claim_statuses(statuses: list[Object], claims: list[Object]) -> list[FieldError]:
    errors: list[FieldError] = []
    known = {claim.get("name") for claim in claims}
    seen: set[str] = set()
    for index, status in enumerate(statuses):
        at, name = f"status.resourceClaimStatuses[{index}]", status.get("name") or ""
        if name not in known:
            message = "must match the name of an entry in `spec.resourceClaims`"
            errors.append(invalid_value(f"{at}.name", name, message))
        if name in seen:
            errors.append(duplicate(f"{at}.name", name))
        seen.add(name)
        claim = status.get("resourceClaimName")
        if claim is not None:
            errors += invalid_each(f"{at}.resourceClaimName", claim, names.dns_subdomain(claim))
    return errors


def _check_addresses(status: Object, stored: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("podIPs", "hostIPs"):
        texts = [item.get("ip") or "" for item in items(status, field)]
        kept = [item.get("ip") or "" for item in items(stored, field)]
        if not texts:
            continue
        if field == "hostIPs" and texts[0] != (status.get("hostIP") or ""):
            errors.append(invalid_value("status.hostIPs[0].ip", texts[0], "must be equal to `hostIP`"))
        for index, text in enumerate(texts):
            errors += check_address(f"status.{field}[{index}]", text, kept)
        if len(texts) > 1 and (not is_dual_stack(texts) or len(texts) > 2):
            message = "may specify no more than one IP for each IP family"
            errors.append(invalid_value(f"status.{field}", status[field], message))
    return errors


def check_ephemeral_update(new: Object, old: Object) -> list[FieldError]:
    """``pods/ephemeralcontainers``: containers are added, never changed or removed."""
    if MIRROR_ANNOTATION in (old["metadata"].get("annotations") or {}):
        return [forbidden("[]", "static pods do not support ephemeral containers")]
    errors = check_metadata_update(new, old) + check_pod_parts(new) + _check_annotation_changes(new, old)
    wanted = {item.get("name"): item for item in items(new["spec"], "ephemeralContainers")}
    for stored in items(old["spec"], "ephemeralContainers"):
        name, now = stored.get("name"), wanted.get(stored.get("name"))
        if now is None:
            message = f'existing ephemeral containers "{name}" may not be removed\n'
            errors.append(forbidden("spec.ephemeralContainers", message))
        elif now != stored:
            message = f'existing ephemeral containers "{name}" may not be changed\n{difference(stored, now)}'
            errors.append(forbidden("spec.ephemeralContainers", message))
    return errors


def check_resize(new: Object, old: Object) -> list[FieldError]:
    """``pods/resize``: CPU and memory change, within the same quality of service."""
    if MIRROR_ANNOTATION in (old["metadata"].get("annotations") or {}):
        return [forbidden("[]", "static pods cannot be resized")]
    if (old["spec"].get("os") or {}).get("name") == "windows":
        return [forbidden("[]", "windows pods cannot be resized")]
    errors = check_metadata_update(new, old) + check_pod_parts(new)
    new_spec, old_spec = new["spec"], old["spec"]
    stored_class = (old.get("status") or {}).get("qosClass") or qos_class(old)
    if stored_class != qos_class(new):
        message = "Pod QOS Class may not change as a result of resizing"
        errors.append(invalid_value("spec", stored_class, message))
    running = [
        item for item in items(old.get("status"), "containerStatuses") if (item.get("state") or {}).get("running")
    ]
    if running and running[0].get("resources") is None:
        errors.append(forbidden("spec", "Pod running on node without support for resize"))
    errors += _check_removed(new_spec.get("resources"), old_spec.get("resources"), "spec.resources", "pod-level ")
    reordered = _check_order(new_spec, old_spec)
    if reordered:
        return errors + reordered
    rest = clone(new_spec)
    _restore_compute(rest, old_spec)
    for field in ("initContainers", "containers"):
        for index, (container, stored) in enumerate(zip(items(rest, field), items(old_spec, field), strict=True)):
            at = f"spec.{field}[{index}]"
            errors += _check_removed(container.get("resources"), stored.get("resources"), f"{at}.resources", "")
            changed = container != stored
            _restore_compute(container, stored)
            if container != stored:
                message = "only cpu and memory resources for init or sidecar containers are mutable"
                is_regular = field == "containers"
                errors.append(forbidden("spec" if is_regular else at, _ONLY_RESOURCES if is_regular else message))
            restarts_it = any(
                item.get("restartPolicy") == "RestartContainer" for item in items(container, "resizePolicy")
            )
            if changed and restarts_it and field == "initContainers" and container.get("restartPolicy") != "Always":
                message = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
                errors.append(forbidden(at, message))
    if not errors and rest != old_spec:
        errors.append(forbidden("spec", _ONLY_RESOURCES))
    return errors


def _check_order(new: Object, old: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("containers", "initContainers"):
        if len(items(new, field)) != len(items(old, field)):
            errors.append(forbidden(f"spec.{field}", f"{field} may not be added or removed on resize"))
            continue
        for index, (container, stored) in enumerate(zip(items(new, field), items(old, field), strict=True)):
            if container.get("name") != stored.get("name"):
                message = f"{field} may not be renamed or reordered on resize"
                errors.append(forbidden(f"spec.{field}[{index}].name", message))
    return errors


def _check_removed(new: Object | None, old: Object | None, path: str, what: str) -> list[FieldError]:
    if old is not None and new is None and what:
        return [forbidden(path, "pod-level resources cannot be removed")]
    errors: list[FieldError] = []
    for field, noun in (("requests", "requests"), ("limits", "limits")):
        if set((old or {}).get(field) or ()) - set((new or {}).get(field) or ()):
            errors.append(forbidden(f"{path}.{field}", f"{what}resource {noun} cannot be removed"))
    return errors


def _restore_compute(holder: Object, stored: Object) -> None:
    """Give ``holder`` the CPU and memory of ``stored``: what is left is what else changed."""
    old = stored.get("resources")
    new = holder.get("resources")
    if new is None:
        return
    for field in ("requests", "limits"):
        amounts = {key: value for key, value in (new.get(field) or {}).items() if key not in ("cpu", "memory")}
        for key in ("cpu", "memory"):
            if key in ((old or {}).get(field) or {}):
                amounts[key] = old[field][key]  # type: ignore[index]
        if amounts:
            new[field] = amounts
        else:
            new.pop(field, None)
    if not new and old is None:
        del holder["resources"]


def check_binding(binding: Object) -> Sequence[FieldError]:
    """A Binding: which node a pod goes to."""
    target = binding.get("target") or {}
    errors: list[FieldError] = []
    kind = target.get("kind") or ""
    if kind not in ("", "Node"):
        errors.append(not_supported("target.kind", kind, ("Node", "<empty>")))
    if not target.get("name"):
        errors.append(required("target.name"))
    return errors
