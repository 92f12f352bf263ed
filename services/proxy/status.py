"""What the proxy tells about itself: /healthz, /livez, /proxyMode and /metrics, where kube-proxy has them.

    0.0.0.0:10256      /healthz /livez                 for load balancers: is this node's proxy following?
    127.0.0.1:10249    /metrics /proxyMode /healthz    for whoever is on the node

Where another cluster's node on this machine has these ports, others are taken; the log says which.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import orjson

from cybernetes.core.clock import Clock
from cybernetes.core.network.table import Target
from cybernetes.services.common.component import Component
from cybernetes.services.common.metrics import CONTENT_TYPE, Labels, Metrics, process_metrics
from cybernetes.services.common.pages import Page, PageServer
from cybernetes.services.proxy.proxy import ServiceProxy

log = logging.getLogger(__name__)

HEALTH_PORT, METRICS_PORT = 10256, 10249
#: A change that has waited for so long says that the proxy does not follow any more.
LATE_S = 60.0
_LABELS = ("namespace", "service", "port", "protocol")


class ProxyStatus:
    """``health_address`` is where load balancers ask, every address when empty."""

    name = "proxy-status"

    def __init__(self, proxy: ServiceProxy, clock: Clock, *, mode: str, health_address: str = "") -> None:
        self.metrics = Metrics()
        self._proxy = proxy
        self._clock = clock
        self._mode = mode
        self._health_address = health_address
        self._health = PageServer({"/healthz": self._healthz, "/livez": self._livez})
        self._private = PageServer(
            {
                "/metrics": lambda: Page(200, CONTENT_TYPE, self.metrics.text()),
                "/proxyMode": lambda: Page(200, "text/plain; charset=utf-8", mode.encode()),
                "/healthz": lambda: Page(200, "text/plain; charset=utf-8", b"ok"),
            }
        )
        self.health_port = self.metrics_port = 0
        self._define()

    async def start(self) -> None:
        self.health_port = await _listen(self._health, self._health_address, HEALTH_PORT)
        self.metrics_port = await _listen(self._private, "127.0.0.1", METRICS_PORT)
        if (self.health_port, self.metrics_port) != (HEALTH_PORT, METRICS_PORT):
            log.info("health at port %d, metrics at port %d", self.health_port, self.metrics_port)

    async def stop(self) -> None:
        await self._health.close()
        await self._private.close()

    def _healthz(self) -> Page:
        """A node that is about to go gets no new clients."""
        return self._health_page(self._proxy.is_node_eligible)

    def _livez(self) -> Page:
        return self._health_page(True)

    def _health_page(self, is_eligible: bool) -> Page:
        now, follows = self._clock.now(), self._proxy.waiting_s < LATE_S
        body = {
            "lastUpdated": _written(now if follows else self._proxy.applied_at),
            "currentTime": _written(now),
            "nodeEligible": self._proxy.is_node_eligible,
        }
        return Page(200 if follows and is_eligible else 503, "application/json", orjson.dumps(body))

    def _define(self) -> None:
        table = self._proxy.table
        self.metrics.add(self._proxy.durations)
        gauge = self.metrics.gauge
        last = "The last time that the rules were brought up to date, as a Unix time"
        gauge("kubeproxy_sync_proxy_rules_last_timestamp_seconds", last, lambda: [((), self._proxy.applied_at)])
        gauge("cybernetes_proxy_frontends", "Addresses and ports served", lambda: [((), len(table.frontends))])
        failed = "Addresses and ports that could not be opened"
        gauge("cybernetes_proxy_frontends_failed", failed, lambda: [((), len(self._proxy.failed))])
        for name, help, field in (
            ("connections_total", "Connections and UDP flows accepted", "connections"),
            ("connections_active", "Connections and UDP flows that are open", "active"),
            ("received_bytes_total", "Bytes from clients", "bytes_in"),
            ("sent_bytes_total", "Bytes to clients", "bytes_out"),
            ("connect_failures_total", "Backends that did not answer", "connect_failures"),
            ("refused_total", "Clients that were turned away", "refused"),
        ):
            gauge(f"cybernetes_proxy_service_{name}", help, self._summed(lambda c, f=field: getattr(c, f)), _LABELS)
        gauge(
            "cybernetes_proxy_service_connect_seconds_total",
            "Time that it took to connect to backends",
            self._summed(lambda counters: counters.connect_us / 1e6),
            _LABELS,
        )
        process_metrics(self.metrics)

    def _summed(self, read: Callable[..., float]) -> Callable[[], Iterable[tuple[Labels, float]]]:
        """A reader of one counter, summed over what belongs to one port of a Service."""

        def summed() -> Iterator[tuple[Labels, float]]:
            found: dict[Labels, float] = {}
            for target, counters in self._proxy.counters():
                labels = _labels(target)
                found[labels] = found.get(labels, 0) + read(counters)
            yield from found.items()

        return summed


def _labels(target: Target) -> Labels:
    service, _, port = target.service.partition(":")
    namespace, _, name = service.partition("/")
    return namespace, name, port, target.protocol


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


async def _listen(server: PageServer, host: str, port: int) -> int:
    try:
        return await server.listen(host, port)
    except OSError:
        return await server.listen(host, 0)


def _conforms(status: ProxyStatus) -> Component:
    return status
