"""How the versions of a custom resource become each other: by nothing but their name, or by a webhook."""

from __future__ import annotations

import base64
import binascii

from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, not_supported, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import invalid_each
from cybernetes.core.api.validation.webhooks import check_client_config
from cybernetes.core.objects import Object

_STRATEGIES = ("None", "Webhook")
_REVIEW_VERSIONS = ("v1", "v1beta1")
_NO_CERTIFICATES = "data does not contain any valid RSA or ECDSA certificates"


def bundle_error(bundle: str) -> str:
    """What is wrong with the certificates of a caBundle; empty for nothing."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        load_pem_x509_certificates(base64.b64decode(bundle))
    except (ValueError, binascii.Error):
        return _NO_CERTIFICATES
    return ""


def check_conversion(conversion: Object | None, old: Object | None, *, allows_bad_bundle: bool) -> list[FieldError]:
    """``old`` is the spec that there was."""
    if conversion is None:
        return []
    path, strategy, webhook = "spec.conversion", conversion.get("strategy") or "", conversion.get("webhook") or {}
    errors: list[FieldError] = []
    if not strategy:
        errors.append(required(f"{path}.strategy"))
    elif strategy not in _STRATEGIES:
        errors.append(not_supported(f"{path}.strategy", strategy, _STRATEGIES))
    config, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy != "Webhook":
        message = "should not be set when strategy is not set to Webhook"
        if config is not None:
            errors.append(forbidden(f"{path}.webhookClientConfig", message))
        if versions:
            errors.append(forbidden(f"{path}.conversionReviewVersions", message))
        return errors
    if config is None:
        errors.append(required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook"))
    else:
        errors += check_client_config(config, f"{path}.webhookClientConfig")
        bundle = config.get("caBundle") or ""
        if bundle and not allows_bad_bundle and (why := bundle_error(bundle)):
            errors.append(invalid_value(f"{path}.webhookClientConfig.caBundle", bundle, why))
    stored = (((old or {}).get("conversion") or {}).get("webhook") or {}).get("conversionReviewVersions")
    demands_known = not stored or bool(set(stored).intersection(_REVIEW_VERSIONS))
    return errors + _check_review_versions(versions, demands_known, f"{path}.conversionReviewVersions")


def _check_review_versions(versions: list[str], demands_known: bool, path: str) -> list[FieldError]:
    if not versions:
        return [required(path)]
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            errors.append(invalid_value(f"{path}[{index}]", version, "duplicate version"))
            continue
        seen.add(version)
        errors += invalid_each(f"{path}[{index}]", version, names.dns_1035_label(version))
    if demands_known and not seen.intersection(_REVIEW_VERSIONS):
        errors.append(invalid_value(path, versions, f"must include at least one of {', '.join(_REVIEW_VERSIONS)}"))
    return errors
