"""Groups with few rules of their own: networking, discovery, policy, RBAC, storage, scheduling, node, coordination,
autoscaling, flow control, devices, and the requests that are answered and not kept.
"""

from __future__ import annotations

from cybernetes.core.api.defaulting import autoscaling, flowcontrol, networking, rbac, resource, storage
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.resource import Context, Strategy
from cybernetes.core.api.strategies.generic import build, copy_field, drop_unless_used, raise_generation
from cybernetes.core.api.validation import (
    autoscalers,
    certificates,
    deviceclaims,
    deviceslices,
    endpoints,
    ingresses,
    networks,
    policies,
)
from cybernetes.core.api.validation import flowcontrol as flows
from cybernetes.core.api.validation import rbac as roles
from cybernetes.core.api.validation import storage as stores
from cybernetes.core.api.validation.metadata import check_metadata_update
from cybernetes.core.api.warnings import kinds, updates
from cybernetes.core.clock import format_time
from cybernetes.core.objects import Gvk, Object

_NETWORKING = "io.k8s.api.networking.v1."
_STORAGE = "io.k8s.api.storage.v1."
_RBAC = "io.k8s.api.rbac.v1."
_RESOURCE = "io.k8s.api.resource.v1."
_FLOW = "io.k8s.api.flowcontrol.v1."


def _update_endpoint_slice(new: Object, old: Object, context: Context) -> None:
    """Any change but one of metadata other than labels is a new generation."""
    fields = ({*new, *old} - {"metadata"}) - {"kind", "apiVersion"}
    changed = any((new.get(field) or None) != (old.get(field) or None) for field in fields)
    labels = [(obj["metadata"].get("labels") or None) for obj in (new, old)]
    if changed or labels[0] != labels[1]:
        raise_generation(new, old)
    if new.get("endpoints") != old.get("endpoints"):
        _drop_topology(new)


def _create_endpoint_slice(obj: Object, context: Context) -> None:
    _create_generation(obj, context)
    _drop_topology(obj)


def _drop_topology(obj: Object) -> None:
    """Its field of v1beta1 cannot be written in v1."""
    for endpoint in items(obj, "endpoints"):
        endpoint.pop("deprecatedTopology", None)


def _create_generation(obj: Object, context: Context) -> None:
    obj["metadata"]["generation"] = 1


def _drop_lease_strategy(lease: Object, context: Context) -> None:
    drop_unless_used(lease.get("spec"), None, "strategy", "preferredHolder")


def _keep_lease_strategy(new: Object, old: Object, context: Context) -> None:
    drop_unless_used(new.get("spec"), old.get("spec"), "strategy", "preferredHolder")


def _create_csi_driver(driver: Object, context: Context) -> None:
    drop_unless_used(driver["spec"], None, "preventPodSchedulingIfMissing")


def _update_csi_driver(new: Object, old: Object, context: Context) -> None:
    drop_unless_used(new["spec"], old["spec"], "preventPodSchedulingIfMissing")
    if new["spec"] != old["spec"]:
        raise_generation(new, old)


def _flow_status(new: Object, old: Object, context: Context) -> None:
    """A status update changes none of the metadata but what it manages."""
    managed = new["metadata"].get("managedFields")
    revision = new["metadata"].get("resourceVersion")
    new["metadata"] = dict(old["metadata"])
    for field, value in (("managedFields", managed), ("resourceVersion", revision)):
        if value is not None:
            new["metadata"][field] = value


def _create_slice(resource_slice: Object, context: Context) -> None:
    _time_taints(resource_slice, context)


def _update_slice(new: Object, old: Object, context: Context) -> None:
    _time_taints(new, context)


def _time_taints(resource_slice: Object, context: Context) -> None:
    for device in items(resource_slice.get("spec"), "devices"):
        for taint in items(device, "taints"):
            if taint.get("timeAdded") is None:
                taint["timeAdded"] = format_time(context.clock.now())


def _claim_status(new: Object, old: Object, context: Context) -> None:
    """What a driver reported about a device goes when the device is no longer allocated."""
    status = new.get("status") or {}
    results = ((status.get("allocation") or {}).get("devices") or {}).get("results") or ()
    allocated = {_device(result) for result in results}
    if status.get("devices"):
        kept = [device for device in status["devices"] if _device(device) in allocated]
        if kept:
            status["devices"] = kept
        else:
            del status["devices"]


def _device(entry: Object) -> tuple[object, ...]:
    return tuple(entry.get(field) for field in ("driver", "pool", "device", "shareID"))


def _create_request(request: Object, context: Context) -> None:
    """Who asks is what the server knows, not what the request says."""
    spec = request["spec"]
    for field in ("username", "uid", "groups", "extra"):
        spec.pop(field, None)
    user = context.user.as_dict()
    spec.update({field: value for field, value in user.items() if value})
    request["status"] = {}


def _keep_request(new: Object, old: Object, context: Context) -> None:
    copy_field(new, old, "spec")
    copy_field(new, old, "status")


