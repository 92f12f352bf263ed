"""What pods on this node are told about it: addresses, resources, Services, name servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cybernetes.core.client.informer import Informer
from cybernetes.core.kubelet.downward import Surroundings
from cybernetes.core.kubelet.environment import ConfigurationError
from cybernetes.core.kubelet.hosts import Resolver, parse_resolv, pod_resolver
from cybernetes.core.kubelet.node import Machine
from cybernetes.core.network.environment import service_environment
from cybernetes.core.objects import Object
from cybernetes.services.kubelet.recorder import KubeletEvents


class KubeletNodeView:
    """The ``NodeView`` of a real node. ``node`` gives its Node object."""

    def __init__(
        self,
        node: Callable[[], Object],
        services: Informer,
        events: KubeletEvents,
        machine: Machine,
        *,
        addresses: Sequence[str],
        cluster_dns: Sequence[str],
        cluster_domain: str,
        resolv_conf: Path | None,
        pod_pids_limit: int = 0,
    ) -> None:
        self.pod_pids_limit = pod_pids_limit
        self.cluster_domain = cluster_domain
        self.memory_capacity = machine.memory
        self._node = node
        self._services = services
        self._events = events
        self._addresses = tuple(addresses)
        self._cluster_dns = tuple(cluster_dns)
        self._resolv_conf = resolv_conf

    def surroundings(self, addresses: tuple[str, ...]) -> Surroundings:
        allocatable = (self._node().get("status") or {}).get("allocatable") or {}
        return Surroundings(addresses, self._addresses, allocatable)

    def service_environment(self, namespace: str, enable_service_links: bool) -> dict[str, str]:
        if not self._services.has_synced:
            raise ConfigurationError("services have not yet been read at least once, cannot construct envvars")
        return service_environment(self._services.list(), namespace, enable_service_links)

    def resolver(self, pod: Object) -> Resolver:
        return pod_resolver(
            pod,
            host=self._host_resolver(),
            cluster_dns=self._cluster_dns,
            cluster_domain=self.cluster_domain,
            warn=lambda reason, message: self._events.pod(pod, "Warning", reason, message),
        )

    def _host_resolver(self) -> Resolver:
        if self._resolv_conf is None:
            return Resolver(("127.0.0.1",), (), ())
        try:
            return parse_resolv(self._resolv_conf.read_text(errors="replace"))
        except OSError:
            return Resolver()
