"""log, exec, attach, port-forward: what a pod's node answers, through the API server.

The API server checks who asks and finds the node; the kubelet speaks WebSocket and SPDY. An upgrade is forwarded as it
came, and only a 101 makes the two connections one pipe. Anything else is read as an answer and becomes a Status.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from cybernetes.core.auth.attributes import Attributes, refusal
from cybernetes.core.errors import ApiError, bad_request, failure, internal, not_found
from cybernetes.core.objects import NODES, Object
from cybernetes.services.apiserver import socketanswer
from cybernetes.services.apiserver.authentication import TOKEN_PROTOCOL
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Stream
from cybernetes.services.apiserver.exchange import Exchange
from cybernetes.services.apiserver.http1 import HttpRequest
from cybernetes.services.apiserver.upstream import Head, Pipe, Upstream, UpstreamError
from cybernetes.services.common.lentsockets import LentSockets

Handler = Callable[[Backend, Call], Awaitable[Stream]]

_REASON_BYTES_MAX = 2048
_KUBELET_PORT = 10250
#: Headers of one connection, never forwarded (RFC 9110 7.6.1), and those that speak to the API server alone.
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"}
)
_PRIVATE = frozenset({"authorization", "host", "content-length", "accept-encoding"})


class Nodes:
    """How kubelets are reached: ``tls`` has the client certificate that they know and the authority of theirs.

    A node in a network namespace of its own has a socket in the file system, ``<sockets>/<node>/kubelet.sock``, and
    lends sockets to pods and Services, which are in ``networks``.
    """

    def __init__(self, tls: ssl.SSLContext | None, sockets: Path | None = None, networks: Sequence[str] = ()) -> None:
        self.tls = tls
        self.lent = LentSockets(sockets, networks) if sockets is not None else None
        self._sockets = sockets

    async def open(self, backend: Backend, node_name: str) -> Upstream:
        """A connection to the kubelet of a node. Raises ApiError."""
        host, port = self.address(backend, node_name)
        try:
            through = self._sockets / node_name / "kubelet.sock" if self._sockets is not None else None
            return await Upstream.connect(host, port, self.tls, through=through)
        except UpstreamError as error:
            raise internal(f"error dialing backend: {error}") from error

    def address(self, backend: Backend, node_name: str) -> tuple[str, int]:
        node = backend.storage.find(NODES, "", node_name)
        if node is None:
            raise not_found("", "nodes", node_name)
        status = node.get("status") or {}
        by_type: dict[str, str] = {}
        for address in status.get("addresses") or ():
            by_type.setdefault(address.get("type", ""), address.get("address", ""))
        for kind in ("InternalIP", "Hostname", "ExternalIP", "InternalDNS", "ExternalDNS"):
            if by_type.get(kind):
                port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
                return by_type[kind], int(port or _KUBELET_PORT)
        raise internal(f"no preferred addresses found; known addresses: {status.get('addresses') or []}")


def handlers(nodes: Nodes) -> dict[str, Handler]:
    """By subresource."""

    async def log(backend: Backend, call: Call) -> Stream:
        pod = _pod(backend, call)
        container = _container(call, pod)
        path = _path("containerLogs", call, container) + _log_query(call)
        node_name = pod["spec"].get("nodeName")

        async def run(exchange: Exchange) -> None:
            if not node_name:
                exchange.respond(200, b"Content-Type: text/plain\r\n", b"")
                return
            if socketanswer.is_wanted(exchange.request):
                exchange = socketanswer.SocketExchange(exchange, socketanswer.LOG_PROTOCOLS, pings=True)
            upstream = await nodes.open(backend, node_name)
            try:
                await _copy_log(exchange, upstream, path, call)
            finally:
                upstream.close()
                if isinstance(exchange, socketanswer.SocketExchange):
                    exchange.finish()  # whatever happened: nobody else has the connection any more

        return Stream(run)

    def command(kind: str) -> Handler:
        async def stream(backend: Backend, call: Call) -> Stream:
            _check_create(backend, call)
            pod = _pod(backend, call)
            node_name = pod["spec"].get("nodeName")
            container = "" if kind == "portForward" else _container(call, pod)
            if not node_name:
                raise bad_request(f"pod {call.name} does not have a host assigned")
            if kind == "portForward":
                path = _path(kind, call) + _port_query(call)
            else:
                path = _path(kind, call, container) + _command_query(call)

            async def run(exchange: Exchange) -> None:
                upstream = await nodes.open(backend, node_name)
                await upgrade(exchange, upstream, path, node_name)

            return Stream(run)

        return stream

    return {
        "log": log,
        "exec": command("exec"),
        "attach": command("attach"),
        "portforward": command("portForward"),
    }


async def upgrade(exchange: Exchange, upstream: Upstream, target: str, host: str) -> None:
    """Forward a request that asks for an upgrade; on 101 be a pipe until one side ends. Raises ApiError otherwise."""
    request = exchange.request
    try:
        if not request.wants_upgrade:
            raise bad_request("Upgrade request required")
        headers = {"Host": host, **forwarded(request), "Connection": "Upgrade"}
        if request.body:
            headers["Content-Length"] = str(len(request.body))
        upstream.send(request.method, target, headers, request.body)
        head = await upstream.read_head()
        if head.code != 101:
            raise _refused(head, await upstream.read_all(_REASON_BYTES_MAX), "", "")
    except UpstreamError as error:
        upstream.close()
        raise internal(f"error dialing backend: {error}") from error
    except BaseException:
        upstream.close()
        raise
    await join(exchange, upstream, head)


def forwarded(request: HttpRequest) -> dict[str, str]:
    """The headers that a peer may see: none of this connection's, and no credential of the client."""
    headers = {
        name: value for name, value in request.headers.items() if name not in HOP_BY_HOP and name not in _PRIVATE
    }
    protocols = headers.get("sec-websocket-protocol")
    if protocols and TOKEN_PROTOCOL in protocols:
        kept = [each.strip() for each in protocols.split(",") if not each.strip().startswith(TOKEN_PROTOCOL)]
        headers["sec-websocket-protocol"] = ", ".join(kept)
    return headers


