"""One node in one process: kubelet, service proxy, NetworkPolicies and DNS, each with a client of its own, over HTTPS.

Of several nodes the first is the machine itself, the others enter network namespaces before anything else
(services/kubelet/interconnect.py).

Without root the process first enters user, network and mount namespaces in which it is root. Two relays join it to the
host then: pods reach the API server through ``api.sock``, the API server reaches the kubelet through ``kubelet.sock``.
Node ports and host ports are opened on the host by a child that stays there (services/common/hostsockets.py).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random, SystemClock
from cybernetes.services.cli.addresses import (
    cluster_dns,
    is_joined,
    node_addresses,
    node_names,
    pod_cidrs,
    switch_addresses,
)
from cybernetes.services.cli.datadir import ClusterOptions, DataDirectory
from cybernetes.services.cli.identity import kubelet_client
from cybernetes.services.cli.pki import server_context
from cybernetes.services.common import kubeconfig, lentsockets, netns, userns
from cybernetes.services.common.hostsockets import HostSockets
from cybernetes.services.common.lentsockets import Lender
from cybernetes.services.common.netlink import Netlink
from cybernetes.services.common.relay import Relay
from cybernetes.services.common.runner import Process, StartFailure
from cybernetes.services.kubelet.cgroups import Cgroups
from cybernetes.services.kubelet.hostports import ForwardedHostPorts
from cybernetes.services.kubelet.interconnect import NodeNamespace, Switch
from cybernetes.services.kubelet.network import NetworkFailure, PodNetwork
from cybernetes.services.kubelet.runtimes.interface import Runtime, RuntimeFailure
from cybernetes.services.kubelet.volumes.mounts import mounts_below, unmount
from cybernetes.services.proxy import nftables, policies, sources

KUBELET_PORT = 10250
#: The nodes of one cluster share a machine, often with its user: a fork bomb ends here.
POD_PIDS_LIMIT = 8192


class Node:
    """What the parts of one node are made from. ``name`` is one of ``node_names``."""

    def __init__(
        self, data: DataDirectory, options: ClusterOptions, name: str, host: HostSockets | None = None
    ) -> None:
        self.data = data
        self.options = options
        self.name = name
        self.folder = data.node(name)
        self.host = host
        self.clock: Clock = SystemClock()
        self.random = Random(options.seed)
        self.pod_cidrs = pod_cidrs(options, name)
        self.addresses = node_addresses(options, name)
        # The cluster in the usual place has the usual names; others on this machine must not meet it.
        tag = "0" if data.is_default else data.identity[:6]
        self.proxy_interface = "cyb-proxy" if data.is_default else f"cyb-p{tag}"
        self.network = PodNetwork(
            bridge=f"cyb{tag}",
            cluster_cidrs=[*options.pod_cidr.split(","), *options.service_cidr.split(",")],
            host_ports=ForwardedHostPorts(host),
        )
        #: What joins several nodes, and where a further one lives.
        self.switch = self.namespace = None
        if is_joined(options):
            cluster_cidrs = (*options.pod_cidr.split(","), *options.service_cidr.split(","))
            self.switch = Switch(f"cyb{tag}-nodes"[:15], switch_addresses(options), cluster_cidrs)
            number = node_names(options).index(name)
            if number > 0:
                self.namespace = NodeNamespace(
                    self.folder / "netns",
                    self.switch,
                    f"cyb{tag}-n{number + 1}",
                    self.addresses,
                    tuple(self.pod_cidrs),
                )

    @property
    def cgroup_parent(self) -> str:
        """One tree a cluster and node, so that clusters on one machine never share one."""
        return f"cybernetes-{self.data.identity}-{self.name}"

    def runtime(self) -> Runtime:
        if self.options.runtime == "docker":
            from cybernetes.services.kubelet.runtimes.docker import DockerRuntime
            from cybernetes.services.kubelet.runtimes.docker.engine import Engine

            return DockerRuntime(
                self.cgroup_parent,
                self.cgroup_parent,
                self.network,
                self.clock,
                Engine(),
                self.namespace.path if self.namespace is not None else None,
            )
        from cybernetes.services.kubelet.runtimes.process import ProcessRuntime

        return ProcessRuntime(self.folder / "runtime", self.data.path, self.cgroup_parent, self.network, self.clock)

    def client(self, name: str, agent: str, process: Process) -> Client:
        """By the kubeconfig ``name`` in the node's folder; closed at the end. Raises StartFailure.

        ``agent`` is the user agent, and so who manages the fields that are written.
        """
        try:
            connection = kubeconfig.read(self.folder / name)
            client = connection.client(random=self.random, user_agent=agent)
        except kubeconfig.KubeconfigError as error:
            raise StartFailure(str(error)) from error
        process.at_the_end(client.close)
        return client

    def informers(self, client: Client, process: Process) -> InformerFactory:
        return InformerFactory(client, self.clock, self.random, on_failure=process.failed)

    def _kubelet_port(self) -> int:
        """The usual one, unless another cluster's node on this machine has it: then any free one."""
        with socket.socket(socket.AF_INET6 if ":" in self.addresses[0] else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.addresses[0], KUBELET_PORT))
            except OSError:
                return 0
        return KUBELET_PORT

    async def start(self, process: Process) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "pid").write_text(f"{os.getpid()}\n")
        await process.wait_for("control-plane")
        try:
            if self.switch is not None and self.namespace is None:
                await asyncio.to_thread(self.switch.open)
            await self.network.configure(self.pod_cidrs)
            if self.options.rootless:
                await self._join_host(process)
            await self._start_parts(process)
        except (RuntimeFailure, NetworkFailure) as error:
            raise StartFailure(str(error)) from error
        except PermissionError as error:
            message = f"this user may not set up pod networking ({error}): run as root, or use --runtime simulated"
            raise StartFailure(message) from error

    async def _start_parts(self, process: Process) -> None:
        without = self.options.without
        proxy_client = self.client("proxy.kubeconfig", "kube-proxy", process)
        informers = self.informers(proxy_client, process)
        if "proxy" not in without:
            await self._start_proxy(process, informers)
        if "kubelet" not in without:
            await self._start_kubelet(process)
        if "dns" not in without:
            await self._start_dns(process)
        informers.start()

    async def _start_proxy(self, process: Process, informers: InformerFactory) -> None:
        from cybernetes.services.proxy.policies import PolicyEnforcer
        from cybernetes.services.proxy.proxy import ServiceProxy
        from cybernetes.services.proxy.status import ProxyStatus

        proxy = ServiceProxy(
            informers,
            node_name=self.name,
            service_cidrs=self.options.service_cidr.split(","),
            cluster_cidrs=self.options.pod_cidr.split(","),
            pod_cidrs=self.pod_cidrs,
            interface=self.proxy_interface,
            mode=self.options.proxy_mode,
            host=self.host,
            balancer_pool=[part for part in self.options.load_balancer_pool.split(",") if part],
            on_failure=process.failed,
        )
        await process.start(proxy)
        process.component_ready("proxy", f"{self.options.proxy_mode}, services in {self.options.service_cidr}")
        await process.start(ProxyStatus(proxy, self.clock, mode=self.options.proxy_mode))
        enforcer = PolicyEnforcer(
            self.informers(self.client("policies.kubeconfig", "network-policies", process), process),
            node_name=self.name,
            interface=self.proxy_interface,
            on_isolation=proxy.isolate,
            on_failure=process.failed,
        )
        await process.start(enforcer)

    async def _start_kubelet(self, process: Process) -> None:
        from cybernetes.services.kubelet.kubelet import Kubelet

        kubelet = Kubelet(
            await kubelet_client(self.folder, self.name, self.clock, self.random, process),
            self.clock,
            self.random,
            node_name=self.name,
            runtime=self.runtime(),
            root=self.folder / "kubelet",
            logs=self.data.logs / "pods" / self.name,
            addresses=self.addresses,
            kubelet_port=self._kubelet_port(),
            tls=server_context(self.folder / "kubelet.crt", self.folder / "kubelet.key", self.data.pki / "ca.crt"),
            cluster_dns=[cluster_dns(self.options)],
            cluster_domain=self.options.cluster_domain,
            pod_cidrs=self.pod_cidrs,
            manifests=Path(self.options.manifests) if self.options.manifests and self.namespace is None else None,
            pod_pids_limit=POD_PIDS_LIMIT,
            on_failure=process.failed,
        )
        await process.start(kubelet)
        process.component_ready("kubelet", f"{self.name}, {self.options.runtime} runtime")

    async def _start_dns(self, process: Process) -> None:
        from cybernetes.services.dns.server import DnsServer

        client = self.client("dns.kubeconfig", "dns", process)
        informers = self.informers(client, process)
        server = DnsServer(
            informers,
            self.clock,
            self.random,
            node_name=self.name,
            addresses=self.network.gateways,
            cluster_ip=cluster_dns(self.options),
            zone=self.options.cluster_domain,
            networks=self.options.pod_cidr.split(","),
            on_failure=process.failed,
        )
        await process.start(server)
        process.component_ready("dns", f"{cluster_dns(self.options)} for {self.options.cluster_domain}")

    async def _join_host(self, process: Process) -> None:
        host = self.addresses[0]
        await process.start(Relay((host, self.options.port), self.data.path / "apiserver.sock", process.failed))
        await process.start(Relay(self.folder / "kubelet.sock", (host, KUBELET_PORT), process.failed))
        await process.start(Lender(self.folder / lentsockets.NAME))

    async def take_down(self) -> None:
        """Remove every container and the pod network. For what is left after the parts have stopped."""
        runtime = self.runtime()
        try:
            await runtime.start()
            for sandbox in await runtime.list_sandboxes():
                await runtime.remove_sandbox(sandbox.id)
        except RuntimeFailure as error:
            raise StartFailure(f"containers of {self.name} may be left: {error}") from error
        finally:
            await runtime.stop()
            await self.network.remove()
            await asyncio.to_thread(policies.take_down, self.proxy_interface)
            await asyncio.to_thread(sources.take_down, self.proxy_interface)
            await asyncio.to_thread(nftables.take_down, self.proxy_interface)
            Cgroups(self.cgroup_parent).destroy()
            for point in mounts_below(self.folder.resolve()):
                unmount(point)
            shutil.rmtree(self.folder / "kubelet", ignore_errors=True)  # volumes of pods that are gone
            if self.switch is not None and self.namespace is None:
                await asyncio.to_thread(self.switch.close)


