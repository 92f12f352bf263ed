"""The kubelet: runs the pods that are bound to its node, and says how they and the node are.

    API ──pods of this node──▶ PodManager ──▶ PodWorker ──▶ Runtime
     ▲                            ▲    │          │
     │  statuses, events          │    │          ├─ volumes, environment, images, hooks, probes
     └────────────────────────────┘    └──────────┴─▶ StatusManager ──▶ API
    NodeAgent: Node object and Lease        KubeletServer: logs, exec, attach, port-forward

Composition only: every part is made here, once, with what it needs, and started in an order in which nothing is asked
before it can answer.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cybernetes import KUBERNETES_VERSION
from cybernetes.core.client.events import EventRecorder
from cybernetes.core.client.informer import Informer
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.eviction import DEFAULT_THRESHOLDS, parse_thresholds
from cybernetes.core.kubelet.node import NodeFacts
from cybernetes.core.objects import PODS, SERVICES, Object
from cybernetes.services.common.component import Tasks
from cybernetes.services.kubelet.backend import KubeletBackend
from cybernetes.services.kubelet.checks import Checks
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.images import ImagePuller
from cybernetes.services.kubelet.killer import Killer
from cybernetes.services.kubelet.logrotation import LogRotator
from cybernetes.services.kubelet.machine import read_machine
from cybernetes.services.kubelet.nodeagent import NodeAgent
from cybernetes.services.kubelet.nodeview import KubeletNodeView
from cybernetes.services.kubelet.objectstore import ObjectStore
from cybernetes.services.kubelet.observer import Observer
from cybernetes.services.kubelet.pods import PodManager
from cybernetes.services.kubelet.podworker import PodWorker
from cybernetes.services.kubelet.pressure import PressureManager, Sensors
from cybernetes.services.kubelet.probes import ProbeManager
from cybernetes.services.kubelet.recorder import KubeletEvents
from cybernetes.services.kubelet.resizer import Resizer
from cybernetes.services.kubelet.runtimes.interface import Runtime, RuntimeFailure
from cybernetes.services.kubelet.server.auth import Authorizer
from cybernetes.services.kubelet.server.server import KubeletServer
from cybernetes.services.kubelet.starter import Starter
from cybernetes.services.kubelet.statuses import StatusManager
from cybernetes.services.kubelet.tokens import TokenSource
from cybernetes.services.kubelet.volumes.manager import VolumeManager

if TYPE_CHECKING:
    from cybernetes.services.kubelet.staticpods import MirrorPods, StaticPods

log = logging.getLogger(__name__)

#: How often the node's images are listed for its status.
IMAGES_S = 60.0


class Kubelet:
    """``root`` holds pods' volumes, ``logs`` their logs. ``tls`` is the server's context, with the cluster's CA as
    client CA; without, the server has no TLS and asks nobody who they are (tests). ``kubelet_port`` 0 takes a free
    one. ``services`` may be an informer that the process has anyway; else one is made. ``manifests`` is the folder of
    static pods, None for none. ``eviction_hard`` are the thresholds below which pods have to go, as upstream writes
    them; ``sensors`` read what is left of the machine. A pod may have ``pod_pids_limit`` processes, 0 for any number.
    """

    name = "kubelet"

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        *,
        node_name: str,
        runtime: Runtime,
        root: Path,
        logs: Path | None = None,
        addresses: Sequence[str] = ("127.0.0.1",),
        kubelet_port: int = 10250,
        tls: ssl.SSLContext | None = None,
        cluster_dns: Sequence[str] = (),
        cluster_domain: str = "cluster.local",
        resolv_conf: Path | None = Path("/etc/resolv.conf"),
        pod_cidrs: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, Any]] = (),
        max_pods: int = 110,
        reserved: Mapping[str, str] | None = None,
        services: Informer | None = None,
        manifests: Path | None = None,
        eviction_hard: str = DEFAULT_THRESHOLDS,
        sensors: Sensors | None = None,
        pod_pids_limit: int = 0,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.node_name = node_name
        self._clock = clock
        self._runtime = runtime
        self._addresses = tuple(addresses)
        self._max_pods = max_pods
        self._reserved = dict(reserved or {})
        self._images: list[tuple[list[str], int]] = []
        self._images_at = float("-inf")
        self._tasks = Tasks("kubelet", on_failure)
        self._directories = directories = Directories(root, logs)
        self._machine = machine = read_machine(root if root.exists() else Path("/"))
        self._recorder = EventRecorder(client, clock, random, component="kubelet", host=node_name)
        self._events = events = KubeletEvents(self._recorder, node_name)
        self._pods_informer = Informer(
            client,
            PODS,
            clock=clock,
            random=random,
            field_selector=f"spec.nodeName={node_name}",
            on_failure=on_failure,
        )
        self._own_services = services is None
        self._services = services or Informer(client, SERVICES, clock=clock, random=random, on_failure=on_failure)
        self.node = NodeAgent(
            client,
            clock,
            random,
            node_name,
            self._facts,
            events,
            labels=labels or {},
            taints=taints,
            pod_cidrs=pod_cidrs,
            cidrs_changed=runtime.configure_network,
            on_failure=on_failure,
        )
        view = KubeletNodeView(
            lambda: self.node.node,
            self._services,
            events,
            machine,
            addresses=self._addresses,
            cluster_dns=cluster_dns,
            cluster_domain=cluster_domain,
            resolv_conf=resolv_conf,
            pod_pids_limit=pod_pids_limit,
        )
        self._checks = checks = Checks(runtime)
        self._objects = objects = ObjectStore(client, clock, random, lambda uid: self.pods.on_object_change(uid))
        self._volumes = volumes = VolumeManager(
            directories,
            objects,
            TokenSource(client, clock, random),
            client,
            clock,
            random,
            lambda uid: self.pods.wake(uid),
        )
        self._observer = observer = Observer(runtime, directories)
        self.statuses = statuses = StatusManager(client, clock)
        self._probes = probes = ProbeManager(checks, events, clock, random, lambda uid: self.pods.wake(uid))
        self._puller = puller = ImagePuller(runtime, clock)
        killer = Killer(runtime, checks, events, clock)
        starter = Starter(runtime, puller, killer, checks, objects, volumes, directories, events, view, clock)
        resizer = Resizer(runtime, killer, directories, events, lambda: self.node.node)
        worker = PodWorker(
            runtime, observer, starter, killer, resizer, probes, statuses, directories, events, view, clock, random
        )
        self.pods = PodManager(
            runtime,
            worker,
            resizer,
            starter,
            probes,
            statuses,
            volumes,
            objects,
            directories,
            events,
            view,
            lambda: self.node.node,
            clock,
            self._pod_forgotten,
            lambda: self._pressure.pressure,
        )
        self._pressure = PressureManager(
            runtime, self.pods, directories, events, clock, sensors or Sensors(root), parse_thresholds(eviction_hard)
        )
        self._mirrors: MirrorPods | None = None
        self._static_pods: StaticPods | None = None
        if manifests is not None:
            from cybernetes.services.kubelet.staticpods import MirrorPods, StaticPods  # brings the API's schema

            self._mirrors = MirrorPods(client, clock, self.statuses, lambda: self.node.node)
            self._static_pods = StaticPods(manifests, node_name, clock, self._static_added, self.pods.on_delete)
        self._rotator = LogRotator(runtime, directories, clock)
        self.backend = KubeletBackend(runtime, observer, self.pods, directories, self.node, clock)
        self.server = KubeletServer(
            self.backend,
            Authorizer(clock, node_name, client),
            clock,
            address=self._addresses[0],
            port=kubelet_port,
            tls=tls,
        )

    async def start(self) -> None:
        """Return when the node is registered and its pods are being worked on.

        Raises RuntimeFailure when the runtime is not there, OSError when the port or a folder cannot be had.
        """
        self._directories.make()
        await self._runtime.start()
        version = await self._runtime.version()
        self._observer.runtime_name = version.name
        self._runtime_version = f"{version.name}://{version.version}"
        await self.server.start()
        self._events.node("Normal", "Starting", "Starting kubelet.")
        await self.node.start()
        if self._own_services:
            self._services.start()
        if self._static_pods is not None:
            await self._static_pods.start()
        self._pods_informer.add_handler(self._pod_added, self._pod_updated, self._pod_deleted)
        self._pods_informer.start()
        await self._pods_informer.wait_synced()
        if self._mirrors is not None:
            self._mirrors.knows_all()
        self._tasks.spawn(self._follow_runtime(), "runtime events")
        await self.pods.start()

    async def stop(self) -> None:
        """Containers go on running; the next kubelet adopts them."""
        await self.server.stop()
        await self._tasks.cancel()
        await self._pods_informer.stop()
        if self._static_pods is not None and self._mirrors is not None:
            await self._static_pods.stop()
            await self._mirrors.stop()
        await self.node.stop()
        await self.pods.stop()
        await self._probes.stop()
        await self._puller.stop()
        self._volumes.stop()
        await self.statuses.stop()
        await self._objects.stop()
        if self._own_services:
            await self._services.stop()
        await self._recorder.stop()
        await self._checks.stop()
        await self._runtime.stop()

    # Pods from the API: mirrors of static pods are only looked at.

    def _pod_added(self, pod: Object) -> None:
        if not spec.is_mirror(pod):
            self.pods.on_add(pod)
        elif self._mirrors is not None:
            self._mirrors.on_add(pod)

    def _pod_updated(self, old: Object, pod: Object) -> None:
        if not spec.is_mirror(pod):
            self.pods.on_update(old, pod)
        elif self._mirrors is not None:
            self._mirrors.on_update(old, pod)

    def _pod_deleted(self, pod: Object) -> None:
        if not spec.is_mirror(pod):
            self.pods.on_delete(pod)
        elif self._mirrors is not None:
            self._mirrors.on_delete(pod)

    def _static_added(self, pod: Object) -> None:
        self.pods.on_add(pod)
        if self._mirrors is not None:
            self._mirrors.static_added(pod)

    def _pod_forgotten(self, pod: Object) -> None:
        if self._mirrors is not None and spec.is_static(pod):
            self._mirrors.static_ended(pod)

    async def _follow_runtime(self) -> None:
        async for event in self._runtime.events():
            self.pods.on_runtime_event(event.pod_uid)
            if not event.pod_uid:
                self.node.look_again()

    async def _facts(self) -> NodeFacts:
        not_ready = ""
        try:
            status = await self._runtime.status()
            if not status.is_ready:
                not_ready = f"container runtime is down: {status.message}"
            elif not status.network_ready:
                not_ready = f"container runtime network not ready: {status.message}"
            await self._pressure.look()
            await self._rotator.look(self.pods.records())
            await self._look_at_images()
        except RuntimeFailure as error:
            not_ready = f"container runtime is down: {error}"
        return NodeFacts(
            name=self.node_name,
            machine=self._machine,
            addresses=self._addresses,
            kubelet_port=self.server.port,
            kubelet_version=f"v{KUBERNETES_VERSION}",
            runtime=self._runtime_version,
            max_pods=self._max_pods,
            reserved=self._reserved,
            images=self._images,
            pressure=self._pressure.pressure,
            not_ready=not_ready,
        )

    async def _look_at_images(self) -> None:
        now = self._clock.monotonic()
        if now - self._images_at < IMAGES_S:
            return
        found = [([*image.digests, *image.tags], image.size) for image in await self._runtime.list_images()]
        self._images = sorted((image for image in found if image[0]), key=lambda image: (-image[1], image[0]))
        self._images_at = now
