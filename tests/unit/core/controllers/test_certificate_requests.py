"""Certificate requests: who is approved, what is signed and refused, and when they are cleaned away."""

import base64

import pytest
from cryptography import x509
from world import World

from cybernetes.core.auth.certificates import Authority, new_request
from cybernetes.core.clock import ManualClock, Random, format_time
from cybernetes.core.controllers.certificate_requests import (
    ACCESS_REVIEWS,
    CLIENT,
    KUBELET_CLIENT,
    KUBELET_SERVING,
    LEGACY,
    CsrApproving,
    CsrCleaner,
    CsrSigning,
)
from cybernetes.core.controllers.interface import Create, Settings
from cybernetes.core.objects import CERTIFICATE_SIGNING_REQUESTS as CSRS

AUTHORITY = Authority.create("ca", ManualClock(1.7e9), Random(1))
SETTINGS = Settings(signer_certificate=AUTHORITY.pair.certificate, signer_key=AUTHORITY.pair.key)
CLIENT_USAGES = ["digital signature", "client auth"]
SERVER_USAGES = ["digital signature", "key encipherment", "server auth"]


def csr(
    signer=KUBELET_CLIENT,
    name="system:node:n1",
    groups=("system:nodes",),
    usages=None,
    username="system:bootstrap:x",
    dns=(),
    addresses=(),
    **spec,
):
    request = new_request(name, groups, Random(2), names=dns, addresses=addresses).certificate
    made = {
        "request": base64.b64encode(request).decode(),
        "signerName": signer,
        "usages": CLIENT_USAGES if usages is None else usages,
        "username": username,
        "groups": ["system:bootstrappers"],
    }
    return {"metadata": {"name": "r"}, "spec": {**made, **spec}}


def conditions(world):
    return [(one["type"], one.get("reason")) for one in world.read(CSRS, "r", "")["status"].get("conditions", [])]


def approve(world, kind="Approved"):
    condition = {"type": kind, "status": "True", "lastUpdateTime": format_time(world.now)}
    world.change(CSRS, "r", {"status": {"conditions": [condition]}}, "", "status")


class Reviewed(World):
    """A world that answers access reviews: ``allowed`` lists the subresources that may be created."""

    allowed: tuple[str, ...] = ()

    def do(self, action, *rest):
        if isinstance(action, Create) and action.gvr == ACCESS_REVIEWS:
            self.reviews.append(action.obj["spec"])
            wanted = action.obj["spec"]["resourceAttributes"]["subresource"]
            return {"metadata": {}, "status": {"allowed": wanted in self.allowed}}
        return super().do(action, *rest)

    def __init__(self, *makers):
        self.reviews = []
        super().__init__(*makers)


def test_a_kubelet_that_may_is_approved():
    world = Reviewed(CsrApproving)
    world.allowed = ("nodeclient",)
    world.create(CSRS, csr(uid="u", extra={"k": ["v"]}))
    world.settle()
    assert conditions(world) == [("Approved", "AutoApproved")]
    message = world.read(CSRS, "r", "")["status"]["conditions"][0]["message"]
    assert message == "Auto approving kubelet client certificate after SubjectAccessReview."
    (review,) = world.reviews
    assert review["user"] == "system:bootstrap:x" and review["groups"] == ["system:bootstrappers"]
    assert review["uid"] == "u" and review["extra"] == {"k": ["v"]}


def test_a_node_renews_its_own_certificate():
    world = Reviewed(CsrApproving)
    world.allowed = ("selfnodeclient",)
    world.create(CSRS, csr(username="system:node:n1"))
    world.settle()
    message = world.read(CSRS, "r", "")["status"]["conditions"][0]["message"]
    assert message == "Auto approving self kubelet client certificate after SubjectAccessReview."


def test_who_may_not_waits_with_growing_delays():
    world = Reviewed(CsrApproving)
    world.create(CSRS, csr())
    world.pass_time(3600)
    assert "conditions" not in world.read(CSRS, "r", "").get("status", {})
    assert 5 < len(world.reviews) < 30
    world.allowed = ("nodeclient",)
    world.pass_time(1000)
    assert conditions(world) == [("Approved", "AutoApproved")]


@pytest.mark.parametrize(
    "odd",
    [
        {"signer": CLIENT},
        {"name": "jane"},
        {"groups": ("system:nodes", "system:masters")},
        {"groups": ()},
        {"usages": [*CLIENT_USAGES, "server auth"]},
        {"dns": ("n1",)},
        {"addresses": ("10.0.0.1",)},
    ],
)
def test_what_is_no_kubelets_client_certificate_is_left_to_people(odd):
    world = Reviewed(CsrApproving)
    world.allowed = ("nodeclient", "selfnodeclient")
    world.create(CSRS, csr(**odd))
    world.settle()
    assert world.reviews == [] and world.writes == []


def signed(world):
    certificate = base64.b64decode(world.read(CSRS, "r", "")["status"]["certificate"])
    return x509.load_pem_x509_certificate(certificate)


