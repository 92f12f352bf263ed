"""What extends the API: admissionregistration.k8s.io, apiextensions.k8s.io and apiregistration.k8s.io."""

from __future__ import annotations

from cybernetes.core.api.defaulting import extension as defaulting
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.resource import Context, Strategy
from cybernetes.core.api.strategies.generic import build, copy_field
from cybernetes.core.api.validation import admissionpolicies, apiservices, definitions, webhooks
from cybernetes.core.clock import format_time
from cybernetes.core.objects import Gvk, Object

_ADMISSION = "io.k8s.api.admissionregistration.v1."


def _store_version(definition: Object) -> None:
    """Note that objects may be stored in the version that is the storage version now."""
    stored = [version.get("name", "") for version in items(definition["spec"], "versions") if version.get("storage")]
    status = definition.setdefault("status", {})
    versions = status.get("storedVersions") or []
    if stored and stored[0] not in versions:
        versions.append(stored[0])
    status["storedVersions"] = versions or None


def _create_definition(definition: Object, context: Context) -> None:
    _store_version(definition)


def _update_definition(new: Object, old: Object, context: Context) -> None:
    _store_version(new)


def _create_api_service(service: Object, context: Context) -> None:
    """A group that this server answers itself is available at once."""
    if service["spec"].get("service") is None:
        service["status"] = {
            "conditions": [
                {
                    "type": "Available",
                    "status": "True",
                    "lastTransitionTime": format_time(context.clock.now()),
                    "reason": "Local",
                    "message": "Local APIServices are always available",
                }
            ]
        }


def _api_service_status(new: Object, old: Object, context: Context) -> None:
    for field in ("labels", "annotations", "finalizers", "ownerReferences"):
        copy_field(new["metadata"], old["metadata"], field)


STRATEGIES: dict[Gvk, Strategy] = {
    Gvk("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration"): build(
        _ADMISSION + "ValidatingWebhookConfiguration",
        check=webhooks.check_webhooks,
        check_update=webhooks.check_webhooks_update,
        default=defaulting.default_validating_webhooks,
        generation=("webhooks",),
        allows_unconditional_update=False,
    ),
    Gvk("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration"): build(
        _ADMISSION + "MutatingWebhookConfiguration",
        check=webhooks.check_webhooks,
        check_update=webhooks.check_webhooks_update,
        default=defaulting.default_mutating_webhooks,
        generation=("webhooks",),
        allows_unconditional_update=False,
    ),
    Gvk("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy"): build(
        _ADMISSION + "ValidatingAdmissionPolicy",
        check=admissionpolicies.check_validating_policy,
        check_update=admissionpolicies.check_validating_policy_update,
        check_status=admissionpolicies.check_validating_policy_status,
        default=defaulting.default_admission_policy,
        has_status=True,
        generation=("spec",),
        resets_metadata=True,
        allows_unconditional_update=False,
    ),
    Gvk("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy"): build(
        _ADMISSION + "MutatingAdmissionPolicy",
        check=admissionpolicies.check_mutating_policy,
        check_update=admissionpolicies.check_mutating_policy_update,
        default=defaulting.default_admission_policy,
        generation=("spec",),
        allows_unconditional_update=False,
    ),
    Gvk("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding"): build(
        _ADMISSION + "ValidatingAdmissionPolicyBinding",
        check=admissionpolicies.check_validating_binding,
        check_update=admissionpolicies.check_validating_binding_update,
        default=defaulting.default_admission_policy_binding,
        generation=("spec",),
        allows_unconditional_update=False,
    ),
    Gvk("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding"): build(
        _ADMISSION + "MutatingAdmissionPolicyBinding",
        check=admissionpolicies.check_mutating_binding,
        check_update=admissionpolicies.check_mutating_binding_update,
        default=defaulting.default_admission_policy_binding,
        generation=("spec",),
        allows_unconditional_update=False,
    ),
    Gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"): build(
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        check=definitions.check_definition,
        check_update=definitions.check_definition_update,
        check_status=definitions.check_definition_status,
        default=defaulting.default_custom_resource_definition,
        has_status=True,
        generation=("spec",),
        on_create=_create_definition,
        on_update=_update_definition,
        resets_metadata=True,
        allows_unconditional_update=False,
    ),
    Gvk("apiregistration.k8s.io", "v1", "APIService"): build(
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
        check=apiservices.check_api_service,
        check_update=apiservices.check_api_service_update,
        check_status=apiservices.check_api_service_status,
        default=defaulting.default_api_service,
        has_status=True,
        on_create=_create_api_service,
        on_status=_api_service_status,
        allows_unconditional_update=False,
    ),
}
