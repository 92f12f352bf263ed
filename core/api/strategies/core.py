"""The core group (``pkg/registry/core/*/strategy.go``)."""

from __future__ import annotations

from cybernetes.core.api.defaulting import core as defaulting
from cybernetes.core.api.defaulting.pods import default_pod
from cybernetes.core.api.resource import Context, Strategy
from cybernetes.core.api.strategies import pods, services
from cybernetes.core.api.strategies.generic import build, copy_field, drop_unless_used
from cybernetes.core.api.validation import (
    claims,
    configuration,
    endpoints,
    nodes,
    persistentvolumes,
    podupdate,
    quotas,
)
from cybernetes.core.api.validation import services as checks
from cybernetes.core.api.validation.metadata import check_metadata_update
from cybernetes.core.api.validation.pods import check_pod
from cybernetes.core.api.warnings import kinds, updates
from cybernetes.core.api.warnings.pods import warn_pod
from cybernetes.core.clock import format_time
from cybernetes.core.objects import Gvk, Object, clone

#: While it is in ``spec.finalizers`` a namespace is not empty yet.
KUBERNETES_FINALIZER = "kubernetes"


def _create_namespace(namespace: Object, context: Context) -> None:
    namespace["status"] = {"phase": "Active"}
    finalizers = namespace.setdefault("spec", {}).setdefault("finalizers", [])
    if KUBERNETES_FINALIZER not in finalizers:
        finalizers.append(KUBERNETES_FINALIZER)


def _update_namespace(new: Object, old: Object, context: Context) -> None:
    copy_field(new.setdefault("spec", {}), old.get("spec") or {}, "finalizers")


def prepare_finalize(new: Object, old: Object, context: Context) -> None:
    """``namespaces/finalize``: the spec's finalizers change, the status does not."""
    copy_field(new, old, "status")


def _create_node(node: Object, context: Context) -> None:
    """A node brings its status with it: kubelets register that way."""
    (node.get("spec") or {}).pop("configSource", None)


def _update_node(new: Object, old: Object, context: Context) -> None:
    drop_unless_used(new.get("spec"), old.get("spec"), "configSource")


def _node_status(new: Object, old: Object, context: Context) -> None:
    drop_unless_used(new.get("status"), old.get("status"), "config")


def _create_volume(volume: Object, context: Context) -> None:
    volume["status"] = {"phase": "Pending", "lastPhaseTransitionTime": format_time(context.clock.now())}


def _volume_status(new: Object, old: Object, context: Context) -> None:
    """Note when the phase changed, unless the client does."""
    field = "lastPhaseTransitionTime"
    new_status, old_status = new.get("status") or {}, old.get("status") or {}
    if new_status.get("phase") == old_status.get("phase"):
        if new_status.get(field) is None:
            copy_field(new_status, old_status, field)
    elif new_status.get(field) is None or new_status.get(field) == old_status.get(field):
        new_status[field] = format_time(context.clock.now())


def _create_claim(claim: Object, context: Context) -> None:
    claim["status"] = {"phase": "Pending"}
    _link_data_sources(claim["spec"], None)


def _update_claim(new: Object, old: Object, context: Context) -> None:
    _link_data_sources(new["spec"], old["spec"])


