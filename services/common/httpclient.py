"""The Client contract over HTTPS, for whatever does not live in the API server's process.

One pool of kept-alive connections serves all requests. A watch is one response that is read for as long as it lasts:
what a read brings is split into lines and delivered as one batch. A refusal becomes the ApiError of its Status; every
failure to reach the server, a timeout included, is a ConnectionError, and a write's outcome is then unknown. A 429 that
says when to come back is obeyed, a bounded number of times; nothing else is repeated here.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from cybernetes.core.client.interface import MERGE_PATCH, Client, ListPage, WatchEvent
from cybernetes.core.clock import Random
from cybernetes.core.errors import ApiError, failure, from_status
from cybernetes.core.objects import Gvr, Object, name_of, namespace_of

#: How often a request is repeated when the server says 429 with a Retry-After, as client-go.
REFUSED_TRIES_MAX = 10
#: A watch is asked to end after this long and up to twice as long, so that clients spread over replicas again.
WATCH_TIMEOUT_S = 300.0
#: How much of a response is read ahead.
READ_BUFFER_BYTES = 1 << 20


def object_path(gvr: Gvr, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """``/apis/apps/v1/namespaces/default/deployments/web/scale``."""
    parts = [gvr.path]
    if namespace:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(gvr.resource)
    if name:
        parts.append(quote(name, safe=":"))
    if subresource:
        parts.append(subresource)
    return "/".join(parts)


def _keep_alive_socket(address: Any) -> socket.socket:
    """A connection to a machine that has gone is noticed after half a minute, also when only reading."""
    family, kind, protocol, _, _ = address
    created = socket.socket(family, kind, protocol)
    created.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    created.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option, seconds in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            created.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    return created


class HttpClient:
    """``base_url`` is the server, such as https://127.0.0.1:6443. Make it within the event loop that uses it.

    ``ssl_context`` carries the CA and the client certificate; ``token`` is a bearer token or a function that gives the
    current one (tokens in pods are rotated). ``connections_max`` bounds requests in flight, watches apart.
    """

    def __init__(
        self,
        base_url: str,
        *,
        random: Random,
        ssl_context: ssl.SSLContext | None = None,
        token: str | Callable[[], str] = "",
        user_agent: str = "cybernetes",
        timeout_s: float = 60.0,
        connections_max: int = 64,
        tls_server_name: str = "",
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._random = random
        self._ssl: ssl.SSLContext | bool = ssl_context if ssl_context is not None else True
        self._token = token
        self._user_agent = user_agent
        self._timeout_s = timeout_s
        self._connections_max = connections_max
        self._server_hostname = tls_server_name or None
        self._short: aiohttp.ClientSession | None = None
        self._long: aiohttp.ClientSession | None = None

    # Sessions: watches have a pool of their own, so that they never take the connections of requests.

    def _session(self, limit: int, total_s: float | None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limit, ssl=self._ssl, keepalive_timeout=90.0, socket_factory=_keep_alive_socket
            ),
            timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=10.0),
            headers={"User-Agent": self._user_agent, "Accept": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BUFFER_BYTES,
            auto_decompress=True,
            raise_for_status=False,
        )

    def _headers(self) -> dict[str, str]:
        token = self._token() if callable(self._token) else self._token
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        """One request to any path. Returns the decoded JSON, or text. Raises ApiError, ConnectionError."""
        if self._short is None:
            self._short = self._session(self._connections_max, self._timeout_s)
        headers = self._headers()
        data = None
        if body is not None:
            data = orjson.dumps(body)
            headers["Content-Type"] = content_type
        for attempt in range(REFUSED_TRIES_MAX):
            try:
                async with self._short.request(
                    method,
                    self.base_url + path,
                    params=query or None,
                    data=data,
                    headers=headers,
                    server_hostname=self._server_hostname,
                ) as response:
                    content = await response.read()
                    status, kind = response.status, response.content_type
                    retry_after = response.headers.get("Retry-After", "")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _unreachable(self.base_url, error) from error
            if status == 429 and retry_after.isdigit() and attempt + 1 < REFUSED_TRIES_MAX:
                await asyncio.sleep(float(retry_after))
                continue
            break
        if status >= 400:
            raise _refusal(status, kind, content)
        if kind == "application/json":
            return orjson.loads(content)
        return content.decode(errors="replace")

    # The contract.

    async def get(
        self, gvr: Gvr, name: str, namespace: str = "", *, subresource: str = "", resource_version: str = ""
    ) -> Object:
        query = {"resourceVersion": resource_version} if resource_version else None
        found: Object = await self.request("GET", object_path(gvr, namespace, name, subresource), query=query)
        return found

    async def list(
        self,
        gvr: Gvr,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        resource_version_match: str = "",
    ) -> ListPage:
        query = _given(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=str(limit) if limit else "",
            resourceVersion=resource_version,
            resourceVersionMatch=resource_version_match,
        )
        query.update({"continue": continue_token} if continue_token else {})
        body = await self.request("GET", object_path(gvr, namespace), query=query)
        metadata = body.get("metadata") or {}
        return ListPage(
            body.get("items") or [],
            metadata.get("resourceVersion", ""),
            metadata.get("continue", ""),
            metadata.get("remainingItemCount"),
        )

    async def watch(
        self,
        gvr: Gvr,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str,
        allow_bookmarks: bool = True,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        if self._long is None:
            self._long = self._session(0, None)
        if timeout_s is None:
            timeout_s = self._random.jitter(WATCH_TIMEOUT_S, 1.0)
        query = _given(
            watch="1",
            labelSelector=label_selector,
            fieldSelector=field_selector,
            resourceVersion=resource_version,
            allowWatchBookmarks="true" if allow_bookmarks else "",
            timeoutSeconds=str(max(1, int(timeout_s))),
        )
        # The server ends it; the grace is for a server that has stalled.
        limits = aiohttp.ClientTimeout(total=timeout_s + 30.0, sock_connect=10.0)
        try:
            async with self._long.get(
                self.base_url + object_path(gvr, namespace),
                params=query,
                headers=self._headers(),
                timeout=limits,
                server_hostname=self._server_hostname,
            ) as response:
                if response.status >= 400:
                    raise _refusal(response.status, response.content_type, await response.read())
                async for batch in _batches(response.content):
                    yield batch
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(self.base_url, error) from error

    async def create(
        self,
        gvr: Gvr,
        obj: Object,
        namespace: str = "",
        *,
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        query = {"dryRun": "All"} if dry_run else None
        path = object_path(gvr, namespace or namespace_of(obj), name, subresource)
        created: Object = await self.request("POST", path, query=query, body=obj)
        return created

    async def update(self, gvr: Gvr, obj: Object, *, subresource: str = "") -> Object:
        path = object_path(gvr, namespace_of(obj), name_of(obj), subresource)
        updated: Object = await self.request("PUT", path, body=obj)
        return updated

    async def patch(
        self,
        gvr: Gvr,
        name: str,
        patch: Object | Sequence[Mapping[str, Any]],
        namespace: str = "",
        *,
        patch_type: str = MERGE_PATCH,
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        query = _given(fieldManager=field_manager, force="true" if force else "")
        path = object_path(gvr, namespace, name, subresource)
        patched: Object = await self.request("PATCH", path, query=query, body=patch, content_type=patch_type)
        return patched

    async def delete(
        self,
        gvr: Gvr,
        name: str,
        namespace: str = "",
        *,
        grace_period_s: int | None = None,
        propagation: str = "",
        uid: str = "",
        resource_version: str = "",
    ) -> Object:
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        if propagation:
            options["propagationPolicy"] = propagation
        preconditions = _given(uid=uid, resourceVersion=resource_version)
        if preconditions:
            options["preconditions"] = preconditions
        deleted: Object = await self.request("DELETE", object_path(gvr, namespace, name), body=options)
        return deleted

    async def delete_collection(
        self,
        gvr: Gvr,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation: str = "",
    ) -> None:
        query = _given(labelSelector=label_selector, fieldSelector=field_selector)
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if propagation:
            options["propagationPolicy"] = propagation
        await self.request("DELETE", object_path(gvr, namespace), query=query, body=options)

    async def close(self) -> None:
        sessions = (self._short, self._long)
        self._short = self._long = None
        for session in sessions:
            if session is not None:
                await session.close()


async def _batches(content: aiohttp.StreamReader) -> AsyncIterator[Sequence[WatchEvent]]:
    """Lines of a watch, as many at once as have arrived."""
    pieces: list[bytes] = []  # of a line that has not ended yet
    async for chunk in content.iter_any():
        end = chunk.rfind(b"\n")
        if end < 0:
            pieces.append(chunk)
            continue
        pieces.append(chunk[:end])
        lines = b"".join(pieces).split(b"\n")
        pieces = [chunk[end + 1 :]]
        batch = [WatchEvent(event["type"], event["object"]) for event in map(orjson.loads, filter(None, lines))]
        if batch:
            yield batch


def _given(**query: str) -> dict[str, str]:
    """The parameters that have a value."""
    return {name: value for name, value in query.items() if value}


def _refusal(status: int, content_type: str, content: bytes) -> ApiError:
    """The ApiError of an answer; one that is no Status (a proxy's page, plain text) becomes the nearest to it."""
    if content_type == "application/json":
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            body = None
        if isinstance(body, dict) and body.get("kind") == "Status":
            return from_status({"code": status, **body})
    text = content[:2000].decode(errors="replace").strip()
    return failure(status, "", text or f"the server answered {status}")


def _unreachable(base_url: str, error: BaseException) -> ConnectionError:
    why = str(error) or type(error).__name__
    return ConnectionError(f"cannot reach the API server at {base_url}: {why}")


def _conforms(client: HttpClient) -> Client:
    return client
