"""Keys that sign and verify tokens (RFC 7515 and 7518): ES256, ES384, ES512 and RS256.

PyJWT signs and verifies with them, and writes them as JWKs; it is imported with the first token. The crypto library is
loaded when the first key is.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}  # by curve


class Key:
    """A public key that tokens are verified with, and its private half where there is one."""

    def __init__(self, pem: bytes) -> None:
        """``pem`` is a private or a public key, RSA or ECDSA. Raises ValueError for anything else."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        private = None if b"PUBLIC KEY" in pem else serialization.load_pem_private_key(pem, None)
        public = serialization.load_pem_public_key(pem) if private is None else private.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _ALGORITHMS:
            self.algorithm = _ALGORITHMS[public.curve.name]
        elif isinstance(public, rsa.RSAPublicKey):
            self.algorithm = "RS256"
        else:
            raise ValueError("tokens are signed with RSA keys or ECDSA keys on P-256, P-384 or P-521")
        assert private is None or isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        self.public: EllipticCurvePublicKey | RSAPublicKey = public
        self.private: EllipticCurvePrivateKey | RSAPrivateKey | None = private
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        #: Derived one way from the key, as upstream does, so that verifiers find it.
        self.id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()

    def as_jwk(self) -> dict[str, Any]:
        """The public half as RFC 7517 has it."""
        import jwt

        jwk = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.public, as_dict=True)
        jwk.pop("key_ops", None)
        return {"use": "sig", "kid": self.id, "alg": self.algorithm, **jwk}
