"""One look at a container: by a command in it, an HTTP GET, a TCP connection or the gRPC health service.

Used by probes and lifecycle hooks. A ``Check`` never raises for what the container does: its outcome says whether it
succeeded and what there is to tell. ``CheckError`` is for what could not be asked at all (a port without a name).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from cybernetes import KUBERNETES_VERSION
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.backoff import format_duration
from cybernetes.services.kubelet.grpchealth import HealthError, check_health
from cybernetes.services.kubelet.runtimes.interface import Runtime, RuntimeFailure

BODY_BYTES_MAX = 10 * 1024
_REDIRECTS_MAX = 10
_VERSION = ".".join(KUBERNETES_VERSION.split(".")[:2])


class CheckError(Exception):
    """It could not be asked."""


class Outcome(NamedTuple):
    """``output`` is what the event says. A warning is a success with something to tell."""

    success: bool
    output: str = ""
    is_warning: bool = False


def resolve_port(port: int | str, container: spec.Container) -> int:
    """A number, or the name of a port of the container. Raises CheckError."""
    if isinstance(port, str) and port.isdigit():
        port = int(port)
    if isinstance(port, str):
        for entry in container.get("ports") or ():
            if entry.get("name") == port:
                return int(entry["containerPort"])
        raise CheckError(f"couldn't find port with name: {port} in container ports")
    if not 0 < port < 65536:
        raise CheckError(f"invalid port number: {port}")
    return port


class Checks:
    """Shared by all probes and hooks of a node: one HTTP session without keep-alive."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._http: aiohttp.ClientSession | None = None

    async def stop(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def command(self, container_id: str, command: Sequence[str], timeout_s: float) -> Outcome:
        """``timeout_s`` 0: none. Raises CheckError when it cannot be run."""
        try:
            result = await self._runtime.exec_sync(container_id, command, timeout_s)
        except TimeoutError:
            text = f'command timed out: "{" ".join(command)}" timed out after {format_duration(timeout_s)}'
            return Outcome(False, text)
        except RuntimeFailure as error:
            raise CheckError(str(error)) from error
        output = (result.stdout + result.stderr)[:BODY_BYTES_MAX].decode(errors="replace")
        return Outcome(result.exit_code == 0, output)

    async def http(
        self, action: Mapping[str, Any], container: spec.Container, pod_address: str, timeout_s: float, purpose: str
    ) -> Outcome:
        """``purpose`` is ``probe`` or ``lifecycle``: part of the User-Agent."""
        port = resolve_port(action["port"], container)
        host = action.get("host") or pod_address
        path = action.get("path") or "/"
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        url = f"{(action.get('scheme') or 'HTTP').lower()}://{where}{path if path.startswith('/') else '/' + path}"
        headers: list[tuple[str, str]] = [(h["name"], h.get("value") or "") for h in action.get("httpHeaders") or ()]
        names = {name.lower() for name, _ in headers}
        if "user-agent" not in names:
            headers.append(("User-Agent", f"kube-{purpose}/{_VERSION}"))
        if "accept" not in names:
            headers.append(("Accept", "*/*"))
        if self._http is None:
            self._http = _session()
        try:
            async with asyncio.timeout(timeout_s or None):
                return await self._get(self._http, url, headers)
        except TimeoutError:
            return Outcome(
                False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome(False, f'Get "{url}": {_why(error)}')

    async def _get(self, session: aiohttp.ClientSession, url: str, headers: list[tuple[str, str]]) -> Outcome:
        """Redirects on the same host are followed; one to elsewhere is a warning, for nothing was learnt."""
        first = urlsplit(url).hostname
        for _ in range(_REDIRECTS_MAX):
            async with session.get(url, headers=headers, allow_redirects=False) as response:
                body = (await response.content.read(BODY_BYTES_MAX)).decode(errors="replace")
                if 200 <= response.status < 300:
                    return Outcome(True, body)
                if not 300 <= response.status < 400:
                    return Outcome(False, f"HTTP probe failed with statuscode: {response.status}")
                target = response.headers.get("Location")
                following = str(response.url.join(URL(target))) if target else ""
            if not following or urlsplit(following).hostname != first:
                return Outcome(True, f"Probe terminated redirects, Response body: {body}", is_warning=True)
            url = following
        return Outcome(False, f'Get "{url}": stopped after {_REDIRECTS_MAX} redirects')

    async def tcp(self, host: str, port: int, timeout_s: float) -> Outcome:
        try:
            async with asyncio.timeout(timeout_s or None):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
        except OSError as error:
            return Outcome(False, f"dial tcp {host}:{port}: {_why(error)}")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return Outcome(True)

    async def grpc(self, host: str, port: int, service: str, timeout_s: float) -> Outcome:
        where = f"{host}:{port}"
        try:
            async with asyncio.timeout(timeout_s or None):
                status = await check_health(host, port, service, f"kube-probe/{_VERSION}")
        except TimeoutError:
            took = format_duration(timeout_s)
            return Outcome(
                False, f'timeout: failed to connect service "{where}" within {took}: context deadline exceeded'
            )
        except OSError as error:
            return Outcome(False, f'error: failed to connect service at "{where}": {_why(error)}')
        except HealthError as error:
            return Outcome(False, f"error: {error}")
        if status != "SERVING":
            return Outcome(False, f'service unhealthy (responded with "{status}")')
        return Outcome(True, "service healthy")


def _session() -> aiohttp.ClientSession:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # as upstream: a probe asks whether it answers, not who it is
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=0, ssl=context),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


def _why(error: Exception) -> str:
    """The cause in the words of the system's resolver and sockets, as Go prints it."""
    cause = getattr(error, "os_error", None) or error
    if isinstance(cause, ConnectionRefusedError):
        return "connect: connection refused"
    if isinstance(cause, OSError) and cause.strerror:
        return f"connect: {cause.strerror.lower()}"
    return str(error) or type(error).__name__
