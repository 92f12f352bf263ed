"""Certificates of the cluster: the authority, servers, clients, and requests that are to be signed.

Keys are ECDSA P-256 (an RSA key takes 54 ms to make, this one 30 µs). A client certificate names its user in the common
name and its groups as organizations, which is all that Kubernetes reads from it. PEM goes in and comes out; files are
somebody else's. The x509 parser takes 100 ms to import, so only the functions that build or read certificates load it.
(``clientcerts`` judges those of clients.)
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cybernetes.core.clock import Clock, Random

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

DAY_S = 86_400
AUTHORITY_LIFETIME_S = 3650 * DAY_S
LEAF_LIFETIME_S = 365 * DAY_S
#: Certificates are valid from a little before now, for peers whose clock is behind.
BACKDATE_S = 300
#: The order of the group of P-256: a private key is a number below it.
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Pair(NamedTuple):
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def new_key(random: Random) -> ec.EllipticCurvePrivateKey:
    """A private key from ``random``: one seed, one key."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.derive_private_key(1 + random.below(_P256_ORDER - 1), ec.SECP256R1())


def key_pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """PKCS #8, not encrypted."""
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_key_pem(random: Random) -> bytes:
    """A new private key as PEM: what signs ServiceAccount tokens."""
    return key_pem(new_key(random))


def api_server_names(cluster_domain: str = "cluster.local") -> tuple[str, ...]:
    """The DNS names under which pods and this machine reach the API server."""
    return (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{cluster_domain}",
        "localhost",
    )


class Authority:
    """A certificate authority. It remembers nothing of what it has signed."""

    def __init__(self, pair: Pair, clock: Clock, random: Random) -> None:
        """Raises ValueError when the PEM is not a certificate and its key."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization

        self.pair = pair
        self._clock = clock
        self._random = random
        self._certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, None)
        if key.public_key() != self._certificate.public_key():
            raise ValueError("the authority's key is not the key of its certificate")
        self._key: Any = key

    @classmethod
    def create(cls, common_name: str, clock: Clock, random: Random) -> Authority:
        """A new self-signed authority, valid for ten years."""
        from cryptography import x509

        key = new_key(random)
        name = _name(common_name, ())
        builder = _builder(name, name, key.public_key(), clock.now(), AUTHORITY_LIFETIME_S, random)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return cls(Pair(_signed(builder, key), key_pem(key)), clock, random)

    @property
    def certificate(self) -> bytes:
        """PEM of the authority: what clients are told to trust."""
        return self.pair.certificate

    def issue_server(
        self,
        common_name: str,
        names: Sequence[str],
        addresses: Sequence[str],
        *,
        organizations: Sequence[str] = (),
        lifetime_s: int = LEAF_LIFETIME_S,
    ) -> Pair:
        """A server's certificate for these DNS names and IP addresses, with a new key."""
        return self._issue(common_name, organizations, names, addresses, ("server auth",), lifetime_s)

    def issue_client(self, user_name: str, groups: Sequence[str] = (), *, lifetime_s: int = LEAF_LIFETIME_S) -> Pair:
        """A client's certificate: it authenticates as ``user_name`` in ``groups``, with a new key."""
        return self._issue(user_name, groups, (), (), ("client auth",), lifetime_s)

    def issue_both(
        self,
        user_name: str,
        groups: Sequence[str],
        names: Sequence[str],
        addresses: Sequence[str],
        *,
        lifetime_s: int = LEAF_LIFETIME_S,
    ) -> Pair:
        """One certificate for a node agent that serves and calls."""
        return self._issue(user_name, groups, names, addresses, ("server auth", "client auth"), lifetime_s)

    def sign_request(self, request: bytes, usages: Sequence[str], lifetime_s: int) -> bytes:
        """Sign a PEM certificate request, keeping its subject and alternative names. Returns the certificate's PEM.

        ``usages`` are those of ``certificates.k8s.io`` (``digital signature``, ``client auth`` …); unknown ones are
        refused with ValueError, as is a request that is not signed by its own key. The certificate never outlives the
        authority.
        """
        from cryptography import x509

        parsed = x509.load_pem_x509_csr(request)
        if not parsed.is_signature_valid:
            raise ValueError("the request is not signed by its own key")
        now = self._clock.now()
        left_s = self._certificate.not_valid_after_utc.timestamp() - now
        builder = _builder(
            self._certificate.subject, parsed.subject, parsed.public_key(), now, min(lifetime_s, left_s), self._random
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        for name in parsed.extensions:
            if isinstance(name.value, x509.SubjectAlternativeName):
                builder = builder.add_extension(name.value, critical=name.critical)
        return self._finished(builder, usages)

    def _issue(
        self,
        common_name: str,
        organizations: Sequence[str],
        names: Sequence[str],
        addresses: Sequence[str],
        purposes: Sequence[str],
        lifetime_s: int,
    ) -> Pair:
        from cryptography import x509

        key = new_key(self._random)
        subject = _name(common_name, organizations)
        builder = _builder(
            self._certificate.subject, subject, key.public_key(), self._clock.now(), lifetime_s, self._random
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys(names)]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in dict.fromkeys(addresses)]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return Pair(self._finished(builder, ("digital signature", *purposes)), key_pem(key))

    def _finished(self, builder: x509.CertificateBuilder, usages: Sequence[str]) -> bytes:
        from cryptography import x509

        purposes, flags = _usages(usages)
        builder = builder.add_extension(_key_usage(flags=flags), critical=True)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._certificate.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
        return _signed(builder, self._key)


