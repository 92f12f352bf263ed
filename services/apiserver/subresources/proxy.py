"""``proxy`` of nodes, pods and Services: any HTTP request, carried through the API server to what it names.

    /api/v1/namespaces/z/pods/[scheme:]web[:port]/proxy/path       the pod's address
    /api/v1/namespaces/z/services/[scheme:]web[:port]/proxy/path   one of its ready endpoints
    /api/v1/nodes/n[:port]/proxy/path                              the node's kubelet

Addresses of the server itself and of the link are refused: they would reach what only the server may reach.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import quote, unquote

from cybernetes.core.errors import bad_request, failure, not_found, service_unavailable
from cybernetes.core.labels import Selector
from cybernetes.core.objects import ENDPOINT_SLICES, PODS, SERVICES, Object
from cybernetes.core.store.cached import Selection
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Stream
from cybernetes.services.apiserver.exchange import Exchange
from cybernetes.services.apiserver.subresources.links import Links
from cybernetes.services.apiserver.subresources.streams import HOP_BY_HOP, Nodes, forwarded, upgrade
from cybernetes.services.apiserver.upstream import Head, Upstream, UpstreamError
from cybernetes.services.common.lentsockets import LentSockets

_SCHEMES = ("", "http", "https")


class Place(NamedTuple):
    """Where a request goes. ``tls`` None is plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None


def handler(nodes: Nodes) -> Callable[[Backend, Call], Awaitable[Stream]]:
    """For every verb of the three resources."""

    async def proxy(backend: Backend, call: Call) -> Stream:
        scheme, name, port = split(call.name)
        kind = call.resource.gvr.resource
        if kind == "nodes":
            host, kubelet_port = nodes.address(backend, name)
            place = Place(host, int(port) if port.isdigit() else kubelet_port, nodes.tls)
        else:
            host, number = (_pod if kind == "pods" else endpoint_of)(backend, call.namespace, name, scheme, port)
            if not is_proxyable(host):
                raise bad_request("address not allowed")
            place = Place(host, number, _unverified() if scheme == "https" else None)

        async def run(exchange: Exchange) -> None:
            await _forward(exchange, call, place, nodes.lent)

        return Stream(run)

    return proxy


def split(text: str) -> tuple[str, str, str]:
    """(scheme, name, port) of ``name``, ``name:port`` or ``scheme:name:port``. Raises ApiError 400."""
    parts = text.split(":")
    if len(parts) == 1:
        parts = ["", parts[0], ""]
    elif len(parts) == 2:
        parts = ["", *parts]
    if len(parts) != 3 or parts[0] not in _SCHEMES or not parts[1]:
        raise bad_request(f'invalid request "{text}"')
    return parts[0], parts[1], parts[2]


