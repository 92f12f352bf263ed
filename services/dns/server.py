"""The DNS server of a node, as a component.

    informers (Services, headless EndpointSlices, Namespaces) -> NameIndex -> Responder -> UDP and TCP sockets

It listens on addresses of the node (the bridge's), at port 53 or, where something else has that, at any; pods ask the
cluster IP of kube-dns, and the proxy brings them here, so the port does not matter to them. The sockets may be bound
before the bridge exists. Metrics (under CoreDNS' names) and health are at port 9153 of the first address, where
nobody else has that.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import dns.rcode

from cybernetes.core.client.backoff import Backoff
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.informer import Handler, Informer
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError
from cybernetes.core.network.endpoints import service_key_of
from cybernetes.core.network.names import NameIndex
from cybernetes.core.objects import ENDPOINT_SLICES, NAMESPACES, SERVICES, Object, key_of, name_of
from cybernetes.services.common.component import Component, Tasks
from cybernetes.services.common.metrics import CONTENT_TYPE, Metrics, process_metrics
from cybernetes.services.common.netlink import local_addresses
from cybernetes.services.common.pages import Page, PageServer
from cybernetes.services.common.threads import in_thread
from cybernetes.services.dns import publish
from cybernetes.services.dns.responder import Responder, TcpServer, UdpServer
from cybernetes.services.dns.upstream import Upstream

log = logging.getLogger(__name__)

PORT, METRICS_PORT = 53, 9153
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
_RECEIVE_BUFFER = 1 << 20
_BY_SERVICE = "service"


class DnsServer:
    """``start`` returns when it answers from a complete index; the Service is published in the background.

    ``addresses``: where to listen, the first is published. ``networks``: whose foreign names are resolved, beside those
    of this host itself.
    """

    name = "dns"

    def __init__(
        self,
        informers: InformerFactory,
        clock: Clock,
        random: Random,
        *,
        node_name: str,
        addresses: Sequence[str],
        cluster_ip: str,
        zone: str = "cluster.local",
        networks: Sequence[str] = (),
        resolv_conf: Path | None = Path("/etc/resolv.conf"),
        servers: Sequence[str] = (),
        stub_domains: Mapping[str, Sequence[str]] | None = None,
        port: int = PORT,
        publishes: bool = True,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.index = NameIndex(zone, local_cidrs=networks, server_ip=cluster_ip)
        self.port = port
        self._informers = informers
        self._clock = clock
        self._random = random
        self._node_name = node_name
        self._addresses = tuple(addresses)
        self._cluster_ip = cluster_ip
        self._publishes = publishes
        self._networks = [ip_network(cidr) for cidr in networks]
        self._own_addresses: frozenset[str] = frozenset(addresses)
        self._host_addresses: frozenset[str] = frozenset()
        self._own_read_s = 0.0
        self._is_reading = False
        self._upstream = Upstream(
            clock,
            random,
            resolv_conf=resolv_conf,
            servers=servers,
            stub_domains=stub_domains,
            own_addresses=(*addresses, cluster_ip),
        )
        self.responder = Responder(self.index, self._upstream, clock, self._may_ask_outside)
        self._tasks = Tasks(self.name, on_failure)
        self._handlers: list[tuple[Informer, Handler]] = []
        self._udp: list[UdpServer] = []
        self._tcp: list[tuple[asyncio.Server, TcpServer]] = []
        self.metrics = Metrics()
        self._define_metrics()
        self._pages = PageServer(
            {
                "/metrics": lambda: Page(200, CONTENT_TYPE, self.metrics.text()),
                "/health": lambda: Page(200, "text/plain; charset=utf-8", b"OK"),
                "/ready": lambda: Page(200, "text/plain; charset=utf-8", b"OK"),
            }
        )
        self._services: Informer | None = None
        self._slices: Informer | None = None

    async def start(self) -> None:
        """Raises OSError when no socket can be opened."""
        try:
            self._services = self._informers.informer(SERVICES)
            self._slices = self._informers.informer(ENDPOINT_SLICES)
            namespaces = self._informers.informer(NAMESPACES)
            self._slices.add_index(_BY_SERVICE, lambda found: [service_key_of(found)])
            self._subscribe(namespaces, self._put_namespace, lambda old: self.index.discard_namespace(name_of(old)))
            self._subscribe(self._slices, self._slice_changed, self._slice_changed)
            self._subscribe(self._services, self._put_service, self._discard_service)
            self._informers.start()
            for informer in (namespaces, self._slices, self._services):
                await informer.wait_synced()
            await self._read_host_addresses()
            await self._listen()
            try:
                await self._pages.listen(self._addresses[0], METRICS_PORT)
            except OSError as error:
                log.info("no DNS metrics at port %d: %s", METRICS_PORT, error)
            if self._publishes:
                self._tasks.spawn(self._publish(), "publish")
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        for informer, handler in self._handlers:
            informer.remove_handler(handler)
        self._handlers.clear()
        for udp in self._udp:
            await udp.close()
        for server, tcp in self._tcp:
            server.close()
            await tcp.close()
        self._udp, self._tcp = [], []
        await self._pages.close()
        await self._upstream.close()
        await self._tasks.cancel()

    def _define_metrics(self) -> None:
        gauge, responder, upstream = self.metrics.gauge, self.responder, self._upstream
        gauge("coredns_dns_requests_total", "DNS requests received", lambda: [((), responder.queries)])

        def responses() -> Iterator[tuple[tuple[str, ...], float]]:
            for rcode, count in responder.responses.items():
                yield (dns.rcode.to_text(dns.rcode.Rcode.make(rcode)),), count

        gauge("coredns_dns_responses_total", "DNS responses sent", responses, ["rcode"])
        gauge("coredns_cache_entries", "Answers from outside that are remembered", lambda: [((), upstream.remembered)])
        gauge("coredns_cache_hits_total", "Questions answered from memory", lambda: [((), upstream.hits)])
        gauge("coredns_cache_misses_total", "Questions asked outside", lambda: [((), upstream.misses)])
        gauge("coredns_forward_errors_total", "Questions that nobody answered", lambda: [((), upstream.failures)])
        process_metrics(self.metrics)

    # From the API to the index.

    def _subscribe(self, informer: Informer, put: Callable[[Object], None], discard: Callable[[Object], None]) -> None:
        def on_change(new: Object) -> None:
            self.index.serial = int(self._clock.now())
            put(new)

        def on_delete(old: Object) -> None:
            self.index.serial = int(self._clock.now())
            discard(old)

        handler = informer.add_handler(on_change, lambda old, new: on_change(new), on_delete)
        self._handlers.append((informer, handler))

    def _put_namespace(self, namespace: Object) -> None:
        self.index.put_namespace(name_of(namespace))

    def _put_service(self, service: Object) -> None:
        key = key_of(service)
        slices: list[Object] = []
        if service["spec"].get("clusterIP") == "None" and self._slices is not None:
            slices = self._slices.by_index(_BY_SERVICE, key)
        self.index.put(service, slices)

    def _discard_service(self, service: Object) -> None:
        key = key_of(service)
        self.index.discard(key)
        if key == f"{publish.NAMESPACE}/{publish.NAME}" and self._publishes:
            self._tasks.spawn(self._publish(), "publish again")

    def _slice_changed(self, endpoint_slice: Object) -> None:
        service = self._services.by_key(service_key_of(endpoint_slice)) if self._services is not None else None
        if service is not None and service["spec"].get("clusterIP") == "None":
            self._put_service(service)

    async def _publish(self) -> None:
        backoff = Backoff(self._random, base_s=0.2, max_s=15.0)
        while True:
            try:
                client = self._informers.client
                await publish.publish(client, self._node_name, self._cluster_ip, self._addresses[0], self.port)
                return
            except (ApiError, ConnectionError, TimeoutError) as error:
                delay_s = backoff.next()
                log.warning("cannot publish kube-dns: %s; again in %.1f s", error, delay_s)
            await asyncio.sleep(delay_s)

    # Sockets.

    async def _listen(self) -> None:
        for address in self._addresses:
            udp, tcp = self._bind(address)
            loop = asyncio.get_running_loop()
            _, server = await loop.create_datagram_endpoint(lambda: UdpServer(self.responder), sock=udp)
            self._udp.append(server)
            conversation = TcpServer(self.responder)
            self._tcp.append((await asyncio.start_server(conversation.serve, sock=tcp), conversation))

    def _bind(self, address: str) -> tuple[socket.socket, socket.socket]:
        """Both sockets at one port. The first address decides which; where 53 is taken, any that is free for both."""
        try:
            sockets = _bind_both(address, self.port)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES) or self._udp:
                raise
            sockets = _bind_both(address, 0)
            log.info("port %d of %s is taken: the DNS server uses another", self.port, address)
        self.port = sockets[0].getsockname()[1]
        return sockets

    def _may_ask_outside(self, client: str) -> bool:
        if client in self._own_addresses:
            return True
        address = ip_address(client.partition("%")[0])
        if address.is_loopback:
            return True
        if any(address.version == network.version and address in network for network in self._networks):
            return True
        if client in self._host_addresses:
            return True
        if not self._is_reading and self._clock.monotonic() - self._own_read_s >= 1.0:
            self._is_reading = True  # a stranger, or an address that the host has had for a second at most
            self._tasks.spawn(self._read_host_addresses(), "read addresses")
        return False

    async def _read_host_addresses(self) -> None:
        try:
            self._host_addresses = frozenset(await in_thread(local_addresses))
        except OSError as error:
            log.warning("cannot list the addresses of this host: %s", error)
        self._own_read_s, self._is_reading = self._clock.monotonic(), False


def _bind_both(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened: list[socket.socket] = []
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            opened.append(made)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            else:
                made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            if kind == socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            else:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            made.bind((address, port))
            port = made.getsockname()[1]
    except BaseException:
        for made in opened:
            made.close()
        raise
    return opened[1], opened[0]


def _conforms(server: DnsServer) -> Component:
    return server
