"""Defaults of what extends the API: admissionregistration.k8s.io, apiextensions.k8s.io, apiregistration.k8s.io."""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.defaulting.values import child, items, set_all
from cybernetes.core.objects import Object

_WEBHOOK: dict[str, Any] = {"failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10}
_HTTPS_PORT = 443


def default_validating_webhooks(configuration: Object) -> None:
    for webhook in items(configuration, "webhooks"):
        _default_webhook(webhook)


def default_mutating_webhooks(configuration: Object) -> None:
    for webhook in items(configuration, "webhooks"):
        _default_webhook(webhook)
        set_all(webhook, {"reinvocationPolicy": "Never"})


def _default_webhook(webhook: Object) -> None:
    set_all(webhook, _WEBHOOK)
    set_all(webhook, {"namespaceSelector": {}, "objectSelector": {}})
    _default_service_port(webhook.get("clientConfig"))
    for rule in items(webhook, "rules"):
        set_all(rule, {"scope": "*"})


def _default_service_port(config: Object | None) -> None:
    service = (config or {}).get("service")
    if service is not None:
        set_all(service, {"port": _HTTPS_PORT})


def default_admission_policy(policy: Object) -> None:
    """A ValidatingAdmissionPolicy or MutatingAdmissionPolicy."""
    spec = child(policy, "spec")
    set_all(spec, {"failurePolicy": "Fail"})
    _default_match_resources(spec.get("matchConstraints"))


def default_admission_policy_binding(binding: Object) -> None:
    _default_match_resources(child(binding, "spec").get("matchResources"))


def _default_match_resources(match: Object | None) -> None:
    if match is None:
        return
    set_all(match, {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}})
    for field in ("resourceRules", "excludeResourceRules"):
        for rule in items(match, field):
            set_all(rule, {"scope": "*"})


def default_custom_resource_definition(definition: Object) -> None:
    spec = child(definition, "spec")
    names = child(spec, "names")
    kind = names.get("kind") or ""
    if not names.get("singular"):
        names["singular"] = kind.lower()
    if not names.get("listKind") and kind:
        names["listKind"] = kind + "List"
    set_all(spec, {"conversion": {"strategy": "None"}})
    _default_service_port((spec["conversion"].get("webhook") or {}).get("clientConfig"))
    status = child(definition, "status")
    if not status.get("storedVersions"):
        stored = [version.get("name", "") for version in items(spec, "versions") if version.get("storage")]
        if stored:
            status["storedVersions"] = stored[:1]


def default_api_service(service: Object) -> None:
    _default_service_port(service.get("spec"))
