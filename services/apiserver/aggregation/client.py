"""One request to an extension API server: find a ready endpoint of its Service, connect, prove who we are."""

from __future__ import annotations

import asyncio

from cybernetes.core.auth import requestheader
from cybernetes.core.auth.user import MASTERS, User
from cybernetes.core.errors import ApiError
from cybernetes.services.apiserver.aggregation.apiservices import ApiServices, Remote
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.subresources.proxy import endpoint_of
from cybernetes.services.apiserver.upstream import Upstream, UpstreamError
from cybernetes.services.common.lentsockets import LentSockets

#: As whom we ask for what a server says of itself: somebody who may see everything.
AGGREGATOR = User("system:kube-aggregator", groups=(MASTERS,))
_ANSWER_BYTES_MAX = 16 << 20


class Unreachable(Exception):
    """The server behind an APIService does not answer. The text is for its condition."""


class Client:
    """The way to extension servers. ``lent`` has sockets of nodes that are in network namespaces of their own."""

    def __init__(self, backend: Backend, services: ApiServices, lent: LentSockets | None = None) -> None:
        self._backend = backend
        self._services = services
        self._lent = lent

    async def connect(self, remote: Remote, timeout_s: float = 10.0) -> tuple[Upstream, str]:
        """(connection, host:port). Raises UpstreamError; Unreachable when there is nobody to connect to."""
        namespace, name, port = remote.service
        try:
            host, number = endpoint_of(self._backend, namespace, name, "https", str(port))
        except ApiError as error:
            raise Unreachable(error.message) from error
        try:
            context = self._services.context(remote)
        except (ValueError, OSError) as error:
            raise UpstreamError(str(error)) from error
        upstream = await Upstream.connect(
            host, number, context, timeout_s, lent=self._lent, server_name=remote.server_name
        )
        return upstream, f"[{host}]:{number}" if ":" in host else f"{host}:{number}"

    async def get(
        self, remote: Remote, path: str, accept: str, timeout_s: float = 5.0, user: User = AGGREGATOR
    ) -> tuple[int, bytes]:
        """(code, body) of one document, asked for on behalf of ``user``. Raises Unreachable."""
        place = ""
        try:
            async with asyncio.timeout(timeout_s):
                upstream, place = await self.connect(remote, timeout_s)
                try:
                    headers = [("Host", place), ("Accept", accept), ("User-Agent", "kube-apiserver")]
                    headers += [("Connection", "close"), *requestheader.write(user)]
                    upstream.send("GET", path, headers)
                    head = await upstream.read_head()
                    return head.code, await upstream.read_all(_ANSWER_BYTES_MAX)
                finally:
                    upstream.close()
        except TimeoutError:
            where = place or ":".join(map(str, remote.service[1:]))
            raise Unreachable(
                f'Get "https://{where}{path}": net/http: request canceled while waiting for connection'
                " (Client.Timeout exceeded while awaiting headers)"
            ) from None
        except UpstreamError as error:
            where = place or remote.server_name
            raise Unreachable(f'Get "https://{where}{path}": {error}') from error
