"""ServiceAccount tokens of pods: asked for through TokenRequest, bound to their pod, replaced before they expire.

A token is used until four fifths of its life have passed, or a day, whichever comes first (upstream:
pkg/kubelet/token). Tokens live in memory only; a kubelet that was restarted asks for new ones.
"""

from __future__ import annotations

from typing import NamedTuple

from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random, parse_time
from cybernetes.core.errors import ApiError
from cybernetes.core.kubelet.payload import TokenKey
from cybernetes.core.objects import SERVICE_ACCOUNTS, Object, name_of, namespace_of, uid_of

_LIFE_SHARE = 0.8
_AGE_S_MAX = 24 * 3600.0
_JITTER_S = 10.0


class _Token(NamedTuple):
    text: str
    refresh_at: float
    expires_at: float


class TokenSource:
    """One node's tokens by pod and audience."""

    def __init__(self, client: Client, clock: Clock, random: Random) -> None:
        self._client = client
        self._clock = clock
        self._random = random
        self._tokens: dict[tuple[str, TokenKey], _Token] = {}

    async def get(self, pod: Object, key: TokenKey) -> tuple[str, float]:
        """(token, seconds until it should be replaced). A token that is due but cannot be replaced is used on while it
        is valid. Raises ApiError, ConnectionError."""
        now = self._clock.now()
        known = self._tokens.get((uid_of(pod), key))
        if known is None or known.refresh_at <= now:
            try:
                known = await self._request(pod, key)
            except (ApiError, ConnectionError):
                if known is None or known.expires_at <= now:
                    raise
                known = known._replace(refresh_at=now + 60.0)
            self._tokens[(uid_of(pod), key)] = known
        return known.text, max(1.0, known.refresh_at - self._clock.now())

    def forget(self, pod_uid: str) -> None:
        for entry in [entry for entry in self._tokens if entry[0] == pod_uid]:
            del self._tokens[entry]

    async def _request(self, pod: Object, key: TokenKey) -> _Token:
        bound = {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)}
        spec: Object = {"expirationSeconds": key.expiration_s, "boundObjectRef": bound}
        spec["audiences"] = [key.audience] if key.audience else []
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec}
        answer = await self._client.create(
            SERVICE_ACCOUNTS,
            body,
            namespace_of(pod),
            name=pod["spec"].get("serviceAccountName") or "default",
            subresource="token",
        )
        now = self._clock.now()
        expires_at = parse_time(answer["status"]["expirationTimestamp"])
        life_s = min(_AGE_S_MAX, (expires_at - now) * _LIFE_SHARE)
        return _Token(answer["status"]["token"], now + life_s - self._random.uniform() * _JITTER_S, expires_at)
