"""Who may talk to a kubelet: the API server by its certificate, others by asking the API server about them.

1. A client certificate of the cluster's CA whose name is one of ``trusted`` (kube-apiserver-kubelet-client), or that is
   in the group system:masters, may do everything.
2. Any other certificate or bearer token is a user; with a ``client`` the API server says who a token is (TokenReview)
   and what a user may do (SubjectAccessReview on ``nodes/NAME`` and its subresources), as upstream's webhook mode.
3. Without credentials: 401. Answers are remembered for a while, bounded.
"""

from __future__ import annotations

import hashlib
import ssl
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock
from cybernetes.core.objects import Gvr, Object
from cybernetes.services.kubelet.server.backend import Refused

TOKEN_REVIEWS = Gvr("authentication.k8s.io", "v1", "tokenreviews")
SUBJECT_ACCESS_REVIEWS = Gvr("authorization.k8s.io", "v1", "subjectaccessreviews")

API_SERVER = "kube-apiserver-kubelet-client"
MASTERS = "system:masters"

_REMEMBERED_MAX = 1024
_TOKEN_S = 120.0
_ALLOWED_S = 300.0
_REFUSED_S = 30.0

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Caller(NamedTuple):
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


def caller_of(certificate: Mapping[str, object] | None) -> Caller | None:
    """Who a verified certificate (``SSLSocket.getpeercert``) names: its CN is the user, each O a group."""
    if not certificate:
        return None
    name = ""
    groups: list[str] = []
    subject = certificate.get("subject")
    for part in subject if isinstance(subject, tuple) else ():
        for key, value in part:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    return Caller(name, tuple(groups)) if name else None


def subresources(path: str) -> tuple[str, ...]:
    """What a path is called in RBAC below ``nodes``, finest first (https://kep.k8s.io/2862)."""
    first = path.strip("/").partition("/")[0]
    fine = {"pods": "pods", "runningpods": "pods", "healthz": "healthz", "configz": "configz"}
    own = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint", "statusz": "statusz"}
    if first in fine:
        return fine[first], "proxy"
    return (own.get(first, "proxy"),)


class Authorizer:
    """``check`` raises Refused for who may not. ``client`` is None where only the API server may come."""

    def __init__(
        self, clock: Clock, node_name: str, client: Client | None = None, trusted: Sequence[str] = (API_SERVER,)
    ) -> None:
        self._clock = clock
        self._node_name = node_name
        self._client = client
        self._trusted = frozenset(trusted)
        self._remembered: OrderedDict[tuple[str, ...], tuple[float, Caller | bool | None]] = OrderedDict()

    async def check(self, tls: ssl.SSLObject | None, authorization: str, method: str, path: str) -> None:
        """``tls`` is the connection's, None for a server without TLS (tests in one process): anybody may."""
        if tls is None:
            return
        caller = caller_of(tls.getpeercert())
        if caller is not None and (caller.name in self._trusted or MASTERS in caller.groups):
            return
        if caller is None and authorization.lower().startswith("bearer "):
            caller = await self._by_token(authorization[7:].strip())
        if caller is None:
            raise Refused(401, "Unauthorized")
        verb, parts = _VERBS.get(method, ""), subresources(path)
        for part in parts:
            if await self._may(caller, verb, part):
                return
        names = " ".join(parts)
        raise Refused(403, f"Forbidden (user={caller.name}, verb={verb}, resource=nodes, subresource(s)=[{names}])")

    async def _by_token(self, token: str) -> Caller | None:
        if self._client is None or not token:
            return None
        key = ("token", hashlib.sha256(token.encode()).hexdigest())
        known = self._recall(key)
        if isinstance(known, Caller):
            return known
        review = await self._client.create(TOKEN_REVIEWS, _review("TokenReview", TOKEN_REVIEWS, {"token": token}))
        status = review.get("status") or {}
        if not status.get("authenticated"):
            return None
        user = status.get("user") or {}
        caller = Caller(user.get("username", ""), tuple(user.get("groups") or ()), user.get("uid", ""))
        self._remember(key, caller, _TOKEN_S)
        return caller

    async def _may(self, caller: Caller, verb: str, subresource: str) -> bool:
        if self._client is None:
            return False
        key = ("access", caller.name, ",".join(caller.groups), verb, subresource)
        known = self._recall(key)
        if isinstance(known, bool):
            return known
        attributes = {"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource}
        spec = {
            "user": caller.name,
            "groups": list(caller.groups),
            "uid": caller.uid,
            "resourceAttributes": {**attributes, "name": self._node_name},
        }
        review = await self._client.create(
            SUBJECT_ACCESS_REVIEWS, _review("SubjectAccessReview", SUBJECT_ACCESS_REVIEWS, spec)
        )
        allowed = bool((review.get("status") or {}).get("allowed"))
        self._remember(key, allowed, _ALLOWED_S if allowed else _REFUSED_S)
        return allowed

    def _recall(self, key: tuple[str, ...]) -> Caller | bool | None:
        found = self._remembered.get(key)
        if found is None or found[0] < self._clock.monotonic():
            return None
        return found[1]

    def _remember(self, key: tuple[str, ...], value: Caller | bool, seconds: float) -> None:
        self._remembered[key] = (self._clock.monotonic() + seconds, value)
        self._remembered.move_to_end(key)
        if len(self._remembered) > _REMEMBERED_MAX:
            self._remembered.popitem(last=False)


def _review(kind: str, gvr: Gvr, spec: Object) -> Object:
    return {"apiVersion": gvr.api_version, "kind": kind, "metadata": {}, "spec": spec}