def new_request(
    user_name: str, groups: Sequence[str], random: Random, *, names: Sequence[str] = (), addresses: Sequence[str] = ()
) -> Pair:
    """A certificate request (in ``certificate``) and the new key that signed it: how a node asks for its identity."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    key = new_key(random)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(user_name, groups))
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    request = builder.sign(key, hashes.SHA256())
    return Pair(request.public_bytes(serialization.Encoding.PEM), key_pem(key))


def subject_of_request(request: bytes) -> tuple[str, tuple[str, ...]]:
    """The common name and the organizations that a PEM certificate request asks for. Raises ValueError."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    subject = x509.load_pem_x509_csr(request).subject
    names = [str(each.value) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(each.value) for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return names[-1] if names else "", groups


def expires_at(certificate: bytes) -> float:
    """Seconds since the epoch at which a PEM certificate ends."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()


_FLAGS = {
    "digital signature": "digital_signature",
    "signing": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "data encipherment": "data_encipherment",
    "key agreement": "key_agreement",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
}
_PURPOSES = {
    "server auth": "1.3.6.1.5.5.7.3.1",
    "client auth": "1.3.6.1.5.5.7.3.2",
    "code signing": "1.3.6.1.5.5.7.3.3",
    "email protection": "1.3.6.1.5.5.7.3.4",
    "s/mime": "1.3.6.1.5.5.7.3.4",
    "ipsec end system": "1.3.6.1.5.5.7.3.5",
    "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
    "ipsec user": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocsp signing": "1.3.6.1.5.5.7.3.9",
    "any": "2.5.29.37.0",
    "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
    "netscape sgc": "2.16.840.1.113730.4.1",
}


def _usages(usages: Sequence[str]) -> tuple[list[x509.ObjectIdentifier], set[str]]:
    from cryptography.x509 import ObjectIdentifier

    purposes: list[x509.ObjectIdentifier] = []
    flags: set[str] = set()
    for usage in usages:
        if usage in _FLAGS:
            flags.add(_FLAGS[usage])
        elif usage in _PURPOSES:
            purpose = ObjectIdentifier(_PURPOSES[usage])
            if purpose not in purposes:
                purposes.append(purpose)
        else:
            raise ValueError(f"unknown key usage {usage!r}")
    return purposes, flags


def _key_usage(flags: set[str] | None = None, *, signs_certificates: bool = False) -> x509.KeyUsage:
    from cryptography import x509

    wanted = {"digital_signature", "key_cert_sign", "crl_sign"} if signs_certificates else flags or set()
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
    )
    chosen = {name: name in wanted for name in names}
    return x509.KeyUsage(**chosen, encipher_only=False, decipher_only=False)


def _name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    # Not validated: the standard's limit of 64 characters is below that of a node's name, and nobody else holds to it.
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group, _validate=False) for group in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False)])


def _builder(
    issuer: x509.Name, subject: x509.Name, public_key: Any, now: float, lifetime_s: float, random: Random
) -> x509.CertificateBuilder:
    from cryptography import x509

    start = datetime.datetime.fromtimestamp(int(now) - BACKDATE_S, datetime.UTC)
    end = datetime.datetime.fromtimestamp(int(now + lifetime_s), datetime.UTC)
    serial = int.from_bytes(random.token(16), "big") >> 1 or 1
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _signed(builder: x509.CertificateBuilder, key: CertificateIssuerPrivateKeyTypes) -> bytes:
    from cryptography.hazmat.primitives import hashes, serialization

    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
