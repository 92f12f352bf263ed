"""What updates are warned about, where that is less than a new object is.

A workload's template is looked at when its generation has changed, as upstream does: controllers write the rest of it
all the time. Pods, quotas and Ingresses are warned about when they are made and not again.
"""

from __future__ import annotations

from collections.abc import Sequence

from cybernetes.core.api.validation.addresses import address_warnings
from cybernetes.core.api.warnings import kinds
from cybernetes.core.api.warnings.pods import warn_template
from cybernetes.core.objects import Object


def nothing(new: Object, old: Object) -> Sequence[str]:
    """Of kinds that are warned about only once."""
    return ()


def workload(new: Object, old: Object) -> Sequence[str]:
    """Deployment, ReplicaSet, ReplicationController, DaemonSet."""
    return warn_template(new["spec"].get("template"), "spec.template") if _is_changed(new, old) else ()


def stateful_set(new: Object, old: Object) -> Sequence[str]:
    template = workload(new, old)
    rest = kinds.warn_stateful_set({**new, "spec": {**new["spec"], "template": None}})
    return [*template, *rest]


def job(new: Object, old: Object) -> Sequence[str]:
    return kinds.warn_job_spec(new["spec"], "spec") if _is_changed(new, old) else ()


def cron_job(new: Object, old: Object) -> Sequence[str]:
    template = (new["spec"].get("jobTemplate") or {}).get("spec") or {}
    found = kinds.warn_job_spec(template, "spec.jobTemplate.spec") if _is_changed(new, old) else []
    return found + kinds.warn_schedule(new)


def service_account(new: Object, old: Object) -> Sequence[str]:
    """Of the annotation, when it is new."""
    return () if kinds.warn_service_account(old) else kinds.warn_service_account(new)


def csi_driver(new: Object, old: Object) -> Sequence[str]:
    """When the tokens that it wants have changed."""
    is_same = new["spec"].get("tokenRequests") == old["spec"].get("tokenRequests")
    return () if is_same else kinds.warn_csi_driver(new)


def load_balancer_status(new: Object) -> Sequence[str]:
    """Addresses in the status of a Service or an Ingress."""
    balancer = (new.get("status") or {}).get("loadBalancer") or {}
    return [
        text
        for index, ingress in enumerate(balancer.get("ingress") or ())
        if ingress.get("ip")
        for text in address_warnings(f"status.loadBalancer.ingress[{index}]", ingress["ip"])
    ]


def pod_status(new: Object) -> Sequence[str]:
    """Addresses in the status of a pod."""
    status = new.get("status") or {}
    return [
        text
        for field in ("podIPs", "hostIPs")
        for index, each in enumerate(status.get(field) or ())
        for text in address_warnings(f"status.{field}[{index}].ip", each.get("ip") or "")
    ]


def _is_changed(new: Object, old: Object) -> bool:
    return bool(new["metadata"].get("generation") != old["metadata"].get("generation"))
