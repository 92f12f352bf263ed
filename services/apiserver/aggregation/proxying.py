"""Requests for a remote group version go to its server, with headers that say for whom (front-proxy authentication).

The client's credentials go no further than here: what the server learns of the user are our headers, and it believes
them because our certificate is the front proxy's. An answer is passed on as it comes, watches and upgrades included.
"""

from __future__ import annotations

import asyncio

from cybernetes.core.auth import requestheader
from cybernetes.core.auth.user import User
from cybernetes.services.apiserver.aggregation.apiservices import Remote
from cybernetes.services.apiserver.aggregation.client import Client, Unreachable
from cybernetes.services.apiserver.exchange import Exchange
from cybernetes.services.apiserver.subresources.streams import HOP_BY_HOP, forwarded, join
from cybernetes.services.apiserver.upstream import Head, Upstream, UpstreamError

_NAMES = requestheader.HeaderNames()
_TEXT = (
    b"Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
    b"Cache-Control: no-cache, private\r\n"
)
_OURS = frozenset({"date", "content-length"})


async def forward(exchange: Exchange, user: User, remote: Remote, client: Client) -> None:
    """Answer the request with what the remote server says."""
    if not remote.is_available:
        refuse(exchange, "service unavailable")
        return
    try:
        upstream, place = await client.connect(remote)
    except Unreachable:
        refuse(exchange, "service unavailable")
        return
    except UpstreamError as error:
        refuse(exchange, f"error trying to reach service: {error}")
        return
    try:
        await _exchange(exchange, user, upstream, place)
    except UpstreamError as error:
        if exchange.has_started:
            raise ConnectionResetError(str(error)) from error
        refuse(exchange, f"error trying to reach service: {error}")
    finally:
        upstream.close()


def refuse(exchange: Exchange, text: str) -> None:
    """503, in plain text as upstream's."""
    exchange.respond(503, _TEXT, f"{text}\n".encode("utf-8", "replace"))


async def _exchange(exchange: Exchange, user: User, upstream: Upstream, place: str) -> None:
    request = exchange.request
    headers = [("Host", place)]
    headers += [(name, value) for name, value in forwarded(request).items() if _is_passed_on(name)]
    headers += [(name, _as_header(value)) for name, value in requestheader.write(user)]
    headers.append(("X-Forwarded-Uri", request.target.partition("?")[0]))
    if exchange.connection.peer_address:
        headers.append(("X-Forwarded-For", exchange.connection.peer_address))
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        headers.append(("Content-Length", str(len(request.body))))
    if request.wants_upgrade:
        headers += [("Connection", "Upgrade"), ("Upgrade", request.headers.get("upgrade", ""))]
    else:
        headers.append(("Connection", "close"))
    upstream.send(request.method, request.target, headers, request.body)
    head = await upstream.read_head()
    if head.code == 101 and request.wants_upgrade:
        await join(exchange, upstream, head)
        return
    if request.method == "HEAD":
        upstream.has_no_body()
    exchange.start(head.code, _shown(head))
    while True:
        piece = await upstream.read()
        if not piece:
            break
        exchange.write(piece)
        await exchange.drain()
        await asyncio.sleep(0)
    exchange.finish()


def _as_header(value: str) -> str:
    """A name as it goes over the wire. Raises UpstreamError for what would be more than one header."""
    if any(character in "\r\n\0" for character in value):
        raise UpstreamError("net/http: invalid header field value")
    return value.encode("utf-8", "surrogateescape").decode("latin-1")


def _is_passed_on(name: str) -> bool:
    """Nobody says but us who the user is; what belongs to the connection is said anew."""
    name = name.lower()
    is_claim = _NAMES.is_ours(name) or name.startswith("impersonate-")
    return not is_claim and name not in ("host", "connection", "upgrade", "content-length")


def _shown(head: Head) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in head.headers if name not in HOP_BY_HOP and name not in _OURS]
    return "".join(lines).encode("latin-1", "replace")
