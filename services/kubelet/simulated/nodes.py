"""Simulated nodes in one process: they register, keep their Leases and run pods that only pretend to.

    SimulatedNodes ── Fleet          Node objects and Leases, renewed by the batch from one timer
                   ├─ PodSimulator   what happens to pods, with the kubelet's own decisions
                   └─ events         on small fleets each container's Pulled, Created, Started … is written

A fleet has the nodes that it is made with, and every Node annotated ``cybernetes.io/simulated: "true"``:
a test or a load generator adds nodes by creating objects. One informer of pods and one of nodes serve all of them, and
they share them with the control plane that they run in.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cybernetes import KUBERNETES_VERSION
from cybernetes.core.client.events import EventRecorder
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.informer import Handler, Informer
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.behaviour import Rule
from cybernetes.core.kubelet.node import Machine, NodeFacts
from cybernetes.core.kubelet.simulation import Noted
from cybernetes.core.objects import NODES, PODS, Object, object_reference
from cybernetes.services.kubelet.server.auth import Authorizer
from cybernetes.services.kubelet.server.server import KubeletServer
from cybernetes.services.kubelet.simulated.addresses import NodeAddresses
from cybernetes.services.kubelet.simulated.backend import SimulatedBackend
from cybernetes.services.kubelet.simulated.fleet import Fleet
from cybernetes.services.kubelet.simulated.pods import PodSimulator

#: What a simulated node has when nothing else is said.
MACHINE = Machine(
    cpus=32,
    memory=256 << 30,
    ephemeral_storage=1 << 40,
    kernel_version="simulated",
    os_image="cybernetes simulated node",
)
#: Fleets up to this size write the events of their pods, unless told otherwise.
EVENTS_NODES_MAX = 100


class SimulatedNodes:
    """``count`` nodes, or those of ``names``. ``client`` may write nodes, Leases, pods' status and events.

    With ``tls`` one server answers for all at ``address``:``kubelet_port`` (0: a free port); without, ``backend``
    is what a server can be given. ``rules`` come from a stages file (core/kubelet/behaviour.py). The informers of pods
    and nodes are started here if nobody has.
    """

    name = "simulated nodes"

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        *,
        informers: InformerFactory,
        count: int = 1,
        names: Sequence[str] = (),
        address: str = "127.0.0.1",
        kubelet_port: int = 0,
        tls: ssl.SSLContext | None = None,
        pod_cidr: str = "10.244.0.0/16",
        machine: Machine = MACHINE,
        max_pods: int = 110,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, Any]] = (),
        rules: Sequence[Rule] = (),
        events: bool | None = None,
        writers: int = 32,
        lease_interval_s: float | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.names = list(names) or [f"node-{index}" for index in range(count)]
        self.host_addresses = (address,)
        self._client = client
        self._clock = clock
        self._random = random
        self._pods_informer: Informer = informers.informer(PODS)
        self._nodes_informer: Informer = informers.informer(NODES)
        self._handlers: list[tuple[Informer, Handler]] = []
        self._recorders: dict[str, EventRecorder] = {}
        has_events = len(self.names) <= EVENTS_NODES_MAX if events is None else events
        facts = NodeFacts(
            name="",
            machine=machine,
            addresses=self.host_addresses,
            kubelet_port=kubelet_port or 10250,
            kubelet_version=f"v{KUBERNETES_VERSION}",
            runtime=f"simulated://{KUBERNETES_VERSION}",
            max_pods=max_pods,
        )
        self.fleet = Fleet(
            client,
            clock,
            random,
            self.names,
            facts,
            pod_cidr=pod_cidr,
            labels=labels or {},
            taints=taints,
            on_managed=self._node_managed,
            lease_interval_s=lease_interval_s,
            on_failure=on_failure,
        )
        self.pods = PodSimulator(
            client, clock, random, self, rules=rules, note=self._event if has_events else None, writers=writers
        )
        self.backend = SimulatedBackend(
            clock, self._pods_informer, lambda name: self.fleet.addresses(name) is not None, machine
        )
        self._server: KubeletServer | None = None
        if tls is not None:
            authorizer = Authorizer(clock, self.names[0] if self.names else "simulated", client)
            self._server = KubeletServer(self.backend, authorizer, clock, address=address, port=kubelet_port, tls=tls)

    async def start(self) -> None:
        """Return when all nodes are registered and Ready, and the pods that they have are known."""
        nodes = (self._nodes_informer, self.fleet.on_add, self.fleet.on_update, self.fleet.on_delete)
        pods = (self._pods_informer, self.pods.on_add, self.pods.on_update, self.pods.on_delete)
        if self._server is not None:
            await self._server.start()
            self.fleet.kubelet_port = self._server.port
        await self.fleet.start()
        for informer, on_add, on_update, on_delete in (nodes, pods):
            self._handlers.append((informer, informer.add_handler(on_add, on_update, on_delete)))
            informer.start()
            await informer.wait_synced()

    async def stop(self) -> None:
        for informer, handler in self._handlers:
            informer.remove_handler(handler)
        self._handlers.clear()
        if self._server is not None:
            await self._server.stop()
        await self.pods.stop()
        await self.fleet.stop()
        for recorder in self._recorders.values():
            await recorder.stop()

    def silence(self, node_name: str) -> None:
        """The node is cut off: it renews no Lease, and nothing is heard of its pods."""
        self.fleet.silent.add(node_name)

    def revive(self, node_name: str) -> None:
        """It is back, with its pods as they were."""
        self.fleet.silent.discard(node_name)
        node = self._nodes_informer.get("", node_name)
        if node is not None:
            self.fleet.rejoin(node)
        self.pods.look_again(node_name)

    def is_silent(self, node_name: str) -> bool:
        return node_name in self.fleet.silent

    def addresses(self, node_name: str) -> NodeAddresses | None:
        return self.fleet.addresses(node_name)

    def _node_managed(self, node_name: str) -> None:
        """A node was added whose pods have been seen before it."""
        for pod in self._pods_informer.list():
            if pod["spec"].get("nodeName") == node_name:
                self.pods.on_add(pod)

    def _event(self, pod: Object, noted: Noted) -> None:
        node_name = pod["spec"]["nodeName"]
        recorder = self._recorders.get(node_name)
        if recorder is None:
            recorder = self._recorders[node_name] = EventRecorder(
                self._client, self._clock, self._random, component="kubelet", host=node_name
            )
        reference = object_reference(pod, "v1", "Pod")
        reference["fieldPath"] = spec.container_field_path(pod, noted.container)
        recorder.event(reference, noted.kind, noted.reason, noted.message)  # type: ignore[arg-type]
