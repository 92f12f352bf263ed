"""Who may approve and sign certificate requests, and what nobody may ask for."""

from __future__ import annotations

import base64
import binascii

from cybernetes.core.admission.contract import Attributes, Reader, refused
from cybernetes.core.auth import attributes as auth
from cybernetes.core.auth import certificates, user
from cybernetes.core.errors import quoted
from cybernetes.core.objects import CERTIFICATE_SIGNING_REQUESTS, Object

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING_SIGNER = "kubernetes.io/kubelet-serving"


class CertificateApproval:
    """Approving needs the verb ``approve`` on the signer, or on all signers of its domain.

    Source: documentation "Certificates and Certificate Signing Requests", authorization.
    """

    name = "CertificateApproval"

    def validate(self, attributes: Attributes, cluster: Reader) -> None:
        old = attributes.old
        if old is None or attributes.operation != "UPDATE":
            return
        if not attributes.is_for(CERTIFICATE_SIGNING_REQUESTS, "approval"):
            return
        signer = old["spec"].get("signerName", "")
        if not _may(attributes, cluster, "approve", signer):
            raise refused(attributes, f"user not permitted to approve requests with signerName {quoted(signer)}")


class CertificateSigning:
    """Issuing a certificate or a condition needs the verb ``sign``. Source as above."""

    name = "CertificateSigning"

    def validate(self, attributes: Attributes, cluster: Reader) -> None:
        new, old = attributes.obj, attributes.old
        if new is None or old is None or attributes.operation != "UPDATE":
            return
        if not attributes.is_for(CERTIFICATE_SIGNING_REQUESTS, "status"):
            return
        before, after = old.get("status") or {}, new.get("status") or {}
        if all(before.get(key) == after.get(key) for key in ("certificate", "conditions")):
            return
        signer = old["spec"].get("signerName", "")
        if not _may(attributes, cluster, "sign", signer):
            raise refused(attributes, f"user not permitted to sign requests with signerName {quoted(signer)}")


class CertificateSubjectRestriction:
    """Nobody becomes system:masters by a certificate request. Source as above."""

    name = "CertificateSubjectRestriction"

    def validate(self, attributes: Attributes, cluster: Reader) -> None:
        new = attributes.obj
        if new is None or attributes.operation != "CREATE" or not attributes.is_for(CERTIFICATE_SIGNING_REQUESTS):
            return
        if new["spec"].get("signerName") != CLIENT_SIGNER:
            return
        _, groups = requested_subject(attributes, new, "failed to parse CSR")
        if user.MASTERS in groups:
            why = f"use of {CLIENT_SIGNER} signer with {user.MASTERS} group is not allowed"
            raise refused(attributes, why)


def requested_subject(attributes: Attributes, request: Object, problem: str) -> tuple[str, tuple[str, ...]]:
    """Whose certificate is asked for. Raises ApiError when the request cannot be read."""
    try:
        pem = base64.b64decode(request["spec"].get("request", ""), validate=True)
        return certificates.subject_of_request(pem)
    except (binascii.Error, ValueError) as error:
        raise refused(attributes, f"{problem}: {error}") from None


def _may(attributes: Attributes, cluster: Reader, verb: str, signer: str) -> bool:
    for name in (signer, f"{signer.partition('/')[0]}/*"):
        asked = auth.Attributes(verb, "certificates.k8s.io", "*", "signers", "", "", name)
        if cluster.authorize(attributes.user, asked).allowed:
            return True
    return False
