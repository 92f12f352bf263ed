import base64

import pytest

from cybernetes.core.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from cybernetes.core.auth import certificates
from cybernetes.core.clock import Random
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CERTIFICATE_SIGNING_REQUESTS as CSR

SIGNER = "kubernetes.io/kube-apiserver-client"


def request(signer=SIGNER, groups=(), **status):
    pem = certificates.new_request("jane", list(groups), Random(1)).certificate
    spec = {"signerName": signer, "request": base64.b64encode(pem).decode()}
    return {"metadata": {"name": "r"}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("plugin", "verb", "part", "new"),
    [
        (CertificateApproval(), "approve", "approval", request(conditions=[{"type": "Approved"}])),
        (CertificateSigning(), "sign", "status", request(certificate="x")),
    ],
)
def test_signers(world, plugin, verb, part, new):
    attributes = world.write(CSR, new, old=request(), subresource=part, namespace="")
    with pytest.raises(ApiError) as caught:
        plugin.validate(attributes, world)
    assert caught.value.message == (
        f'certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to {verb} requests with '
        f'signerName "{SIGNER}"'
    )
    for name in (SIGNER, "kubernetes.io/*"):
        world.allowed = {(verb, "signers", name)}
        plugin.validate(attributes, world)
    world.allowed = set()
    plugin.validate(world.write(CSR, new, old=request(), namespace=""), world)
    plugin.validate(world.write(CSR, None, old=request(), operation="DELETE", subresource=part, namespace=""), world)


def test_a_status_without_certificate_or_condition_is_free(world):
    CertificateSigning().validate(world.write(CSR, request(), old=request(), subresource="status", namespace=""), world)


def test_nobody_becomes_a_master(world):
    plugin = CertificateSubjectRestriction()
    plugin.validate(world.write(CSR, request(groups=["dev"]), namespace=""), world)
    plugin.validate(world.write(CSR, request("example.com/other", ["system:masters"]), namespace=""), world)
    with pytest.raises(ApiError, match=f"use of {SIGNER} signer with system:masters group is not allowed"):
        plugin.validate(world.write(CSR, request(groups=["dev", "system:masters"]), namespace=""), world)
    broken = request()
    broken["spec"]["request"] = "bm8="
    with pytest.raises(ApiError, match="failed to parse CSR: "):
        plugin.validate(world.write(CSR, broken, namespace=""), world)
