"""The routes of the kubelet's endpoint (upstream: pkg/kubelet/server/server.go).

    GET  /healthz /livez /readyz /pods /stats/summary /metrics/resource
    GET  /containerLogs/{namespace}/{pod}/{container}
    POST /exec/{namespace}/{pod}[/{uid}]/{container}          also GET; WebSocket or SPDY
    POST /attach/{namespace}/{pod}[/{uid}]/{container}
    POST /portForward/{namespace}/{pod}[/{uid}]
    POST /run/{namespace}/{pod}[/{uid}]/{container}

The API server checks who may exec; here it is known by its client certificate (see ``auth``). The HTTP of it is the API
server's own, so requests are read strictly and connections are bounded the same way.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from cybernetes.core.clock import Clock
from cybernetes.core.errors import ApiError
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.logs import parse_options
from cybernetes.core.objects import Object
from cybernetes.core.streaming import channels
from cybernetes.core.streaming.websocket import accept_key, is_valid_key
from cybernetes.services.apiserver.server import Exchange, HttpServer
from cybernetes.services.kubelet.runtimes.interface import PortStream, RuntimeFailure
from cybernetes.services.kubelet.server import stats
from cybernetes.services.kubelet.server.auth import Authorizer
from cybernetes.services.kubelet.server.backend import Backend, Refused
from cybernetes.services.kubelet.server.commands import Command, CommandOptions, SpdyCommand, WebSocketCommand, join
from cybernetes.services.kubelet.server.forwarding import SpdyForwarder, forward_channels
from cybernetes.services.kubelet.server.tunnel import ByteStream, Tunnel, WebSocketSession, WebSocketTunnel

log = logging.getLogger(__name__)

_TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
_JSON = b"Content-Type: application/json\r\n"

Route = Callable[["Request"], Awaitable[None]]


class Request:
    """One exchange with its path and query taken apart."""

    __slots__ = ("exchange", "lists", "parts", "path", "query", "tunnel")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        #: The connection, once it was upgraded.
        self.tunnel: Tunnel | None = None
        target, _, query = exchange.request.target.partition("?")
        self.path = target
        self.parts = [unquote(part) for part in target.strip("/").split("/")]
        self.lists = parse_qs(query, keep_blank_values=True)
        self.query = {name: values[0] for name, values in self.lists.items()}

    def header(self, name: str) -> str:
        return self.exchange.request.headers.get(name, "")

    def protocols(self, header: str) -> list[str]:
        """The protocols that a client offers, in its order, from one header or several."""
        lines = self.exchange.request.all(header)
        return [part.strip() for line in lines for part in line.split(",") if part.strip()]

    @property
    def is_websocket(self) -> bool:
        return self.exchange.request.wants_upgrade and self.header("upgrade").lower() == "websocket"

    @property
    def is_spdy(self) -> bool:
        return self.exchange.request.wants_upgrade and self.header("upgrade").lower() == "spdy/3.1"

    def text(self, code: int, text: str) -> None:
        self.exchange.respond(code, _TEXT, text.encode())

    def json(self, value: Any) -> None:
        self.exchange.respond(200, _JSON, orjson.dumps(value))


class KubeletServer:
    """``start`` listens on ``address``:``port``; ``port`` is then where (0 takes a free one)."""

    name = "kubelet server"

    def __init__(
        self,
        backend: Backend,
        authorizer: Authorizer,
        clock: Clock,
        *,
        address: str,
        port: int = 10250,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = address
        self.port = port
        self._backend = backend
        self._authorizer = authorizer
        self._clock = clock
        self._tls = tls
        self._http = HttpServer(self._serve, lambda error: f"{error}\n".encode(), clock)
        self._routes: dict[str, Route] = {
            "healthz": self._health,
            "livez": self._health,
            "readyz": self._health,
            "pods": self._pods,
            "stats": self._stats,
            "metrics": self._metrics,
            "containerLogs": self._logs,
            "exec": self._exec,
            "attach": self._attach,
            "portForward": self._port_forward,
            "run": self._run,
        }

    async def start(self) -> None:
        """Raises OSError when the port is taken."""
        self.port = await self._http.listen(self.address, self.port, self._tls)

    async def stop(self) -> None:
        if hasattr(self._http, "loop"):
            await self._http.stop(grace_s=1.0)

    async def _serve(self, exchange: Exchange) -> None:
        request = Request(exchange)
        try:
            tls = exchange.connection.transport.get_extra_info("ssl_object")
            authorization = request.header("authorization")
            await self._authorizer.check(tls, authorization, exchange.request.method, request.path)
            route = self._routes.get(request.parts[0])
            if route is None:
                raise Refused(404, "404 page not found")
            await route(request)
        except Refused as refused:
            _refuse(request, refused.code, refused.message)
        except RuntimeFailure as failure:
            _refuse(request, 500, str(failure))
        except (ApiError, ConnectionError) as error:
            if exchange.has_started:
                raise
            _refuse(request, 500, f"Internal Error: {error}")
        finally:
            if request.tunnel is not None:
                await request.tunnel.close()

    # Plain answers.

    async def _health(self, request: Request) -> None:
        problems = self._backend.problems()
        if problems:
            lines = "".join(f"[-]{problem}\n" for problem in problems)
            raise Refused(500, f"{lines}healthz check failed")
        request.text(200, "ok")

    async def _pods(self, request: Request) -> None:
        request.json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(self._backend.pods())})

    async def _stats(self, request: Request) -> None:
        if request.parts[1:] not in ([], ["summary"]):
            raise Refused(404, "404 page not found")
        request.json(await self._backend.summary())

    async def _metrics(self, request: Request) -> None:
        if request.parts[1:] not in ([], ["resource"]):
            raise Refused(404, "404 page not found")
        text = stats.resource_metrics(await self._backend.summary())
        request.exchange.respond(200, b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n", text)

    # What concerns one container.

    def _pod(self, request: Request, uid: str = "") -> Object:
        namespace, name = request.parts[1], request.parts[2]
        pod = self._backend.find_pod(namespace, name, uid)
        if pod is None:
            raise Refused(404, "pod does not exist")
        return pod

    def _container(self, request: Request) -> tuple[Object, str]:
        """(pod, container's name) of /verb/namespace/pod[/uid]/container."""
        if len(request.parts) not in (4, 5):
            raise Refused(404, "404 page not found")
        pod = self._pod(request, request.parts[3] if len(request.parts) == 5 else "")
        container = request.parts[-1]
        if spec.find_container(pod, container) is None:
            raise Refused(404, f'container not found ("{container}")')
        return pod, container

    async def _logs(self, request: Request) -> None:
        if len(request.parts) != 4:
            raise Refused(404, "404 page not found")
        try:
            options = parse_options(request.query, self._clock.now())
        except ValueError as error:
            raise Refused(422, f'{{"message": "Invalid request: {error}"}}') from error
        namespace, name, container = request.parts[1:]
        pod = self._backend.find_pod(namespace, name)
        if pod is None:
            raise Refused(404, f'pod "{name}" does not exist')
        if spec.find_container(pod, container) is None:
            raise Refused(404, f'container "{container}" not found in pod "{name}"')
        lines = await self._backend.logs(pod, container, options)
        exchange = request.exchange
        exchange.start(200, _TEXT)
        try:
            async for data in lines:
                exchange.write(data)
                await exchange.drain()
            exchange.finish()
        finally:
            close = getattr(lines, "aclose", None)
            if close is not None:
                await close()

    async def _run(self, request: Request) -> None:
        pod, container = self._container(request)
        stream = await self._backend.exec(
            pod, container, request.query.get("cmd", "").split(" "), stdin=False, tty=False
        )
        output = b""
        try:
            while (part := await stream.read()) is not None and len(output) < 1 << 20:
                output += part[1]
            await stream.wait()
        finally:
            await stream.close()
        request.exchange.respond(200, _JSON, output)

    # Streams.

    async def _exec(self, request: Request) -> None:
        pod, container = self._container(request)
        options = CommandOptions.of(request.query)
        command = request.lists.get("command") or []
        client = await self._command(request, options)
        try:
            stream = await self._backend.exec(pod, container, command, stdin=options.stdin, tty=options.tty)
        except (RuntimeFailure, Refused) as error:
            await _fail(client, f"error executing command in container: {error}")
            return
        await join(client, stream, options)

    async def _attach(self, request: Request) -> None:
        pod, container = self._container(request)
        options = CommandOptions.of(request.query)
        client = await self._command(request, options)
        try:
            stream = await self._backend.attach(pod, container)
        except (RuntimeFailure, Refused) as error:
            await _fail(client, f"error attaching to container: {error}")
            return
        await join(client, stream, options)

    async def _command(self, request: Request, options: CommandOptions) -> Command:
        """Upgrade the connection to one of the protocols of exec."""
        client: Command
        if request.is_websocket:
            protocol, tunnel = _websocket(request, channels.REMOTE_COMMAND_PROTOCOLS)
            client = WebSocketCommand(tunnel, protocol)
        elif request.is_spdy:
            offered = request.protocols("x-stream-protocol-version")
            chosen = channels.choose(offered, channels.SPDY_COMMAND_PROTOCOLS)
            if chosen is None:
                supported = ", ".join(channels.SPDY_COMMAND_PROTOCOLS)
                raise Refused(403, f"unable to upgrade: unable to negotiate protocol: client supports {offered}, "
                              f"server accepts [{supported}]")  # fmt: skip
            tunnel = _switch(request, "SPDY/3.1", [("X-Stream-Protocol-Version", chosen)] if chosen else [])
            client = SpdyCommand(tunnel, chosen or channels.V1, options)
        else:
            raise Refused(400, "Upgrade request required")
        await client.start(options)
        return client

    async def _port_forward(self, request: Request) -> None:
        if len(request.parts) not in (3, 4):
            raise Refused(404, "404 page not found")
        pod = self._pod(request, request.parts[3] if len(request.parts) == 4 else "")

        async def opener(port: int) -> PortStream:
            return await self._backend.port_forward(pod, port)

        offered = request.protocols("sec-websocket-protocol")
        if request.is_websocket and channels.PORT_FORWARD_TUNNEL in offered:
            _, tunnel = _websocket(request, (channels.PORT_FORWARD_TUNNEL,))
            stream: ByteStream = WebSocketTunnel(WebSocketSession(tunnel))
            await SpdyForwarder(stream, opener).run()
        elif request.is_websocket:
            ports = _ports(request.lists.get("port") or request.lists.get("ports") or [])
            protocol, tunnel = _websocket(request, channels.PORT_FORWARD_PROTOCOLS)
            await forward_channels(tunnel, protocol, ports, opener)
        elif request.is_spdy:
            tunnel = _switch(request, "SPDY/3.1", [("X-Stream-Protocol-Version", channels.PORT_FORWARD_SPDY)])
            await SpdyForwarder(tunnel, opener).run()
        else:
            raise Refused(400, "Upgrade request required")


def _refuse(request: Request, code: int, message: str) -> None:
    if not request.exchange.has_started:
        request.text(code, message + "\n")
    elif not request.exchange.is_finished:
        request.exchange.finish()


def _ports(texts: list[str]) -> list[int]:
    if not texts:
        raise Refused(400, 'query parameter "port" is required')
    ports = []
    for text in ",".join(texts).split(","):
        if not text.isdigit() or not 0 < int(text) < 65536:
            raise Refused(400, f'unable to parse "{text}" as a port')
        ports.append(int(text))
    return ports


def _websocket(request: Request, supported: tuple[str, ...]) -> tuple[str, Tunnel]:
    """Answer a WebSocket handshake: the protocol that was chosen, and the connection."""
    key = request.header("sec-websocket-key")
    if request.exchange.request.method != "GET" or not is_valid_key(key):
        raise Refused(400, "not a valid WebSocket handshake")
    offered = request.protocols("sec-websocket-protocol")
    chosen = channels.choose(offered, supported)
    if chosen is None:
        raise Refused(403, f"requested protocol(s) are not supported: {offered}; supports {list(supported)}")
    headers = [("Sec-WebSocket-Accept", accept_key(key))]
    if chosen:
        headers.append(("Sec-WebSocket-Protocol", chosen))
    return chosen, _switch(request, "websocket", headers)


def _switch(request: Request, protocol: str, headers: list[tuple[str, str]]) -> Tunnel:
    """Send the 101 and take the connection over."""
    lines = [f"Upgrade: {protocol}", "Connection: Upgrade", *(f"{name}: {value}" for name, value in headers)]
    tunnel = request.tunnel = Tunnel()
    transport = request.exchange.connection.transport
    rest = request.exchange.upgrade(tunnel)
    transport.write(("HTTP/1.1 101 Switching Protocols\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
    tunnel.adopt(transport, rest)
    return tunnel


async def _fail(client: Command, message: str) -> None:
    await client.finish(channels.failure_status(message))
