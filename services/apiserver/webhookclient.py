"""Calls webhooks: a POST to the URL or Service of a clientConfig, over TLS that trusts its caBundle.

Connections are kept and used again. A Service is reached at one of its ready endpoints, so neither a proxy nor DNS has
to work for it; its certificate must be for ``name.namespace.svc`` all the same. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import Object
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.subresources.proxy import endpoint_of
from cybernetes.services.common.lentsockets import LentSockets

if TYPE_CHECKING:
    import aiohttp

_ANSWER_BYTES_MAX = 16 * 1024 * 1024
_CONTEXTS_MAX = 100
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "kube-apiserver"}


class WebhookError(Exception):
    """The webhook could not be asked, or refused to answer. The text is for the client's Status."""


class WebhookClient:
    """The webhooks of one API server. ``close`` it when the server stops."""

    def __init__(self, backend: Backend, lent: LentSockets | None = None) -> None:
        self._lent = lent
        self._backend = backend
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def post(self, config: Mapping[str, Any], body: bytes, timeout_s: float) -> bytes:
        """The answer to ``body``. Raises WebhookError."""
        import aiohttp  # takes 0.1 s, for those who have webhooks

        shown, url, server_name = self._place(config, f"?timeout={timeout_s:g}s")
        shown = f'Post "{shown}"'
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,
                limit_per_host=100,
                keepalive_timeout=90.0,
                socket_factory=self._socket_to if self._lent is not None else None,
            )
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        headers = {**_HEADERS, "Host": server_name} if server_name else _HEADERS
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.post(
                    url,
                    params={"timeout": f"{timeout_s:g}s"},
                    data=body,
                    headers=headers,
                    ssl=self._context(config.get("caBundle") or ""),
                    server_hostname=server_name or None,
                    allow_redirects=False,
                ) as response,
            ):
                answer = await response.content.read(_ANSWER_BYTES_MAX)
                kind = response.headers.get("Content-Type", "")
                if response.status != 200:
                    raise WebhookError(_refusal(response.status, kind, answer))
                if not answer:
                    raise WebhookError(f"0-length response with status code: 200 and content type: {kind}")
                return answer
        except TimeoutError:
            raise WebhookError(f"{shown}: context deadline exceeded") from None
        except aiohttp.ClientConnectorCertificateError as error:
            why = _distrust(error.certificate_error, server_name or error.host)
            raise WebhookError(f"{shown}: tls: failed to verify certificate: x509: {why}") from error
        except aiohttp.ClientConnectorDNSError as error:
            raise WebhookError(f"{shown}: dial tcp: lookup {error.host}: no such host") from error
        except aiohttp.ClientConnectorError as error:
            raise WebhookError(f"{shown}: {_unreachable(error.os_error, error.host, error.port)}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise WebhookError(f"{shown}: {error}") from error

    def _socket_to(self, place: tuple[Any, ...]) -> socket.socket:
        """``place`` as getaddrinfo gives it."""
        borrowed = self._lent.socket_to(place[4][0]) if self._lent is not None else None
        return borrowed if borrowed is not None else socket.socket(*place[:3])

    async def close(self) -> None:
        """End the connections. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _place(self, config: Mapping[str, Any], query: str) -> tuple[str, str, str]:
        """(URL as it is shown, URL as it is asked, name in the certificate where that is another)."""
        service: Object | None = config.get("service")
        if service is None:
            url = config.get("url") or ""
            return url + query, url, ""
        namespace, name, port = service["namespace"], service["name"], service.get("port") or 443
        path = service.get("path") or "/"
        server_name = f"{name}.{namespace}.svc"
        shown = f"https://{server_name}:{port}{path}{query}"
        try:
            host, number = endpoint_of(self._backend, namespace, name, "https", str(port))
        except ApiError as error:
            why = f'service "{name}" not found' if is_not_found(error) else error.message
            raise WebhookError(f'Post "{shown}": {why}') from error
        host = f"[{host}]" if ":" in host else host
        return shown, f"https://{host}:{number}{path}", server_name

    def _context(self, bundle: str) -> ssl.SSLContext:
        found = self._contexts.get(bundle)
        if found is None:
            if len(self._contexts) >= _CONTEXTS_MAX:
                self._contexts.clear()
            found = self._contexts[bundle] = _trusting(bundle)
        return found


def _trusting(bundle: str) -> ssl.SSLContext:
    """TLS that trusts the certificates of a caBundle, or those of the machine. Raises WebhookError."""
    if not bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=base64.b64decode(bundle).decode("ascii"))
    except (ssl.SSLError, binascii.Error, UnicodeDecodeError):
        raise WebhookError("unable to load root certificates: unable to parse bytes as PEM block") from None


#: OpenSSL's codes for a chain that ends in nothing that is trusted.
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
_EXPIRED = 10


def _distrust(error: BaseException, host: str) -> str:
    """Why a certificate is not believed, in Go's words."""
    code = getattr(error, "verify_code", 0)
    if code in _UNKNOWN_AUTHORITY:
        return "certificate signed by unknown authority"
    if code == _EXPIRED:
        return "certificate has expired or is not yet valid"
    if "mismatch" in str(error) or "doesn't match" in str(error):
        return f"certificate is not valid for any names, but wanted to match {host}"
    return str(getattr(error, "verify_message", "") or error)


def _unreachable(error: OSError, host: str, port: int | None) -> str:
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"dial tcp {where}: connect: {why}"


_REASONS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    406: "the server was unable to respond with a content type that the client supports",
    409: "the server reported a conflict",
    415: "the server was unable to understand the content type of the request",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


def _refusal(status: int, kind: str, answer: bytes) -> str:
    """What another code than 200 means: a Status says it itself."""
    text = answer[:2000].decode("utf-8", "replace").strip() if kind.startswith("text/") else ""
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict) and found.get("kind") == "Status" and found.get("message"):
        return str(found["message"])
    if status == 403:
        return text or "forbidden"
    if status in _REASONS:
        return _REASONS[status]
    if status >= 500:
        return f'an error on the server ("{text or "unknown"}") has prevented the request from succeeding'
    return f"the server responded with the status code {status} but did not return more information"