def _request_status(new: Object, old: Object, context: Context) -> None:
    """Approval and denial stay as they are: they have a subresource of their own."""
    kept = [item for item in items(old.get("status"), "conditions") if item.get("type") in ("Approved", "Denied")]
    status = new.setdefault("status", {})
    given = [item for item in items(status, "conditions") if item.get("type") not in ("Approved", "Denied")]
    conditions = kept + given
    if conditions:
        status["conditions"] = conditions
    _time_conditions(new, old, context)


def prepare_approval(new: Object, old: Object, context: Context) -> None:
    """``certificatesigningrequests/approval``: only the conditions change."""
    _time_conditions(new, old, context)
    conditions = (new.get("status") or {}).get("conditions")
    copy_field(new, old, "spec")
    copy_field(new, old, "status")
    status = new.setdefault("status", {})
    if conditions:
        status["conditions"] = conditions
    else:
        status.pop("conditions", None)


def _time_conditions(new: Object, old: Object, context: Context) -> None:
    """Conditions that say nothing about when they came or changed get the time."""
    now = format_time(context.clock.now())
    before = {item.get("type"): item for item in items(old.get("status"), "conditions")}
    for condition in items(new.get("status"), "conditions"):
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            stored = before.get(condition.get("type"))
            same = stored is not None and stored.get("status") == condition.get("status")
            condition["lastTransitionTime"] = (stored or {}).get("lastTransitionTime") if same else now


def _kind(group: str, name: str, version: str = "v1") -> Gvk:
    return Gvk(group if group == "policy" or group == "autoscaling" else f"{group}.k8s.io", version, name)