@pytest.mark.parametrize(
    ("made", "lifetime_s"),
    [
        ({}, 365 * 86400 - 300),
        ({"expirationSeconds": 3600}, 3600),
        ({"expirationSeconds": 60}, 600),
        ({"expirationSeconds": 86400}, 86400 - 300),
        ({"expirationSeconds": 10**9}, 365 * 86400 - 300),
        ({"signer": KUBELET_SERVING, "usages": SERVER_USAGES, "dns": ("n1",), "addresses": ("10.0.0.1",)}, None),
        ({"signer": CLIENT, "name": "jane", "groups": ("dev",)}, None),
        ({"signer": LEGACY, "name": "any", "usages": ["any", "cert sign"]}, None),
    ],
)
def test_approved_requests_are_signed(made, lifetime_s):
    world = World(lambda: CsrSigning(SETTINGS))
    made = csr(**made)
    world.create(CSRS, made)
    world.settle()
    assert world.writes == []
    approve(world)
    world.settle()
    certificate = signed(world)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(AUTHORITY.certificate))
    assert certificate.not_valid_before_utc.timestamp() == 1.7e9 - 300
    if lifetime_s is not None:
        assert certificate.not_valid_after_utc.timestamp() == 1.7e9 + lifetime_s
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not basic.ca
    if made["spec"]["signerName"] == KUBELET_SERVING:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["n1"]
    assert conditions(world) == [("Approved", None)]
    count = len(world.writes)
    world.start_controllers()
    world.settle()
    assert len(world.writes) == count == 1


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"groups": ("other",)}, "subject organization is not system:nodes"),
        ({"name": "jane"}, "subject common name does not begin with system:node:"),
        ({"dns": ("x",)}, "DNS subjectAltNames are not allowed"),
        ({"addresses": ("10.0.0.1",)}, "IP subjectAltNames are not allowed"),
        ({"usages": ["any"]}, "usages did not match [client auth digital signature key encipherment]"),
        ({"signer": KUBELET_SERVING, "usages": SERVER_USAGES}, "DNS or IP subjectAltName is required"),
        (
            {"signer": KUBELET_SERVING, "dns": ("n1",)},
            "usages did not match [digital signature key encipherment server auth]",
        ),
        ({"signer": CLIENT, "usages": ["server auth"]}, "invalid usage for client certificate: server auth"),
        (
            {"signer": CLIENT, "usages": ["digital signature"]},
            "missing required usage for client certificate: client auth",
        ),
    ],
)
def test_what_a_signer_does_not_allow_fails(made, message):
    world = World(lambda: CsrSigning(SETTINGS))
    world.create(CSRS, csr(**made))
    approve(world)
    world.settle()
    assert conditions(world) == [("Approved", None), ("Failed", "SignerValidationFailure")]
    assert world.read(CSRS, "r", "")["status"]["conditions"][1]["message"] == message
    world.pass_time(3600)
    assert len(world.writes) == 1


def test_other_signers_and_denied_requests_are_not_signed():
    world = World(lambda: CsrSigning(SETTINGS))
    world.create(CSRS, csr(signer="example.com/mine"))
    approve(world)
    world.settle()
    world.drop(CSRS, world.read(CSRS, "r", ""))
    world.create(CSRS, csr())
    approve(world, "Denied")
    world.settle()
    assert world.writes == []


def test_a_request_that_cannot_be_read_does_not_spin():
    world = World(lambda: CsrSigning(SETTINGS), CsrApproving)
    for number, text in enumerate(("%%", base64.b64encode(b"nonsense").decode())):
        broken = csr()
        broken["spec"]["request"] = text
        broken["metadata"]["name"] = f"r{number}"
        broken["status"] = {"conditions": [{"type": "Approved", "status": "True"}]}
        world.create(CSRS, broken)
    world.pass_time(3600)
    assert world.writes == [] and world.reconciles < 60


@pytest.mark.parametrize(
    ("kind", "is_issued", "kept_s"),
    [
        (None, False, 24 * 3600),
        ("Denied", False, 3600),
        ("Failed", False, 3600),
        ("Approved", False, 24 * 3600),
        ("Approved", True, 3600),
    ],
)
def test_requests_are_cleaned_away(kind, is_issued, kept_s):
    world = World(lambda: CsrSigning(SETTINGS), CsrCleaner) if is_issued else World(CsrCleaner)
    world.create(CSRS, csr())
    if kind:
        approve(world, kind)
    world.pass_time(kept_s - 1)
    assert len(world.all(CSRS)) == 1
    world.pass_time(3)
    assert world.all(CSRS) == []


def test_a_short_certificate_takes_its_request_with_it():
    world = World(lambda: CsrSigning(SETTINGS), CsrCleaner)
    world.create(CSRS, csr(expirationSeconds=600))
    approve(world)
    world.pass_time(599)
    assert len(world.all(CSRS)) == 1
    world.pass_time(3)
    assert world.all(CSRS) == []
