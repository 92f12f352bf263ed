"""ServiceAccount tokens: signed statements of who a pod is, bound to what they were made for.

1. A token is a JWT of Kubernetes' making (KEP-1205): issuer, audiences, times, and ``kubernetes.io`` with the
   namespace, the ServiceAccount and the pod, Secret or node that it is bound to, each with its uid. PyJWT signs it,
   here with ES256; RS256, ES384 and ES512 keys are accepted too, so that keys of another cluster can be taken over.
2. A token is good while its signature, times and audience are, and while every object that it names still exists with
   that uid. Which is why ``Authenticator`` is given a way to look objects up.
3. Checking a signature takes 0.2 ms and looking objects up decodes them, so an answer is kept, by the token's hash, for
   ten seconds and never beyond the expiry. ``forget`` drops the answers that depended on an object which has gone.
4. Who presents a token that another issuer made gets None: another authenticator may know it. Who presents a token of
   ours that is no longer good gets ``InvalidToken`` with the reason.

PyJWT is imported with the first token: 10 ms that the start of a cluster does not pay.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from cybernetes.core.auth import user as users
from cybernetes.core.auth.keys import Key
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Clock, parse_time
from cybernetes.core.errors import quoted
from cybernetes.core.objects import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Gvr, Object

if TYPE_CHECKING:
    from jwt import PyJWS

#: Tokens in Secrets of type ``kubernetes.io/service-account-token`` carry this issuer and never expire.
LEGACY_ISSUER = "kubernetes/serviceaccount"
#: What the API server calls itself when nothing else is configured.
DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"
#: A projected token of exactly this lifetime (an hour and seven seconds) is made to last a year, with a warning time,
#: so that clients which never read it again keep working.
WARN_ONLY_EXPIRATION_S = 3607
EXTENDED_EXPIRATION_S = 365 * 86_400
#: Clocks of issuer and verifier may differ by this much.
LEEWAY_S = 60
KEEP_S = 10
KEEP_TOKENS_MAX = 4096

JWKS_PATH = "/openid/v1/jwks"
CONFIGURATION_PATH = "/.well-known/openid-configuration"

Lookup = Callable[[Gvr, str, str], Object | None]


class InvalidToken(ValueError):
    """A token of ours that is not good (any more). The text is for the log; the client is told Unauthorized."""


class Authenticated(NamedTuple):
    user: User
    #: Those of the token's audiences that were asked for.
    audiences: tuple[str, ...]
    claims: Mapping[str, Any]


class Reference(NamedTuple):
    """What a token is bound to."""

    name: str
    uid: str = ""


class Issuer:
    """Makes tokens. ``keys[0]`` signs; all are published."""

    def __init__(self, keys: Sequence[Key], issuer: str, clock: Clock) -> None:
        if not keys or keys[0].private is None:
            raise ValueError("the first key must be a private one: it signs")
        self.issuer = issuer
        self.keys = tuple(keys)
        self._clock = clock

    def issue(
        self,
        service_account: Mapping[str, Any],
        *,
        audiences: Sequence[str],
        expiration_s: int,
        token_id: str,
        pod: Reference | None = None,
        secret: Reference | None = None,
        node: Reference | None = None,
        warn_after_s: int = 0,
    ) -> str:
        """A bound token for ``service_account`` (the object). 60 µs.

        ``token_id`` is a new uid. A pod's node is recorded, a node alone is bound. The caller has checked that what
        the token is bound to exists.
        """
        now = int(self._clock.now())
        metadata = service_account["metadata"]
        bound: dict[str, Any] = {"namespace": metadata["namespace"]}
        if node is not None:
            bound["node"] = _reference(node)
        if pod is not None:
            bound["pod"] = _reference(pod)
        if secret is not None:
            bound["secret"] = _reference(secret)
        bound["serviceaccount"] = {"name": metadata["name"], "uid": metadata["uid"]}
        if warn_after_s:
            bound["warnafter"] = now + warn_after_s
        claims = {
            "aud": list(audiences),
            "exp": now + expiration_s,
            "iat": now,
            "iss": self.issuer,
            "jti": token_id,
            "kubernetes.io": bound,
            "nbf": now,
            "sub": users.service_account_name(metadata["namespace"], metadata["name"]),
        }
        return self._sign(claims)

    def issue_legacy(self, service_account: Mapping[str, Any], secret_name: str) -> str:
        """The token that is kept in a Secret and lives as long as it."""
        metadata = service_account["metadata"]
        return self._sign(
            {
                "iss": LEGACY_ISSUER,
                "kubernetes.io/serviceaccount/namespace": metadata["namespace"],
                "kubernetes.io/serviceaccount/secret.name": secret_name,
                "kubernetes.io/serviceaccount/service-account.name": metadata["name"],
                "kubernetes.io/serviceaccount/service-account.uid": metadata["uid"],
                "sub": users.service_account_name(metadata["namespace"], metadata["name"]),
            }
        )

    def configuration(self, jwks_uri: str) -> dict[str, Any]:
        """The OpenID provider document at ``/.well-known/openid-configuration``."""
        return {
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key.algorithm for key in self.keys}),
        }

    def jwks(self) -> dict[str, Any]:
        """The public keys at ``/openid/v1/jwks``."""
        return {"keys": [key.as_jwk() for key in self.keys]}

    def _sign(self, claims: dict[str, Any]) -> str:
        key = self.keys[0]
        assert key.private is not None
        headers = {"typ": None, "kid": key.id}  # upstream's tokens do not say that they are JWTs
        return _jws().encode(orjson.dumps(claims), key.private, key.algorithm, headers)


class _Kept(NamedTuple):
    answer: Authenticated
    until: float
    uids: tuple[str, ...]


class Authenticator:
    """Says whose a token is. One per API server process."""

    def __init__(
        self, keys: Sequence[Key], issuers: Sequence[str], audiences: Sequence[str], clock: Clock, lookup: Lookup
    ) -> None:
        """``audiences`` are the API server's own, expected when a request names none.

        ``lookup(gvr, namespace, name)`` finds an object, or None when there is none.
        """
        self._keys = tuple(keys)
        self._issuers = frozenset(issuers)
        self.audiences = tuple(audiences)
        self._clock = clock
        self._lookup = lookup
        self._kept: OrderedDict[tuple[bytes, tuple[str, ...]], _Kept] = OrderedDict()

    def authenticate(self, token: str, audiences: Sequence[str] | None = None) -> Authenticated | None:
        """Whose ``token`` is; None when another issuer made it. Raises InvalidToken. 1.5 µs when it was seen lately."""
        wanted = self.audiences if audiences is None else tuple(audiences)
        key = (hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest(), wanted)
        now = self._clock.now()
        kept = self._kept.get(key)
        if kept is not None:
            if now < kept.until:
                return kept.answer
            del self._kept[key]
        claims = self._verify(token)
        if claims is None:
            return None
        had = _audiences(claims) or self.audiences
        common = tuple(audience for audience in had if audience in wanted)
        if not common and self.audiences:
            raise InvalidToken(f"token audiences {_list(had)} is invalid for the target audiences {_list(wanted)}")
        legacy = claims.get("iss") == LEGACY_ISSUER
        user, uids = self._legacy(claims, token) if legacy else self._bound(claims, now)
        answer = Authenticated(user, common, claims)
        expiry = claims.get("exp")
        until = now + KEEP_S if not isinstance(expiry, int | float) else min(now + KEEP_S, float(expiry))
        self._kept[key] = _Kept(answer, until, uids)
        if len(self._kept) > KEEP_TOKENS_MAX:
            self._kept.popitem(last=False)
        return answer

    def forget(self, uid: str) -> None:
        """The object with this uid has gone or is going: ask again about every token that named it."""
        for key in [key for key, kept in self._kept.items() if uid in kept.uids]:
            del self._kept[key]

    def _verify(self, token: str) -> dict[str, Any] | None:
        """The claims of a token whose signature holds; None when it is not for us to judge."""
        import jwt

        if not token.isascii():
            return None
        reader = _jws()
        try:
            seen = reader.decode_complete(token, options={"verify_signature": False})
            claims = orjson.loads(seen["payload"])
        except (jwt.PyJWTError, orjson.JSONDecodeError):
            return None
        if not isinstance(claims, dict) or not (
            claims.get("iss") in self._issuers or claims.get("iss") == LEGACY_ISSUER
        ):
            return None
        key_id = seen["header"].get("kid")
        keys = [key for key in self._keys if not key_id or key.id == key_id]
        if not keys:
            raise InvalidToken("invalid signature, no keys found")
        if not any(_holds(reader, token, key) for key in keys):
            raise InvalidToken("the token's signature does not match its contents")
        return claims

    def _bound(self, claims: Mapping[str, Any], now: float) -> tuple[User, tuple[str, ...]]:
        if _number(claims, "exp") + LEEWAY_S < now and "exp" in claims:
            raise InvalidToken("service account token has expired")
        if _number(claims, "nbf") - LEEWAY_S > now:
            raise InvalidToken("service account token is not valid yet")
        if _number(claims, "iat") - LEEWAY_S > now:
            raise InvalidToken("service account token is issued in the future")
        private = claims.get("kubernetes.io") or {}
        namespace = str(private.get("namespace", ""))
        account, pod, node, secret = (private.get(part) or {} for part in ("serviceaccount", "pod", "node", "secret"))
        name = str(account.get("name", ""))
        found = self._lookup(SERVICE_ACCOUNTS, namespace, name)
        if found is None:
            raise InvalidToken(f"serviceaccounts {quoted(name)} not found")
        if found["metadata"].get("uid") != account.get("uid"):
            raise InvalidToken(
                f"service account UID ({found['metadata'].get('uid')}) does not match claim ({account.get('uid')})"
            )
        if _is_gone(found, now):
            raise InvalidToken(f"service account {namespace}/{name} has been deleted")
        uids = [str(account.get("uid"))]
        extra: dict[str, tuple[str, ...]] = {}
        if secret:
            self._check(
                SECRETS, namespace, secret, now, "secret UID ({}) does not match service account secret ref claim ({})"
            )
            uids.append(str(secret.get("uid")))
        if pod:
            self._check(PODS, namespace, pod, now, "pod UID ({}) does not match service account pod ref claim ({})")
            uids.append(str(pod.get("uid")))
            extra[users.POD_NAME] = (str(pod.get("name")),)
            extra[users.POD_UID] = (str(pod.get("uid")),)
        elif node:
            self._check(NODES, "", node, now, "node UID ({}) does not match service account node ref claim ({})")
            uids.append(str(node.get("uid")))
        if claims.get("jti"):
            extra[users.CREDENTIAL_ID] = (f"JTI={claims['jti']}",)
        if node.get("name"):
            extra[users.NODE_NAME] = (str(node["name"]),)
            if node.get("uid"):
                extra[users.NODE_UID] = (str(node["uid"]),)
        return _service_account_user(namespace, name, uids[0], extra), tuple(uids)

    def _check(self, gvr: Gvr, namespace: str, reference: Mapping[str, Any], now: float, mismatch: str) -> None:
        found = self._lookup(gvr, namespace, str(reference.get("name", "")))
        if found is None:
            raise InvalidToken("service account token has been invalidated")
        uid = found["metadata"].get("uid")
        if uid != reference.get("uid"):
            raise InvalidToken(mismatch.format(uid, reference.get("uid")))
        if _is_gone(found, now):
            raise InvalidToken("service account token has been invalidated")

    def _legacy(self, claims: Mapping[str, Any], token: str) -> tuple[User, tuple[str, ...]]:
        prefix = "kubernetes.io/serviceaccount/"
        values: dict[str, str] = {}
        for claim, text in (
            ("sub", "sub"),
            (prefix + "namespace", "namespace"),
            (prefix + "secret.name", "secretName"),
            (prefix + "service-account.name", "serviceAccountName"),
            (prefix + "service-account.uid", "serviceAccountUID"),
        ):
            values[text] = str(claims.get(claim) or "")
            if not values[text]:
                raise InvalidToken(f"{text} claim is missing")
        namespace, name, uid = values["namespace"], values["serviceAccountName"], values["serviceAccountUID"]
        if users.split_service_account(values["sub"]) != (namespace, name):
            raise InvalidToken("sub claim is invalid")
        secret = self._lookup(SECRETS, namespace, values["secretName"])
        if secret is None or "deletionTimestamp" in secret["metadata"]:
            raise InvalidToken("Token has been invalidated")
        try:
            kept = base64.b64decode((secret.get("data") or {}).get("token", ""))
        except binascii.Error:
            kept = b""
        if not hmac.compare_digest(kept, token.encode()):
            raise InvalidToken("Token does not match server's copy")
        account = self._lookup(SERVICE_ACCOUNTS, namespace, name)
        if account is None:
            raise InvalidToken(f"serviceaccounts {quoted(name)} not found")
        if "deletionTimestamp" in account["metadata"]:
            raise InvalidToken(f"ServiceAccount {namespace}/{name} has been deleted")
        if account["metadata"].get("uid") != uid:
            raise InvalidToken(f"ServiceAccount UID ({account['metadata'].get('uid')}) does not match claim ({uid})")
        return _service_account_user(namespace, name, uid, {}), (uid, str(secret["metadata"].get("uid")))


def _service_account_user(namespace: str, name: str, uid: str, extra: Mapping[str, tuple[str, ...]]) -> User:
    return User(users.service_account_name(namespace, name), uid, users.service_account_groups(namespace), extra)


def _is_gone(obj: Mapping[str, Any], now: float) -> bool:
    """Deleted for so long that even a slow clock must have noticed. What is just going may finish its work."""
    deleted = obj["metadata"].get("deletionTimestamp")
    return bool(deleted) and parse_time(deleted) < now - LEEWAY_S


def _audiences(claims: Mapping[str, Any]) -> tuple[str, ...]:
    value = claims.get("aud")
    if isinstance(value, str):
        return (value,)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _number(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _reference(reference: Reference) -> dict[str, str]:
    return {"name": reference.name, "uid": reference.uid} if reference.uid else {"name": reference.name}


def _list(values: Sequence[str]) -> str:
    return "[" + " ".join(quoted(value) for value in values) + "]"


@cache
def _jws() -> PyJWS:
    import jwt

    return jwt.PyJWS()


def _holds(reader: PyJWS, token: str, key: Key) -> bool:
    """Whether the signature is the key's."""
    import jwt

    try:
        reader.decode_complete(token, key.public, [key.algorithm])
    except jwt.PyJWTError:
        return False
    return True