async def join(exchange: Exchange, upstream: Upstream, head: Head) -> None:
    """The answer 101 to the client, then bytes both ways until one side ends."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    transport = exchange.connection.transport
    pipe = Pipe(transport, upstream, ended)
    lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in head.headers)]
    transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
    early = exchange.upgrade(pipe)
    if early:
        upstream.transport.write(early)
    late = upstream.pipe(pipe)
    if late:
        transport.write(late)
    try:
        await ended
    finally:
        upstream.transport.close()
        transport.close()


async def _copy_log(exchange: Exchange, upstream: Upstream, path: str, call: Call) -> None:
    upstream.send("GET", path, {"Host": "kubelet", "Connection": "close", "User-Agent": "cybernetes"})
    try:
        head = await upstream.read_head()
        if head.code != 200:
            raise _refused(head, await upstream.read_all(_REASON_BYTES_MAX), "pods", call.name)
        exchange.start(200, b"Content-Type: text/plain\r\nCache-Control: no-cache, private\r\n")
        while True:
            piece = await upstream.read()
            if not piece:
                break
            exchange.write(piece)
            await exchange.drain()
        exchange.finish()
    except UpstreamError as error:
        if exchange.has_started:
            raise ConnectionResetError(str(error)) from error
        raise internal(f"error reading the log: {error}") from error


def _refused(head: Head, body: bytes, resource: str, name: str) -> ApiError:
    """What the kubelet said, as a Status."""
    text = body.decode(errors="replace").strip()
    if head.code == 400:
        return bad_request(text or "unable to upgrade connection")
    if head.code == 500:
        return internal(text)
    reason = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed"}.get(head.code, "")
    message = text or f"the server responded with the status code {head.code} but did not return more information"
    code = head.code if 400 <= head.code < 600 else 502
    return failure(code, reason, message, name=name, kind=resource)


def _check_create(backend: Backend, call: Call) -> None:
    """A WebSocket begins with a GET; what it does takes the permission ``create`` all the same (KEP-4006)."""
    if call.verb != "create":
        gvr = call.resource.gvr
        name = call.subresource.name if call.subresource is not None else ""
        attributes = Attributes("create", gvr.group, gvr.version, gvr.resource, name, call.namespace, call.name)
        decision = backend.authorize(call.user, attributes)
        if not decision.allowed:
            raise refusal(call.user, attributes, decision.reason)


def _pod(backend: Backend, call: Call) -> Object:
    cached = backend.storage.cache(call.resource).get(call.namespace, call.name)
    if cached is None:
        raise not_found("", "pods", call.name)
    return cached.object()


def _container(call: Call, pod: Object) -> str:
    """The container that is meant: without a name the only one. Raises ApiError 400."""
    spec = pod["spec"]
    names = [each["name"] for each in spec.get("containers") or ()]
    initial = [each["name"] for each in spec.get("initContainers") or ()]
    ephemeral = [each["name"] for each in spec.get("ephemeralContainers") or ()]
    container = call.option("container")
    if container:
        if container not in (*names, *initial, *ephemeral):
            raise bad_request(f"container {container} is not valid for pod {call.name}")
        return container
    if len(names) == 1:
        return str(names[0])
    raise bad_request(_choose(call.name, names, initial, ephemeral))


def _choose(pod: str, names: Sequence[str], initial: Sequence[str], ephemeral: Sequence[str]) -> str:
    text = f"a container name must be specified for pod {pod}, choose one of: [{' '.join(names)}]"
    if initial:
        text += f" or one of the init containers: [{' '.join(initial)}]"
    if ephemeral:
        text += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    return text


def _path(kind: str, call: Call, container: str = "") -> str:
    parts = [kind, call.namespace, call.name, *([container] if container else [])]
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _command_query(call: Call) -> str:
    """exec and attach as kubelets understand them."""
    pairs = [
        (short, "1")
        for name, short in (("stdin", "input"), ("stdout", "output"), ("stderr", "error"))
        if call.flag(name)
    ]
    if call.flag("tty"):
        pairs.append(("tty", "1"))
    pairs += [("command", value) for value in call.query.get("command", ())]
    return "?" + urlencode(pairs) if pairs else ""


def _port_query(call: Call) -> str:
    pairs = [("port", part) for value in call.query.get("ports", ()) for part in value.split(",")]
    return "?" + urlencode(pairs) if pairs else ""


_LOG_FLAGS = ("follow", "previous", "timestamps")
_LOG_VALUES = ("sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream")


def _log_query(call: Call) -> str:
    pairs = [(name, "true") for name in _LOG_FLAGS if call.flag(name)]
    pairs += [(name, call.option(name)) for name in _LOG_VALUES if call.option(name)]
    return "?" + urlencode(pairs) if pairs else ""