def clean(data: DataDirectory, options: ClusterOptions) -> None:
    """Take down what nodes whose processes were killed have left on this machine: the first node last."""
    for name in reversed(node_names(options)):
        node = Node(data, options, name)
        if node.namespace is not None and node.namespace.exists:
            inside = netns.open_namespace(node.namespace.path)
            try:  # its loop and the threads of that are where the node was
                netns.run_in(inside, asyncio.run, node.take_down())
            finally:
                os.close(inside)
        else:
            asyncio.run(node.take_down())


def starter(data: DataDirectory, options: ClusterOptions, name: str) -> Callable[[Process], Awaitable[None]]:
    """What ``cybernetes node`` runs. Enters the namespaces of a rootless node first, while there is one thread."""
    host: HostSockets | None = None
    if options.rootless:
        try:
            host = HostSockets.start()
            userns.become_root_in_namespaces()
            with Netlink() as kernel:  # even a host's own addresses are reached through loopback
                kernel.set_link(kernel.index("lo"), up=True)
        except OSError as error:
            raise StartFailure(f"{error}; run as root, or use --runtime simulated") from error
    if is_joined(options):
        try:
            netns.take_hostname(name)
            if (namespace := Node(data, options, name).namespace) is not None:
                namespace.enter()
        except (OSError, NetworkFailure) as error:
            raise StartFailure(str(error)) from error

    async def start(process: Process) -> None:
        node = Node(data, options, name, host)
        process.at_the_end(node.take_down, only_final=True)
        await node.start(process)

    return start
