"""Which client certificates are trusted: their authority, their time, their purpose, their chain."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from cybernetes.core.auth.certificates import Authority, new_key
from cybernetes.core.auth.clientcerts import Verifier
from cybernetes.core.clock import ManualClock, Random

CLOCK = ManualClock()
OURS = Authority.create("ours", CLOCK, Random(1))


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def test_a_certificate_of_ours() -> None:
    clock = ManualClock()
    verifier = Verifier(OURS.certificate, clock)
    certificate = der(OURS.issue_client("jane", ("a", "b")).certificate)
    for _ in range(2):  # the second time from memory
        found = verifier.verify(certificate)
        assert found is not None and found.user is not None
        assert (found.user.name, found.user.groups) == ("jane", ("a", "b"))
    assert found.until > clock.now() + 300 * 86400
    clock.advance(366 * 86400)
    assert verifier.verify(certificate) is None


def test_strangers() -> None:
    verifier = Verifier(OURS.certificate, CLOCK)
    other = Authority.create("ours", CLOCK, Random(2))
    assert verifier.verify(der(other.issue_client("jane").certificate)) is None
    assert verifier.verify(der(other.certificate), [der(OURS.certificate)]) is None
    assert verifier.verify(b"no certificate") is None
    both = Verifier(OURS.certificate + other.certificate, CLOCK)
    assert both.verify(der(other.issue_client("jane").certificate)) is not None


def test_a_certificate_for_another_purpose() -> None:
    server = OURS._issue("x", (), ("x.example",), (), ("server auth",), 3600)
    assert Verifier(OURS.certificate, CLOCK).verify(der(server.certificate)) is None
    nobody = OURS.issue_client("")
    found = Verifier(OURS.certificate, CLOCK).verify(der(nobody.certificate))
    assert found is not None and found.user is None


def signed(subject: str, key, issuer: x509.Certificate | None, issuer_key, *, is_authority: bool) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.datetime.fromtimestamp(CLOCK.now(), datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer is not None else name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )
    if is_authority:
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def test_a_chain_is_followed_and_only_through_authorities() -> None:
    keys = [new_key(Random(seed)) for seed in range(3)]
    root = signed("root", keys[0], None, keys[0], is_authority=True)
    for is_authority in (True, False):
        middle = signed("middle", keys[1], root, keys[0], is_authority=is_authority)
        leaf = signed("jane", keys[2], middle, keys[1], is_authority=False)
        verifier = Verifier(root.public_bytes(serialization.Encoding.PEM), CLOCK)
        raw = [each.public_bytes(serialization.Encoding.DER) for each in (leaf, middle)]
        assert verifier.verify(raw[0]) is None
        found = verifier.verify(raw[0], raw)
        assert (found is not None) is is_authority