def is_proxyable(host: str) -> bool:
    """Only addresses that anybody could reach: not this machine's own, not those of the link."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)


async def _forward(exchange: Exchange, call: Call, place: Place, lent: LentSockets | None) -> None:
    request = exchange.request
    _, _, query = request.target.partition("?")
    path = request.target.partition("?")[0]
    if not call.rest and not path.endswith("/") and request.method in ("GET", "HEAD"):
        location = path + "/" + (f"?{query}" if query else "")
        exchange.respond(301, f"Location: {location}\r\n".encode("latin-1"), b"")
        return
    trailing = "/" if path.endswith("/") and call.rest else ""
    target = "/" + "/".join(quote(part, safe=":@!$&'()*+,;=~-._") for part in call.rest) + trailing
    if query:
        target += f"?{query}"
    try:
        upstream = await Upstream.connect(place.host, place.port, place.tls, lent=lent)
    except UpstreamError as error:
        raise service_unavailable(f"error trying to reach service: {error}") from error
    if request.wants_upgrade:
        await upgrade(exchange, upstream, target, place.host)
        return
    try:
        headers = {"Host": request.headers.get("host") or place.host, **forwarded(request), "Connection": "close"}
        headers["X-Forwarded-Uri"] = path
        headers.pop("upgrade", None)
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(len(request.body))
        if exchange.connection.peer_address:
            headers["X-Forwarded-For"] = exchange.connection.peer_address
        upstream.send(request.method, target, headers, request.body)
        head = await upstream.read_head()
        if request.method == "HEAD":
            upstream.has_no_body()
        links = Links(_prefix(path, call, trailing), (place.host, f"{place.host}:{place.port}", headers["Host"]))
        shown = _shown(head, links)
        if _is_page(head) and not head.get("location") and request.method != "HEAD":
            page = await upstream.read_all(_PAGE_BYTES_MAX)
            if len(page) < _PAGE_BYTES_MAX:
                rewritten = links.in_html(page.decode("utf-8", "surrogateescape"))
                exchange.respond(head.code, shown, rewritten.encode("utf-8", "surrogateescape"))
                return
            exchange.start(head.code, shown)
            exchange.write(page)  # too large to be held: its links stay as they are
        else:
            exchange.start(head.code, shown)
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
        raise service_unavailable(f"error trying to reach service: {error}") from error
    finally:
        upstream.close()


def _shown(head: Head, links: Links) -> bytes:
    """The peer's headers but for those of its connection and its body's length, and who may read it from other pages,
    which are ours to say."""
    lines = [
        f"{name}: {links.rewrite(value) if name == 'location' else value}\r\n"
        for name, value in head.headers
        if name not in HOP_BY_HOP and name not in _OURS
    ]
    return "".join(lines).encode("latin-1", "replace")


def _prefix(path: str, call: Call, trailing: str) -> str:
    """The part of the request's path that is the proxy's own."""
    rest = unquote(path)
    return rest.removesuffix("/".join(call.rest) + trailing)


def _is_page(head: Head) -> bool:
    return head.get("content-type").partition(";")[0].strip() == "text/html" and not head.get("content-encoding")


#: A page of more is passed on as it is.
_PAGE_BYTES_MAX = 8 << 20
_OURS = frozenset(
    {"content-length", "date", "upgrade"}
    | {f"access-control-allow-{what}" for what in ("credentials", "headers", "methods", "origin")}
)


def _unverified() -> ssl.SSLContext:
    """Pods and Services have certificates of their own making: upstream does not check them either."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _pod(backend: Backend, namespace: str, name: str, scheme: str, port: str) -> tuple[str, int]:
    pod = backend.storage.find(PODS, namespace, name)
    if pod is None:
        raise not_found("", "pods", name)
    if not port:
        for container in pod["spec"].get("containers") or ():
            if container.get("ports"):
                port = str(container["ports"][0]["containerPort"])
                break
    addresses = (pod.get("status") or {}).get("podIPs") or ()
    if not addresses:
        raise bad_request("address not allowed")
    return addresses[0]["ip"], _number(port, scheme)


def endpoint_of(backend: Backend, namespace: str, name: str, scheme: str, port: str) -> tuple[str, int]:
    """A ready endpoint of the Service for its port of this name or number. Raises ApiError 404, 503."""
    service = backend.storage.find(SERVICES, namespace, name)
    if service is None:
        raise not_found("", "services", name)
    port_name = port
    if port.isdigit():
        matching = [each for each in service["spec"].get("ports") or () if each.get("port") == int(port)]
        if not matching:
            raise service_unavailable(f'no service port {port} found for service "{name}"')
        port_name = matching[0].get("name") or ""
    found: list[tuple[str, int]] = []
    for endpoint_slice in _slices(backend, namespace, name):
        ports = endpoint_slice.get("ports") or ()
        numbers = [each.get("port") for each in ports if not port or (each.get("name") or "") == port_name]
        if not numbers or not numbers[0]:
            continue
        for endpoint in endpoint_slice.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready", True):
                found += [(address, int(numbers[0])) for address in endpoint.get("addresses") or ()]
    if not found:
        raise service_unavailable(f'no endpoints available for service "{name}"')
    return found[backend.random.below(len(found))]


def _slices(backend: Backend, namespace: str, name: str) -> list[Object]:
    selector = Selector.from_labels({"kubernetes.io/service-name": name})
    cache = backend.storage.cache_of(ENDPOINT_SLICES)
    return [cached.object() for cached in cache.list(Selection(namespace, labels=selector)).records]


def _number(port: str, scheme: str) -> int:
    if not port:
        return 443 if scheme == "https" else 80
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise failure(400, "BadRequest", f"invalid port {port}")
    return int(port)
