"""Who the peer of a connection is by its certificate: a user, the front proxy, or a stranger.

Judged when the first request of a connection comes, and good until the certificate ends. A front proxy is trusted to
say for whom it asks, request by request; everybody else speaks for themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cybernetes.core.auth import requestheader
from cybernetes.core.auth import user as users
from cybernetes.core.auth.clientcerts import Verifier
from cybernetes.core.auth.requestheader import HeaderNames
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Clock
from cybernetes.services.apiserver.http1 import HttpRequest
from cybernetes.services.apiserver.server import Connection


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """Whom to believe as a front proxy: certificates of ``client_ca`` (PEM) with one of these names; none: any name."""

    client_ca: Path
    allowed_names: Sequence[str] = ()
    headers: HeaderNames = field(default_factory=HeaderNames)


_FOREVER = float("inf")


class Peer(NamedTuple):
    """``is_stranger``: there is a certificate and nobody whom we trust has signed it."""

    user: User | None
    is_front_proxy: bool = False
    is_stranger: bool = False
    until: float = _FOREVER


_NOBODY = Peer(None)


class Peers:
    """The judge of one server. ``trust`` and ``believe`` what is to be trusted before the first connection."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._clients: Verifier | None = None
        self._proxies: Verifier | None = None
        self._front: FrontProxy | None = None

    def trust(self, authorities: bytes) -> None:
        """Accept certificates of these authorities (PEM) as users."""
        self._clients = Verifier(authorities, self._clock)

    def believe(self, front: FrontProxy) -> None:
        """Accept what this front proxy says about users. Raises OSError."""
        self._proxies = Verifier(front.client_ca.read_bytes(), self._clock)
        self._front = front

    def user_of(self, connection: Connection, request: HttpRequest) -> tuple[User | None, bool]:
        """The user behind a request as far as its connection tells, and whether its certificate is to be refused when
        nothing else says who it is."""
        peer = connection.identity
        if peer is None or peer.until <= self._clock.now():
            peer = connection.identity = self._judge(connection)
        if peer is _NOBODY:
            return None, False
        if peer.is_front_proxy and self._front is not None:
            user = requestheader.read(self._front.headers, request.headers, request.all)
            if user is not None:
                return users.authenticated(user), False
        return peer.user, peer.is_stranger

    def _judge(self, connection: Connection) -> Peer:
        certificate = connection.peer_certificate()
        if certificate is None:
            return _NOBODY
        chain = connection.peer_chain()
        proxy = self._proxies.verify(certificate, chain) if self._proxies is not None else None
        if proxy is not None and self._front is not None:
            names = self._front.allowed_names
            if names and proxy.name not in names:
                proxy = None
        found = self._clients.verify(certificate, chain) if self._clients is not None else None
        until = min((each.until for each in (proxy, found) if each is not None), default=_FOREVER)
        if found is None:
            return Peer(None, proxy is not None, is_stranger=True, until=until)
        user = found.user
        return Peer(users.authenticated(user) if user is not None else None, proxy is not None, until=until)
