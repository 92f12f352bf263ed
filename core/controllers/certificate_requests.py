"""CertificateSigningRequests: approved when a node asks for its own identity, signed when approved, and cleaned away.

    approving   kubelets' client certificates, if an access review says that whoever asks may have one for a node
    signing     approved requests of the built-in signers, by the cluster's authority; what a signer does not allow
                becomes condition Failed
    cleaning    issued, denied and failed ones after an hour, others after a day

Upstream: pkg/controller/certificates; "Certificates and Certificate Signing Requests" in the documentation.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cybernetes.core.auth.certificates import Authority, Pair, expires_at
from cybernetes.core.clock import ManualClock, Random, format_time
from cybernetes.core.controllers.conditions import find
from cybernetes.core.controllers.interface import (
    Again,
    Create,
    Delete,
    Settings,
    Steps,
    TryAgain,
    Update,
    View,
    Watch,
    own_key,
)
from cybernetes.core.controllers.pods import created_at, time_of
from cybernetes.core.objects import CERTIFICATE_SIGNING_REQUESTS, Gvr, Object, uid_of

if TYPE_CHECKING:
    from cryptography import x509

ACCESS_REVIEWS = Gvr("authorization.k8s.io", "v1", "subjectaccessreviews")

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"

ISSUED_S = DENIED_S = 3600.0
PENDING_S = 24 * 3600.0
#: The shortest certificate that can be asked for.
LIFETIME_MIN_S = 600
#: Longer ones end as much earlier as they begin before now.
SHORT_S = 8 * 3600
BACKDATE_S = 300

_RSA_USAGES = ("digital signature", "key encipherment")


class _Request(NamedTuple):
    """What a parsed request asks for."""

    common_name: str
    organizations: tuple[str, ...]
    dns: tuple[str, ...]
    emails: tuple[str, ...]
    addresses: tuple[str, ...]
    uris: tuple[str, ...]


def _pem(csr: Object) -> bytes:
    try:
        return base64.b64decode((csr.get("spec") or {}).get("request") or "", validate=True)
    except binascii.Error as error:
        raise TryAgain(f'unable to parse csr "{csr["metadata"]["name"]}": {error}') from error


def _parsed(csr: Object) -> _Request:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        found = x509.load_pem_x509_csr(_pem(csr))
        extensions = found.extensions
    except ValueError as error:
        raise TryAgain(f'unable to parse csr "{csr["metadata"]["name"]}": {error}') from error
    names: Sequence[x509.GeneralName] = ()
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            names = tuple(extension.value)

    def of(kind: Any) -> tuple[str, ...]:
        return tuple(str(name.value) for name in names if isinstance(name, kind))

    common = [str(each.value) for each in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(each.value) for each in found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return _Request(
        common[-1] if common else "",
        groups,
        of(x509.DNSName),
        of(x509.RFC822Name),
        of(x509.IPAddress),
        of(x509.UniformResourceIdentifier),
    )


def _wrong_usages(usages: Iterable[str], purpose: str) -> str:
    given, required = set(usages), {*_RSA_USAGES, purpose}
    if given in (required, required - {"key encipherment"}):
        return ""
    return f"usages did not match [{' '.join(sorted(required))}]"


def kubelet_client_problem(request: _Request, usages: Iterable[str]) -> str:
    """Why this is no request for a kubelet's client certificate; empty when it is one."""
    if request.organizations != ("system:nodes",):
        return "subject organization is not system:nodes"
    for names, kind in (
        (request.dns, "DNS"),
        (request.emails, "Email"),
        (request.addresses, "IP"),
        (request.uris, "URI"),
    ):
        if names:
            return f"{kind} subjectAltNames are not allowed"
    if not request.common_name.startswith("system:node:"):
        return "subject common name does not begin with system:node:"
    return _wrong_usages(usages, "client auth")


def kubelet_serving_problem(request: _Request, usages: Iterable[str]) -> str:
    """Why this is no request for a kubelet's serving certificate; empty when it is one."""
    if request.organizations != ("system:nodes",):
        return "subject organization is not system:nodes"
    if not request.dns and not request.addresses:
        return "DNS or IP subjectAltName is required"
    if request.emails:
        return "Email subjectAltNames are not allowed"
    if request.uris:
        return "URI subjectAltNames are not allowed"
    wrong = _wrong_usages(usages, "server auth")
    if wrong:
        return wrong
    return (
        "" if request.common_name.startswith("system:node:") else "subject common name does not begin with system:node:"
    )


def client_problem(usages: Iterable[str]) -> str:
    usages = list(usages)
    for usage in usages:
        if usage not in (*_RSA_USAGES, "client auth"):
            return f"invalid usage for client certificate: {usage}"
    return "" if "client auth" in usages else "missing required usage for client certificate: client auth"


def _conditions(csr: Object) -> list[dict[str, Any]]:
    return list((csr.get("status") or {}).get("conditions") or ())


def _has(csr: Object, kind: str) -> bool:
    return find(_conditions(csr), kind) is not None


def _is_issued(csr: Object) -> bool:
    return bool((csr.get("status") or {}).get("certificate"))


