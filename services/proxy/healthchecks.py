"""Health check node ports: how a load balancer learns which nodes have endpoints of a Local Service.

Each such Service has a port on every node. It answers 200 where a ready endpoint is, 503 where none is (documentation
"Preserving the client source IP"; upstream ``pkg/proxy/healthcheck``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import orjson

from cybernetes.core.network.table import HealthCheck
from cybernetes.services.common.pages import Page, PageServer

log = logging.getLogger(__name__)

_HEADER = "application/json"


class HealthChecks:
    """``follow`` what the table says, ``close`` at the end. ``addresses`` are where to listen, empty for all."""

    def __init__(self, addresses: Sequence[str] = ()) -> None:
        self._addresses = tuple(addresses)
        self._checks: dict[int, HealthCheck] = {}
        self._servers: dict[int, PageServer] = {}
        self._failed: set[int] = set()

    async def follow(self, checks: Mapping[int, HealthCheck]) -> None:
        """A port that somebody else has is reported once, and tried again with the next change."""
        self._checks = dict(checks)
        for port in [port for port in self._servers if port not in checks]:
            await self._servers.pop(port).close()
        self._failed &= set(checks)
        for port, check in checks.items():
            if port not in self._servers:
                await self._open(port, check)

    async def _open(self, port: int, check: HealthCheck) -> None:
        page = self._page_of(port)
        server = PageServer({"/": page, "/healthz": page})
        try:
            for address in self._addresses or ("",):
                await server.listen(address, port)
        except OSError as error:
            if port not in self._failed:
                log.warning("%s: cannot listen on health check port %d: %s", check.service, port, error)
            self._failed.add(port)
            await server.close()
            return
        self._failed.discard(port)
        self._servers[port] = server

    def _page_of(self, port: int) -> Callable[[], Page]:
        return lambda: _page(self._checks[port])

    async def close(self) -> None:
        await self.follow({})


def _page(check: HealthCheck) -> Page:
    namespace, _, name = check.service.partition("/")
    body = {
        "service": {"namespace": namespace, "name": name},
        "localEndpoints": check.local_endpoints,
        "serviceProxyHealthy": True,
    }
    return Page(200 if check.local_endpoints else 503, _HEADER, orjson.dumps(body))