def _link_data_sources(spec: Object, old: Object | None) -> None:
    """``dataSource`` and ``dataSourceRef`` say the same where both can."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if old is None and reference is not None and reference.get("namespace"):
        reference.pop("namespace")  # from other namespaces: a feature that is off
    had_none = not old or (old.get("dataSource") is None and old.get("dataSourceRef") is None)
    if source is not None and reference is None and had_none and not _may_be_data_source(source):
        del spec["dataSource"]  # what the old field never could hold was always dropped in silence
        source = None
    if source is not None and reference is None and _may_be_data_source(source):
        spec["dataSourceRef"] = clone(source)
    if reference is not None and source is None and not reference.get("namespace") and _may_be_data_source(reference):
        spec["dataSource"] = clone(reference)


def _may_be_data_source(reference: Object) -> bool:
    """Volumes and snapshots: all that the old field could hold."""
    group, kind = reference.get("apiGroup") or "", reference.get("kind")
    return (group, kind) in (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


def _create_limit_range(limit_range: Object, context: Context) -> None:
    if not limit_range["metadata"].get("name"):
        limit_range["metadata"]["name"] = context.random.uid()


def _update_secret(new: Object, old: Object, context: Context) -> None:
    if not new.get("type"):
        copy_field(new, old, "type")


def _clean_secrets(account: Object, context: Context) -> None:
    """References to secrets carry a name and nothing else."""
    if account.get("secrets"):
        account["secrets"] = [{"name": item["name"]} if "name" in item else {} for item in account["secrets"]]


def _clean_secrets_update(new: Object, old: Object, context: Context) -> None:
    _clean_secrets(new, context)


def _create_template(template: Object, context: Context) -> None:
    pods.drop_disabled_template(template.get("template"), None)


def _update_template(new: Object, old: Object, context: Context) -> None:
    pods.drop_disabled_template(new.get("template"), old.get("template"))


def _kind(name: str) -> Gvk:
    return Gvk("", "v1", name)


STRATEGIES: dict[Gvk, Strategy] = {
    _kind("Pod"): build(
        "io.k8s.api.core.v1.Pod",
        default=default_pod,
        has_status=True,
        generation=("spec",),
        on_create=pods.create,
        on_update=pods.update,
        on_status=pods.status,
        check=check_pod,
        check_update=podupdate.check_pod_update,
        check_status=podupdate.check_pod_status,
        warnings=warn_pod,
        update_warnings=updates.nothing,
        status_warnings=updates.pod_status,
        grace_period_s=pods.grace_period_s,
    ),
    _kind("PodTemplate"): build(
        "io.k8s.api.core.v1.PodTemplate",
        default=defaulting.default_pod_template,
        generation=("template",),
        check=configuration.check_pod_template,
        check_update=configuration.check_pod_template_update,
        warnings=kinds.warn_pod_template,
        update_warnings=updates.nothing,
        on_create=_create_template,
        on_update=_update_template,
    ),
    _kind("Service"): build(
        "io.k8s.api.core.v1.Service",
        default=defaulting.default_service,
        has_status=True,
        check=checks.check_service,
        check_update=checks.check_service_update,
        check_status=checks.check_service_status,
        warnings=kinds.warn_service,
        status_warnings=updates.load_balancer_status,
        on_create=services.create,
        on_update=services.update,
        allows_create_on_update=True,
    ),
    _kind("Endpoints"): build(
        "io.k8s.api.core.v1.Endpoints",
        default=defaulting.default_endpoints,
        check=endpoints.check_endpoints,
        check_update=endpoints.check_endpoints_update,
        warnings=kinds.warn_endpoints,
        allows_create_on_update=True,
    ),
    _kind("Namespace"): build(
        "io.k8s.api.core.v1.Namespace",
        default=defaulting.default_namespace,
        has_status=True,
        check=configuration.check_namespace,
        check_update=check_metadata_update,
        check_status=configuration.check_namespace_status,
        on_create=_create_namespace,
        on_update=_update_namespace,
    ),
    _kind("Node"): build(
        "io.k8s.api.core.v1.Node",
        default=defaulting.default_node,
        has_status=True,
        check=nodes.check_node,
        check_update=nodes.check_node_update,
        check_status=nodes.check_node_status,
        warnings=kinds.warn_node,
        on_create=_create_node,
        on_update=_update_node,
        on_status=_node_status,
        keeps_status_on_create=True,
    ),
    _kind("PersistentVolume"): build(
        "io.k8s.api.core.v1.PersistentVolume",
        default=defaulting.default_persistent_volume,
        has_status=True,
        check=persistentvolumes.check_volume,
        check_update=persistentvolumes.check_volume_update,
        check_status=persistentvolumes.check_volume_status,
        warnings=kinds.warn_volume,
        on_create=_create_volume,
        on_status=_volume_status,
    ),
    _kind("PersistentVolumeClaim"): build(
        "io.k8s.api.core.v1.PersistentVolumeClaim",
        default=defaulting.default_persistent_volume_claim,
        has_status=True,
        check=claims.check_claim,
        check_update=claims.check_claim_update,
        check_status=claims.check_claim_status,
        warnings=kinds.warn_claim,
        on_create=_create_claim,
        on_update=_update_claim,
    ),
    _kind("ConfigMap"): build(
        "io.k8s.api.core.v1.ConfigMap",
        check=configuration.check_config_map,
        check_update=configuration.check_config_map_update,
    ),
    _kind("Secret"): build(
        "io.k8s.api.core.v1.Secret",
        default=defaulting.default_secret,
        on_update=_update_secret,
        check=configuration.check_secret,
        check_update=configuration.check_secret_update,
        warnings=kinds.warn_secret,
    ),
    _kind("ServiceAccount"): build(
        "io.k8s.api.core.v1.ServiceAccount",
        on_create=_clean_secrets,
        on_update=_clean_secrets_update,
        check=configuration.check_service_account,
        check_update=configuration.check_service_account_update,
        warnings=kinds.warn_service_account,
        update_warnings=updates.service_account,
    ),
    _kind("Event"): build(
        "io.k8s.api.core.v1.Event",
        check=configuration.check_event,
        check_update=configuration.check_event_update,
        allows_create_on_update=True,
    ),
    Gvk("events.k8s.io", "v1", "Event"): Strategy(
        validate_version=configuration.check_new_event, allows_create_on_update=True
    ),
    _kind("LimitRange"): build(
        "io.k8s.api.core.v1.LimitRange",
        default=defaulting.default_limit_range,
        check=quotas.check_limit_range,
        check_update=quotas.check_limit_range_update,
        on_create=_create_limit_range,
        allows_create_on_update=True,
    ),
    _kind("ResourceQuota"): build(
        "io.k8s.api.core.v1.ResourceQuota",
        default=defaulting.default_resource_quota,
        has_status=True,
        check=quotas.check_quota,
        check_update=quotas.check_quota_update,
        check_status=quotas.check_quota_status,
        warnings=kinds.warn_quota,
        update_warnings=updates.nothing,
    ),
}