STRATEGIES: dict[Gvk, Strategy] = {
    _kind("networking", "Ingress"): build(
        _NETWORKING + "Ingress",
        check=ingresses.check_ingress,
        check_update=ingresses.check_ingress_update,
        check_status=ingresses.check_ingress_status,
        warnings=kinds.warn_ingress,
        update_warnings=updates.nothing,
        status_warnings=updates.load_balancer_status,
        has_status=True,
        generation=("spec",),
    ),
    _kind("networking", "IngressClass"): build(
        _NETWORKING + "IngressClass",
        check=ingresses.check_class,
        check_update=ingresses.check_class_update,
        default=networking.default_ingress_class,
        generation=("spec",),
    ),
    _kind("networking", "NetworkPolicy"): build(
        _NETWORKING + "NetworkPolicy",
        check=networks.check_policy,
        check_update=networks.check_policy_update,
        warnings=kinds.warn_network_policy,
        default=networking.default_network_policy,
        generation=("spec",),
    ),
    _kind("networking", "IPAddress"): build(
        _NETWORKING + "IPAddress", check=networks.check_ip_address, check_update=networks.check_ip_address_update
    ),
    _kind("networking", "ServiceCIDR"): build(
        _NETWORKING + "ServiceCIDR",
        check=networks.check_service_cidr,
        check_update=networks.check_service_cidr_update,
        check_status=check_metadata_update,
        has_status=True,
        resets_metadata=True,
    ),
    _kind("discovery", "EndpointSlice"): build(
        "io.k8s.api.discovery.v1.EndpointSlice",
        default=networking.default_endpoint_slice,
        check=endpoints.check_slice,
        check_update=endpoints.check_slice_update,
        warnings=kinds.warn_slice,
        on_create=_create_endpoint_slice,
        on_update=_update_endpoint_slice,
    ),
    _kind("policy", "PodDisruptionBudget"): build(
        "io.k8s.api.policy.v1.PodDisruptionBudget",
        check=policies.check_budget,
        check_update=policies.check_budget_update,
        check_status=policies.check_budget_status,
        has_status=True,
        generation=("spec",),
        allows_unconditional_update=False,
    ),
    _kind("autoscaling", "HorizontalPodAutoscaler", "v2"): build(
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        check=autoscalers.check_autoscaler,
        check_update=autoscalers.check_autoscaler_update,
        check_status=autoscalers.check_autoscaler_status,
        default=autoscaling.default_scaler_v2,
        has_status=True,
    ),
    _kind("autoscaling", "HorizontalPodAutoscaler"): build(
        "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler", default=autoscaling.default_scaler_v1, has_status=True
    ),
    _kind("rbac.authorization", "Role"): build(
        _RBAC + "Role", check=roles.check_role, check_update=roles.check_role_update, allows_create_on_update=True
    ),
    _kind("rbac.authorization", "ClusterRole"): build(
        _RBAC + "ClusterRole",
        check=roles.check_cluster_role,
        check_update=roles.check_cluster_role_update,
        allows_create_on_update=True,
    ),
    _kind("rbac.authorization", "RoleBinding"): build(
        _RBAC + "RoleBinding",
        check=roles.check_role_binding,
        check_update=roles.check_role_binding_update,
        default=rbac.default_binding,
        allows_create_on_update=True,
    ),
    _kind("rbac.authorization", "ClusterRoleBinding"): build(
        _RBAC + "ClusterRoleBinding",
        check=roles.check_cluster_role_binding,
        check_update=roles.check_cluster_role_binding_update,
        default=rbac.default_binding,
        allows_create_on_update=True,
    ),
    _kind("storage", "StorageClass"): build(
        _STORAGE + "StorageClass",
        check=stores.check_class,
        check_update=stores.check_class_update,
        warnings=kinds.warn_storage_class,
        default=storage.default_storage_class,
    ),
    _kind("storage", "VolumeAttributesClass"): build(
        _STORAGE + "VolumeAttributesClass",
        check=stores.check_attributes_class,
        check_update=stores.check_attributes_class_update,
    ),
    _kind("storage", "CSIDriver"): build(
        _STORAGE + "CSIDriver",
        check=stores.check_driver,
        check_update=stores.check_driver_update,
        warnings=kinds.warn_csi_driver,
        update_warnings=updates.csi_driver,
        default=storage.default_csi_driver,
        on_create=_create_csi_driver,
        on_update=_update_csi_driver,
        allows_unconditional_update=False,
    ),
    _kind("storage", "CSINode"): build(
        _STORAGE + "CSINode",
        check=stores.check_csi_node,
        check_update=stores.check_csi_node_update,
        allows_unconditional_update=False,
    ),
    _kind("storage", "CSIStorageCapacity"): build(
        _STORAGE + "CSIStorageCapacity",
        check=stores.check_capacity,
        check_update=stores.check_capacity_update,
        warnings=kinds.warn_capacity,
        allows_unconditional_update=False,
    ),
    _kind("storage", "VolumeAttachment"): build(
        _STORAGE + "VolumeAttachment",
        check=stores.check_attachment,
        check_update=stores.check_attachment_update,
        check_status=stores.check_attachment_status,
        has_status=True,
        resets_metadata=True,
        allows_unconditional_update=False,
    ),
    _kind("scheduling", "PriorityClass"): build(
        "io.k8s.api.scheduling.v1.PriorityClass",
        check=policies.check_priority_class,
        check_update=policies.check_priority_class_update,
        default=flowcontrol.default_priority_class,
        on_create=_create_generation,
    ),
    _kind("node", "RuntimeClass"): build(
        "io.k8s.api.node.v1.RuntimeClass",
        check=policies.check_runtime_class,
        check_update=policies.check_runtime_class_update,
        warnings=kinds.warn_runtime_class,
        allows_unconditional_update=False,
        allows_create_on_update=True,
    ),
    _kind("coordination", "Lease"): build(
        "io.k8s.api.coordination.v1.Lease",
        check=policies.check_lease,
        check_update=policies.check_lease_update,
        on_create=_drop_lease_strategy,
        on_update=_keep_lease_strategy,
        allows_unconditional_update=False,
        allows_create_on_update=True,
    ),
    _kind("flowcontrol.apiserver", "FlowSchema"): build(
        _FLOW + "FlowSchema",
        check=flows.check_schema,
        check_update=flows.check_schema_update,
        check_status=flows.check_status,
        default=flowcontrol.default_flow_schema,
        has_status=True,
        generation=("spec",),
        on_status=_flow_status,
    ),
    _kind("flowcontrol.apiserver", "PriorityLevelConfiguration"): build(
        _FLOW + "PriorityLevelConfiguration",
        check=flows.check_level,
        check_update=flows.check_level_update,
        check_status=flows.check_status,
        default=flowcontrol.default_priority_level,
        has_status=True,
        generation=("spec",),
        on_status=_flow_status,
    ),
    _kind("resource", "DeviceClass"): build(
        _RESOURCE + "DeviceClass",
        check=deviceclaims.check_class,
        check_update=deviceclaims.check_class_update,
        generation=("spec",),
    ),
    _kind("resource", "ResourceClaim"): build(
        _RESOURCE + "ResourceClaim",
        check=deviceclaims.check_claim,
        check_update=deviceclaims.check_claim_update,
        check_status=deviceclaims.check_claim_status,
        default=resource.default_claim,
        has_status=True,
        resets_metadata=True,
        on_status=_claim_status,
    ),
    _kind("resource", "ResourceClaimTemplate"): build(
        _RESOURCE + "ResourceClaimTemplate",
        check=deviceclaims.check_template,
        check_update=deviceclaims.check_template_update,
        default=resource.default_claim_template,
    ),
    _kind("resource", "ResourceSlice"): build(
        _RESOURCE + "ResourceSlice",
        check=deviceslices.check_slice,
        check_update=deviceslices.check_slice_update,
        warnings=kinds.warn_device_slice,
        default=resource.default_slice,
        generation=("spec",),
        on_create=_create_slice,
        on_update=_update_slice,
    ),
    _kind("certificates", "CertificateSigningRequest"): build(
        "io.k8s.api.certificates.v1.CertificateSigningRequest",
        check=certificates.check_request,
        check_update=certificates.check_request_update,
        check_status=certificates.check_request_status,
        has_status=True,
        on_create=_create_request,
        on_update=_keep_request,
        on_status=_request_status,
    ),
    _kind("authentication", "TokenRequest"): build(
        "io.k8s.api.authentication.v1.TokenRequest",
        check=policies.check_token_request,
        default=flowcontrol.default_token_request,
    ),
}
