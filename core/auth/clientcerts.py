"""Whether an authority that we trust has signed a client's certificate.

The TLS layer only makes sure that the client holds its key; whose certificate it is, is judged here, so that a stranger
is answered 401 and not cut off. The rules are those of Go's ``x509.Certificate.Verify`` for client authentication: a
chain to a trusted authority, each link in its time, and the purpose, where one is named, client authentication or any.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cybernetes.core.auth import user as users
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Clock

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509 import verification

#: So many judged certificates are remembered before the memory is started anew.
_REMEMBERED_MAX = 4096


class Verified(NamedTuple):
    """``name`` and ``groups`` are the last common name and the organizations; ``until`` when the certificate ends."""

    name: str
    groups: tuple[str, ...]
    fingerprint: str
    until: float

    @property
    def user(self) -> User | None:
        """Whom it names; None when it has no common name."""
        if not self.name:
            return None
        return User(self.name, "", self.groups, {users.CREDENTIAL_ID: (f"X509SHA256={self.fingerprint}",)})


class Verifier:
    """``authorities`` are PEM certificates, one or several. Raises ValueError when there are none."""

    def __init__(self, authorities: bytes, clock: Clock) -> None:
        self._authorities = authorities
        self._clock = clock
        self._trusted: verification.Store | None = None
        self._remembered: dict[bytes, Verified] = {}

    def verify(self, certificate: bytes, chain: Sequence[bytes] = ()) -> Verified | None:
        """What a certificate (DER) says, or None when it is not to be trusted. ``chain`` is what the client sent with
        it. 300 µs the first time, 1 µs later; those that are refused are not remembered."""
        now = self._clock.now()
        known = self._remembered.get(certificate)
        if known is not None:
            return known if now < known.until else None
        found = self._judge(certificate, chain, now)
        if found is not None:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[certificate] = found
        return found

    def _judge(self, certificate: bytes, chain: Sequence[bytes], now: float) -> Verified | None:
        from cryptography import x509  # late: 100 ms, and most servers of tests see no certificate
        from cryptography.x509 import verification
        from cryptography.x509.oid import NameOID

        if self._trusted is None:
            self._trusted = verification.Store(x509.load_pem_x509_certificates(self._authorities))
        try:
            leaf = x509.load_der_x509_certificate(certificate)
            others = [x509.load_der_x509_certificate(each) for each in chain if each != certificate]
            verifier = (
                verification.PolicyBuilder()
                .store(self._trusted)
                .time(datetime.datetime.fromtimestamp(now, datetime.UTC).replace(tzinfo=None))
                .extension_policies(ca_policy=_authority_policy(), ee_policy=_leaf_policy())
                .build_client_verifier()
            )
            verified = verifier.verify(leaf, others)
            subject = leaf.subject
            names = [str(each.value) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            groups = tuple(str(each.value) for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
        except (verification.VerificationError, ValueError):
            return None
        until = min(each.not_valid_after_utc.timestamp() for each in verified.chain)
        return Verified(names[-1] if names else "", groups, hashlib.sha256(certificate).hexdigest(), until)


def _authority_policy() -> verification.ExtensionPolicy:
    from cryptography import x509
    from cryptography.x509.verification import Criticality, ExtensionPolicy

    return ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)


def _leaf_policy() -> verification.ExtensionPolicy:
    from cryptography import x509
    from cryptography.x509.verification import Criticality, ExtensionPolicy

    return ExtensionPolicy.permit_all().may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_purpose)


def _check_purpose(
    policy: verification.Policy, certificate: x509.Certificate, extension: x509.ExtendedKeyUsage | None
) -> None:
    """Raises ValueError for a certificate that was made for something else."""
    from cryptography.x509.oid import ExtendedKeyUsageOID

    allowed = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if extension is not None and not any(purpose in allowed for purpose in extension):
        raise ValueError("not for client authentication")
