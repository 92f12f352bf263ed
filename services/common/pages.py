"""A few read-only pages by HTTP: health and metrics of a component that is no API server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiohttp import web


class Page(NamedTuple):
    status: int
    content_type: str
    body: bytes


#: Path -> what makes the page when somebody asks.
Pages = Mapping[str, Callable[[], Page]]


class PageServer:
    """Listens at as many places as it is told. GET and HEAD; anything else is 404 or 405."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._server: web.Server | None = None
        self._listening: list[asyncio.Server] = []

    async def listen(self, host: str, port: int) -> int:
        """Returns the port. An empty ``host`` is every address. Raises OSError when the port is taken."""
        if self._server is None:
            self._server = web.Server(self._answer, access_log=None)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = await asyncio.get_running_loop().create_server(
            self._server, host or "0.0.0.0", port, family=family, reuse_address=True
        )
        self._listening.append(server)
        number: int = server.sockets[0].getsockname()[1]
        return number

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        make = self._pages.get(request.path)
        if make is None:
            return web.Response(status=404, text="404 page not found\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="method not allowed\n")
        page = make()
        return web.Response(status=page.status, headers={"Content-Type": page.content_type}, body=page.body)

    async def close(self) -> None:
        """Safe to repeat."""
        for server in self._listening:
            server.close()
        self._listening.clear()
        if self._server is not None:
            await self._server.shutdown(1.0)
            self._server = None
