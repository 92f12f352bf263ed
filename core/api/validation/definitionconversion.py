"""How the versions of a custom resource become each other: by nothing but their name, or by a webhook."""

from __future__ import annotations

import base64
import binascii

from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, not_supported, required
from cybernetes.core.api.validation.webhooks import REVIEW_VERSIONS, check_client_config, check_review_versions
from cybernetes.core.objects import Object

_STRATEGIES = ("None", "Webhook")
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
    demands_known = not stored or bool(set(stored).intersection(REVIEW_VERSIONS))
    at = f"{path}.conversionReviewVersions"
    if not versions:
        return [*errors, required(at)]
    return errors + check_review_versions(versions, at, demands_known=demands_known)
