"""apps/v1 and ReplicationControllers (``pkg/registry/apps/*/strategy.go``)."""

from __future__ import annotations

from cybernetes.core.api.defaulting import apps as defaulting
from cybernetes.core.api.defaulting.core import default_replication_controller
from cybernetes.core.api.resource import Context, Strategy
from cybernetes.core.api.strategies.generic import build, copy_field, drop_unless_used
from cybernetes.core.api.strategies.pods import drop_disabled_template
from cybernetes.core.api.validation import sets, workloads
from cybernetes.core.api.warnings import kinds, updates
from cybernetes.core.objects import Gvk, Object

#: Where a DaemonSet's template generation is kept: its field is gone from v1.
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def _create_template(obj: Object, context: Context) -> None:
    drop_disabled_template(obj["spec"].get("template"), None)


def _update_template(new: Object, old: Object, context: Context) -> None:
    drop_disabled_template(new["spec"].get("template"), old["spec"].get("template"))


def _keep_labels(new: Object, old: Object, context: Context) -> None:
    copy_field(new["metadata"], old["metadata"], "labels")


def _template_generation(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _default_daemon_set(obj: Object) -> None:
    """Defaults, and what upstream's conversion makes of the field: whoever creates it manages it."""
    defaulting.default_daemon_set(obj)
    metadata = obj.setdefault("metadata", {})
    annotations = metadata.get("annotations")
    if annotations is None:
        annotations = metadata["annotations"] = {}
    annotations.setdefault(TEMPLATE_GENERATION, "0")


def _create_daemon_set(obj: Object, context: Context) -> None:
    generation = max(_template_generation(obj), 1)
    obj["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = str(generation)
    _create_template(obj, context)


def _update_daemon_set(new: Object, old: Object, context: Context) -> None:
    _update_template(new, old, context)
    changed = new["spec"].get("template") != old["spec"].get("template")
    generation = _template_generation(old) + int(changed)
    new["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = str(generation)


def _create_stateful_set(obj: Object, context: Context) -> None:
    drop_unless_used((obj["spec"].get("updateStrategy") or {}).get("rollingUpdate"), None, "maxUnavailable")
    _create_template(obj, context)


def _update_stateful_set(new: Object, old: Object, context: Context) -> None:
    rolling, stored = ((spec.get("updateStrategy") or {}).get("rollingUpdate") for spec in (new["spec"], old["spec"]))
    drop_unless_used(rolling, stored, "maxUnavailable")
    _update_template(new, old, context)


STRATEGIES: dict[Gvk, Strategy] = {
    Gvk("apps", "v1", "Deployment"): build(
        "io.k8s.api.apps.v1.Deployment",
        default=defaulting.default_deployment,
        has_status=True,
        generation=("spec", "metadata.annotations"),
        on_create=_create_template,
        on_update=_update_template,
        on_status=_keep_labels,
        check=workloads.check_deployment,
        check_update=workloads.check_deployment_update,
        check_status=workloads.check_deployment_status,
        warnings=kinds.warn_workload,
        update_warnings=updates.workload,
    ),
    Gvk("apps", "v1", "ReplicaSet"): build(
        "io.k8s.api.apps.v1.ReplicaSet",
        default=defaulting.default_replica_set,
        has_status=True,
        generation=("spec",),
        check=workloads.check_replica_set,
        check_update=workloads.check_replica_set_update,
        check_status=workloads.check_replica_set_status,
        warnings=kinds.warn_workload,
        update_warnings=updates.workload,
        on_create=_create_template,
        on_update=_update_template,
    ),
    Gvk("apps", "v1", "DaemonSet"): build(
        "io.k8s.api.apps.v1.DaemonSet",
        default=_default_daemon_set,
        has_status=True,
        generation=("spec",),
        check=sets.check_daemon_set,
        check_update=sets.check_daemon_set_update,
        check_status=sets.check_daemon_set_status,
        warnings=kinds.warn_daemon_set,
        update_warnings=updates.workload,
        on_create=_create_daemon_set,
        on_update=_update_daemon_set,
    ),
    Gvk("apps", "v1", "StatefulSet"): build(
        "io.k8s.api.apps.v1.StatefulSet",
        default=defaulting.default_stateful_set,
        has_status=True,
        generation=("spec",),
        check=sets.check_stateful_set,
        check_update=sets.check_stateful_set_update,
        check_status=sets.check_stateful_set_status,
        warnings=kinds.warn_stateful_set,
        update_warnings=updates.stateful_set,
        on_create=_create_stateful_set,
        on_update=_update_stateful_set,
    ),
    Gvk("apps", "v1", "ControllerRevision"): build(
        "io.k8s.api.apps.v1.ControllerRevision", check=sets.check_revision, check_update=sets.check_revision_update
    ),
    Gvk("", "v1", "ReplicationController"): build(
        "io.k8s.api.core.v1.ReplicationController",
        default=default_replication_controller,
        check=workloads.check_replication_controller,
        check_update=workloads.check_replication_controller_update,
        warnings=kinds.warn_workload,
        update_warnings=updates.workload,
        check_status=workloads.check_replica_set_status,
        has_status=True,
        generation=("spec",),
        on_create=_create_template,
        on_update=_update_template,
    ),
}
