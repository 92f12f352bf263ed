"""CertificateSigningRequests, and what each of their subresources may change.

Reading the request needs the x509 library, which takes 100 ms to import: only requests load it.
"""

from __future__ import annotations

import base64
import binascii

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_supported,
    required,
)
from cybernetes.core.api.validation.differences import difference
from cybernetes.core.api.validation.metadata import check_metadata, check_metadata_update, check_signer_name
from cybernetes.core.objects import Object

_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_SECONDS_MIN = 600
_DECISIONS = ("Approved", "Denied")
_FINAL = ("Approved", "Denied", "Failed")
_STATUSES = ("False", "True", "Unknown")
_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip


def check_request(request: Object) -> list[FieldError]:
    return _check_request(request, None)


def check_request_update(new: Object, old: Object) -> list[FieldError]:
    return _check_update(new, old)


def check_request_status(new: Object, old: Object) -> list[FieldError]:
    return _check_update(new, old, may_issue=True)


def check_request_approval(new: Object, old: Object) -> list[FieldError]:
    return _check_update(new, old, may_decide=True)


def _any_name(name: str, is_prefix: bool) -> list[str]:
    return []


def _check_request(request: Object, old: Object | None) -> list[FieldError]:
    spec, stored = request["spec"], (old or {}).get("spec") or {}
    errors = check_metadata(request, _any_name, is_namespaced=False)
    text = spec.get("request") or ""
    problem = "" if old is not None and text == stored.get("request") else _request_error(text)
    if problem:
        errors.append(invalid_value("spec.request", text, problem))
    errors += _check_usages(spec.get("usages") or [], stored.get("usages") or [])
    signer = spec.get("signerName") or ""
    if signer == _LEGACY_SIGNER and stored.get("signerName") != _LEGACY_SIGNER:
        message = "the legacy signerName is not allowed via this API version"
        errors.append(invalid_value("spec.signerName", signer, message))
    else:
        errors += check_signer_name(signer, "spec.signerName")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SECONDS_MIN:
        message = "may not specify a duration less than 600 seconds (10 minutes)"
        errors.append(invalid_value("spec.expirationSeconds", seconds, message))
    errors += _check_conditions(
        items(request.get("status"), "conditions"), items((old or {}).get("status"), "conditions")
    )
    certificate, before = _certificate(request), _certificate(old or {})
    if certificate and not (old is not None and (certificate == before or _certificate_error(before))):
        problem = _certificate_error(certificate)
        if problem:
            errors.append(invalid_value("status.certificate", "<certificate data>", problem))
    return errors


def _certificate(request: Object) -> str:
    return (request.get("status") or {}).get("certificate") or ""


def _check_usages(usages: list[str], stored: list[str]) -> list[FieldError]:
    errors = [] if usages else [required("spec.usages")]
    if set(stored) <= set(_USAGES):
        for index, usage in enumerate(usages):
            if usage not in _USAGES:
                errors.append(not_supported(f"spec.usages[{index}]", usage, _USAGES))
    if len(set(stored)) == len(stored):
        seen: set[str] = set()
        for index, usage in enumerate(usages):
            if usage in seen:
                errors.append(duplicate(f"spec.usages[{index}]", usage))
            seen.add(usage)
    return errors


def _check_conditions(conditions: list[Object], stored: list[Object]) -> list[FieldError]:
    errors: list[FieldError] = []
    known = [condition.get("type") or "" for condition in stored]
    allows_both = set(_DECISIONS) <= set(known)
    allows_repeats = len(set(known)) < len(known)
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at, kind, status = f"status.conditions[{index}]", condition.get("type") or "", condition.get("status") or ""
        if not kind and "" not in known:
            errors.append(required(f"{at}.type"))
        allowed = ("True",) if kind in _FINAL else _STATUSES
        if not status:
            errors.append(required(f"{at}.status"))
        elif status not in allowed:
            errors.append(not_supported(f"{at}.status", status, allowed))
        other = {"Approved": "Denied", "Denied": "Approved"}.get(kind)
        if other in seen and not allows_both:
            message = "Approved and Denied conditions are mutually exclusive"
            errors.append(invalid_value("status.conditions", kind, message))
        if kind in seen and not allows_repeats:
            errors.append(duplicate(f"{at}.type", kind))
        seen.add(kind)
    return errors


def _check_update(new: Object, old: Object, *, may_issue: bool = False, may_decide: bool = False) -> list[FieldError]:
    errors = _check_request(new, old)
    after, before = (items(request.get("status"), "conditions") for request in (new, old))
    path = "status.conditions"
    for kind in _FINAL:
        if len(_of_type(after, kind)) < len(_of_type(before, kind)):
            errors.append(forbidden(path, f'updates may not remove a condition of type "{kind}"'))
    for kind in () if may_decide else _DECISIONS:
        given, known = _of_type(after, kind), _of_type(before, kind)
        if len(given) > len(known):
            errors.append(forbidden(path, f'updates may not add a condition of type "{kind}"'))
        elif len(given) == len(known) and given != known:
            message = f'updates may not modify a condition of type "{kind}"\n{difference(known, given)}'
            errors.append(forbidden(path, message))
    if _certificate(new) != _certificate(old):
        if not may_issue:
            errors.append(forbidden("status.certificate", "updates may not set certificate content"))
        elif _certificate(old):
            errors.append(forbidden("status.certificate", "updates may not modify existing certificate content"))
    return errors + check_metadata_update(new, old)


def _of_type(conditions: list[Object], kind: str) -> list[Object]:
    return [condition for condition in conditions if condition.get("type") == kind]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""


def _blocks(data: bytes) -> list[tuple[str, bytes, bool]]:
    """The PEM blocks: (type, content, whether there are headers). What is outside of blocks is ignored."""
    found: list[tuple[str, bytes, bool]] = []
    for part in data.split(b"-----BEGIN ")[1:]:
        label, _, rest = part.partition(b"-----")
        body, end, _ = rest.partition(b"-----END " + label + b"-----")
        head, _, content = body.rpartition(b"\n\n")
        has_headers = b":" in head
        try:
            raw = base64.b64decode(content if has_headers else body)
        except binascii.Error:
            continue
        if end:
            found.append((label.decode("ascii", "replace"), raw, has_headers))
    return found


def _request_error(text: str) -> str:
    """What is wrong with a signing request; empty when nothing is."""
    blocks = _blocks(_decoded(text))
    if not blocks or blocks[0][0] != "CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        request = x509.load_der_x509_csr(blocks[0][1])
        is_signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        return f"asn1: structure error: {error}"
    return "" if is_signed else "x509: signature verification failure"


def _certificate_error(text: str) -> str:
    if not text:
        return ""
    blocks = _blocks(_decoded(text))
    from cryptography import x509

    for label, content, has_headers in blocks:
        if label != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{label}"'
        if has_headers:
            return "no PEM block headers are permitted"
        try:
            x509.load_der_x509_certificate(content)
        except ValueError as error:
            return f"x509: malformed certificate: {error}"
    return "" if blocks else "must contain at least one CERTIFICATE PEM block"