def _with_condition(csr: Object, condition: Mapping[str, Any]) -> Object:
    status = {**(csr.get("status") or {}), "conditions": [*_conditions(csr), dict(condition)]}
    return {**csr, "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "status": status}


class CsrApproving:
    name = "certificatesigningrequest-approving-controller"
    service_account = "certificate-controller"
    workers = 5
    watches = (Watch(CERTIFICATE_SIGNING_REQUESTS, own_key),)

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        csr = view.get(CERTIFICATE_SIGNING_REQUESTS, "", key)
        if csr is None or _is_issued(csr) or _has(csr, "Approved") or _has(csr, "Denied"):
            return
        spec = csr["spec"]
        if spec.get("signerName") != KUBELET_CLIENT:
            return
        request = _parsed(csr)
        if kubelet_client_problem(request, spec.get("usages") or ()):
            return
        kinds = [("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.")]
        if spec.get("username") == request.common_name:
            message = "Auto approving self kubelet client certificate after SubjectAccessReview."
            kinds.insert(0, ("selfnodeclient", message))
        for subresource, message in kinds:
            review = yield Create(ACCESS_REVIEWS, _access_review(spec, subresource))
            if (review.get("status") or {}).get("allowed"):
                condition = {"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message}
                yield Update(CERTIFICATE_SIGNING_REQUESTS, _with_condition(csr, condition), "approval")
                return
        tried = " ".join(subresource for subresource, _ in kinds)
        raise TryAgain(f'recognized csr "{key}" as [{tried}] but subject access review was not approved')


def _access_review(spec: Mapping[str, Any], subresource: str) -> Object:
    attributes = {
        "group": "certificates.k8s.io",
        "resource": "certificatesigningrequests",
        "subresource": subresource,
        "verb": "create",
        "version": "*",
    }
    asked = {"user": spec.get("username", ""), "uid": spec.get("uid", ""), "groups": list(spec.get("groups") or ())}
    asked["extra"] = dict(spec.get("extra") or {})
    return {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {**asked, "resourceAttributes": attributes},
    }


class CsrSigning:
    name = "certificatesigningrequest-signing-controller"
    service_account = "certificate-controller"
    workers = 5
    watches = (Watch(CERTIFICATE_SIGNING_REQUESTS, own_key),)

    def __init__(self, settings: Settings) -> None:
        self._pair = Pair(settings.signer_certificate, settings.signer_key)
        self._lifetime_s = settings.signing_lifetime_s

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        csr = view.get(CERTIFICATE_SIGNING_REQUESTS, "", key)
        if csr is None or _is_issued(csr) or not _has(csr, "Approved") or _has(csr, "Denied") or _has(csr, "Failed"):
            return
        spec = csr["spec"]
        signer = spec.get("signerName")
        if signer not in (CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY) or not self._pair.certificate:
            return
        problem = self._problem(signer, csr)
        if not problem:
            try:
                certificate = self._sign(csr, now)
            except ValueError as error:
                raise TryAgain(f"error auto signing csr: {error}") from error
            status = {**(csr.get("status") or {}), "certificate": base64.b64encode(certificate).decode()}
            signed = {**_with_condition(csr, {}), "status": status}
            yield Update(CERTIFICATE_SIGNING_REQUESTS, signed, "status")
            return
        condition = {
            "type": "Failed",
            "status": "True",
            "reason": "SignerValidationFailure",
            "message": problem,
            "lastUpdateTime": format_time(now),
        }
        yield Update(CERTIFICATE_SIGNING_REQUESTS, _with_condition(csr, condition), "status")

    @staticmethod
    def _problem(signer: str, csr: Object) -> str:
        usages = csr["spec"].get("usages") or ()
        request = _parsed(csr)
        if signer == KUBELET_SERVING:
            return kubelet_serving_problem(request, usages)
        if signer == KUBELET_CLIENT:
            return kubelet_client_problem(request, usages)
        return client_problem(usages) if signer == CLIENT else ""

    def _sign(self, csr: Object, now: float) -> bytes:
        spec = csr["spec"]
        asked_s = spec.get("expirationSeconds")
        lifetime_s = self._lifetime_s if asked_s is None else min(self._lifetime_s, max(LIFETIME_MIN_S, int(asked_s)))
        # The serial number follows from what is signed and when: a repetition after a crash makes the same one.
        seed = hashlib.sha256(f"{uid_of(csr)}/{int(now)}".encode()).digest()
        authority = Authority(self._pair, ManualClock(now), Random(int.from_bytes(seed[:8], "big")))
        shortened_s = lifetime_s if lifetime_s < SHORT_S else lifetime_s - BACKDATE_S
        return authority.sign_request(_pem(csr), list(spec.get("usages") or ()), shortened_s)


class CsrCleaner:
    name = "certificatesigningrequest-cleaner-controller"
    service_account = "certificate-controller"
    workers = 1
    watches = (Watch(CERTIFICATE_SIGNING_REQUESTS, own_key),)

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        csr = view.get(CERTIFICATE_SIGNING_REQUESTS, "", key)
        if csr is None:
            return
        due_s = min(_deadlines(csr), default=None)
        if due_s is None:
            return
        if due_s < now:
            yield Delete(CERTIFICATE_SIGNING_REQUESTS, key, uid=uid_of(csr))
        else:
            yield Again(due_s - now + 0.001)


def _deadlines(csr: Object) -> Iterable[float]:
    conditions = _conditions(csr)
    if not conditions:
        created_s = created_at(csr)
        if created_s is not None:
            yield created_s + PENDING_S
    for condition in conditions:
        updated_s = time_of(condition, "lastUpdateTime")
        if condition.get("type") in ("Denied", "Failed") and updated_s is not None:
            yield updated_s + DENIED_S
        if condition.get("type") == "Approved":
            if updated_s is not None:
                yield updated_s + (ISSUED_S if _is_issued(csr) else PENDING_S)
            if _is_issued(csr):
                end_s = _certificate_end(csr)
                if end_s is not None:
                    yield end_s


def _certificate_end(csr: Object) -> float | None:
    try:
        return expires_at(base64.b64decode(csr["status"]["certificate"]))
    except ValueError:
        return None
