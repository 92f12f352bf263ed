"""A cluster inside a test: the control plane and simulated nodes as an object in the caller's event loop.

    async with Cluster(nodes=3) as cluster:
        await cluster.api.create(DEPLOYMENTS, deployment)
        await cluster.settle()                       # nothing left to do: its pods run
        await cluster.advance(days=30)               # and a month has passed

Everything is real but the nodes' containers and, unless ``clock="system"``, the time: the API server with its whole
chain (authorization, admission, validation), the controllers, the scheduler, the kubelet's decisions. The store is in
memory, so a copy of the whole state costs a millisecond (``fork``, ``rollback``).
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from cybernetes.core.auth.user import User
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random, SystemClock
from cybernetes.core.objects import NAMESPACES, Object
from cybernetes.core.store.interface import Event
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.testing.callables import Callables
from cybernetes.services.testing.endpoint import Endpoint, Identity
from cybernetes.services.testing.errors import ClusterError, Misuse, NotSettled
from cybernetes.services.testing.faults import Faults
from cybernetes.services.testing.faultyclient import HttpFaults
from cybernetes.services.testing.image import Image
from cybernetes.services.testing.lifeofnodes import LifeOfNodes
from cybernetes.services.testing.memorytransport import Network
from cybernetes.services.testing.parts import ADMIN, COMPONENTS, Options, Parts
from cybernetes.services.testing.resources import resource_of
from cybernetes.services.testing.settling import Activity, settled
from cybernetes.services.testing.virtualtime import VirtualTime
from cybernetes.services.testing.wallclock import WallClock
from cybernetes.services.testing.watchman import Watchman

ComponentName = Literal["apiserver", "controllers", "scheduler", "nodes"]


class Cluster:
    """Enter it with ``async with``.

    ``nodes``: how many, or their names. ``clock``: "virtual" (time moves by ``advance``, ``settle`` and when everybody
    waits for it), "system", or a VirtualTime to share with another cluster of the same loop. ``seed``: the same one
    gives the same names, uids and history. ``controllers``: as ``--controllers``. ``without``: components to leave out.
    ``stages``: text of a stages file that says how simulated pods behave. ``settings``: fields of the controllers'
    Settings. ``image``: the state to start from instead of an empty one.
    """

    def __init__(
        self,
        nodes: int | Sequence[str] = 3,
        *,
        runtime: str = "simulated",
        clock: Literal["virtual", "system"] | VirtualTime = "virtual",
        seed: int = 0,
        controllers: Sequence[str] = ("*",),
        without: Sequence[ComponentName] = (),
        stages: str = "",
        settings: dict[str, Any] | None = None,
        image: Image | None = None,
        faults: Faults | None = None,
        identity: Identity | None = None,
    ) -> None:
        if runtime != "simulated":
            raise Misuse(f"runtime {runtime!r}: a cluster in a test has simulated nodes; for containers: cybernetes up")
        unknown = set(without) - set(COMPONENTS)
        if unknown:
            raise Misuse(f"without={sorted(unknown)}: the components are {', '.join(COMPONENTS)}")
        self.seed = seed
        self.random = Random(seed)
        self.time: VirtualTime | None
        if isinstance(clock, VirtualTime):
            self.time = clock
        elif clock in ("virtual", "system"):
            self.time = VirtualTime() if clock == "virtual" else None
        else:
            raise Misuse(f"clock={clock!r}: it is 'virtual', 'system' or a VirtualTime")
        self.clock: Clock = self.time if self.time is not None else SystemClock()
        self.faults = faults or Faults(seed)
        self.callables = Callables()
        self.callables.on_bug = self._failed
        self.failures: list[BaseException] = []
        self._identity = identity or Identity(self.clock, Random(seed))
        self._stages = stages
        self._options = Options(
            nodes=tuple(f"node-{number}" for number in range(nodes)) if isinstance(nodes, int) else tuple(nodes),
            without=frozenset(without),
            controllers=tuple(controllers),
            settings=settings or {},
            tokens={self._identity.token: ADMIN},
        )
        self._options.relax(self.time is not None)
        self._image = image
        self._store = MemoryStore()
        self._parts: Parts | None = None
        self._activity: Activity | None = None
        self._endpoint: Endpoint | None = None
        self._host = ""
        self._network: Network | None = None
        self._watchman: Watchman | None = None
        self._wall_clock: WallClock | None = None
        self.life = LifeOfNodes(self, self._options)

    @property
    def node_names(self) -> tuple[str, ...]:
        """The nodes that it was made with."""
        return self._options.nodes

    # Life.

    async def __aenter__(self) -> Cluster:
        if self._parts is not None:
            raise Misuse("this cluster runs already")
        if self.time is not None:
            self.time.attach()
        elif getattr(asyncio.get_running_loop(), "_cybernetes_time", None) is not None:
            raise Misuse(
                "two clusters in one event loop, one on virtual time, one on the system's: a loop has one clock"
            )
        try:
            self._watchman = Watchman(asyncio.get_running_loop(), self.time)
            if self.time is not None:
                self._wall_clock = WallClock(self.time)
                self._wall_clock.start()
            self._store = self._image.store() if self._image is not None else MemoryStore()
            self._parts = self._new_parts()
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()
        self._parts = None
        if self._endpoint is not None:
            self._endpoint.forget()
        if self._watchman is not None:
            self._watchman.stop()
        if self._wall_clock is not None:
            self._wall_clock.stop()
        if self._network is not None:
            self._network.withdraw(self._host)
            self._network = None
        if self.time is not None:
            self.time.detach()
        if self.failures:
            raise ClusterError(f"a component failed: {self.failures[0]!r}") from self.failures[0]

    def _new_parts(self) -> Parts:
        if self._stages:
            from cybernetes.core.kubelet.behaviour import read_stages

            self._options.rules = tuple(read_stages(self._stages))
        self._options.account_key = self._identity.account_key
        self._options.authority = self._identity.authority.certificate
        self._options.authority_key = self._identity.authority.pair.key
        self.faults.attach(self.clock, self.crash)  # type: ignore[arg-type]
        return Parts(
            self._store,
            self.clock,
            self.random,
            self._options,
            wrap=self._wrap,
            prepare=self._prepare,
            plugins=self.callables.scheduler_options,
            functions=self.callables.schedulers,
            on_failure=self._failed,
        )

    async def _start(self) -> None:
        self._activity = Activity(self._store, self.clock.monotonic)
        self.running.store = self._store
        await self.running.start()
        if self._endpoint is not None:
            await self._endpoint.open(self.server)

    async def _stop(self) -> None:
        await self.life.stop()
        if self._parts is not None:
            await self._parts.stop()
        activity, self._activity = self._activity, None
        if activity is not None:
            await activity.close()
        await self._store.close()

    def _prepare(self, server: ApiServer) -> None:
        self.callables.install(server)
        server.http.handler = HttpFaults(self.faults, server.http.handler).serve

    def _failed(self, error: BaseException) -> None:
        self.failures.append(error)

    def _wrap(self, component: str, client: Client) -> Client:
        return self.faults.client(component, client)

    @property
    def running(self) -> Parts:
        """The components. Raises Misuse when there are none."""
        if self._parts is None:
            raise Misuse("this cluster does not run: use it within ``async with``")
        return self._parts

    @property
    def server(self) -> ApiServer:
        """The API server. Raises Misuse when it is down."""
        server = self.running.server
        if server is None:
            raise Misuse("the API server is down (it was crashed): start it again with restart('apiserver')")
        return server

    # Ways in.

    @property
    def api(self) -> Client:
        """The way in as an administrator, without faults."""
        return self.client()

    def client(self, user: User | str = ADMIN, *, groups: Sequence[str] = (), component: str = "") -> Client:
        """A client as ``user``, straight into the API server; it outlives crashes and rollbacks.

        ``component``: a name under which ``faults`` may strike it; without, they do not.
        """
        if isinstance(user, str):
            user = User(user, "", (*groups, "system:authenticated"))
        if component:
            return self.running.client(component, user)
        from cybernetes.services.testing.parts import Reconnecting

        return Reconnecting(self.running, user, "test")

    @property
    def url(self) -> str:
        """Where asyncio clients of this loop (aiohttp, kr8s, kopf …) find the API, with ``token``: no socket."""
        if self._network is None:
            self.running  # noqa: B018  # raises when there is nothing to serve
            self._network = Network.of(asyncio.get_running_loop())
            self._host = self._network.free_host()
            self._network.serve(self._host, lambda: self.server.http.accept())
        return f"http://{self._host}"

    @property
    def token(self) -> str:
        """An administrator's bearer token."""
        return self._identity.token

    async def kubeconfig(self, path: Path, *, in_memory: bool = False) -> Path:
        """Write a kubeconfig for an HTTPS endpoint on 127.0.0.1, which is opened when this is first called.

        From then on virtual time moves only by ``advance`` and ``settle``: processes outside have no part in it.
        ``in_memory``: for clients within this loop instead, without a socket.
        """
        if in_memory:
            self._identity.write_kubeconfig(path, self.url, with_authority=False)
            return path
        if self._endpoint is None:
            self._endpoint = Endpoint(self._identity, self.time)
            await self._endpoint.open(self.server)
        self._identity.write_kubeconfig(path, self._endpoint.url)
        return path

    # Time.

    def _virtual(self, what: str) -> VirtualTime:
        if self.time is None:
            raise Misuse(f"{what} needs virtual time, this cluster has clock='system'")
        return self.time

    async def advance(self, **duration: float) -> None:
        """Let time pass and everything happen that it brings: ``advance(days=30)``, as ``datetime.timedelta`` takes it.

        Raises Misuse on the system's clock, ClusterError when a component failed meanwhile.
        """
        await self._virtual("advance()").advance(datetime.timedelta(**duration).total_seconds())
        self.check()

    async def settle(self, *, within_s: float = 600.0, quiet_s: float = 1.0, horizon_s: float = 10.0) -> None:
        """Return when nothing is left to do, the user's own components included (see ``settling``).

        Raises NotSettled after ``within_s`` seconds of the cluster's time, saying who is busy; ClusterError when a
        component failed.
        """
        await settled(self, within_s=within_s, quiet_s=quiet_s, horizon_s=horizon_s)

    def check(self) -> None:
        """Raises ClusterError when a component, or a function of the test, has failed since this was last called."""
        if self.failures:
            error = self.failures.pop(0)
            raise ClusterError(f"a component failed: {error!r}") from error

    @property
    def is_running(self) -> bool:
        """Whether it has been entered and not been left."""
        return self._activity is not None

    def on_event(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` with every write to the store from now on, in order, until the cluster is rolled back."""
        self.activity.listeners.append(listener)

    @property
    def activity(self) -> Activity:
        """What was written lately."""
        if self._activity is None:
            raise Misuse("this cluster does not run: use it within ``async with``")
        return self._activity

    # State.

    def image(self) -> Image:
        """The state as of now; settle first, or what is under way is in it half done."""
        self.running  # noqa: B018
        return Image(self._store.fork(), self.clock.now())

    def fork(self, **options: Any) -> Cluster:
        """Another cluster that starts from this one's state and shares its time; enter it with ``async with``.

        ``options`` as for Cluster, where they are to differ.
        """
        given: dict[str, Any] = {
            "nodes": self._options.nodes,
            "clock": self.time if self.time is not None else "system",
            "seed": self.seed,
            "controllers": self._options.controllers,
            "without": tuple(self._options.without),
            "stages": self._stages,
            "settings": self._options.settings,
            "image": self.image(),
            "identity": self._identity,
        }
        twin = Cluster(**(given | options))
        twin.callables = self.callables.copy()
        twin.callables.on_bug = twin._failed
        return twin

    async def rollback(self, image: Image) -> None:
        """Back to the state of ``image``. Components start anew from it; clients stay valid, their watches end.

        Time does not go back.
        """
        self.running  # noqa: B018
        await self._stop()
        self._store = image.store()
        await self._start()

    async def save(self, path: Path) -> None:
        """The state as of now in a file that ``Cluster.load`` reads."""
        await self.image().save(path)

    @classmethod
    def load(cls, path: Path, **options: Any) -> Cluster:
        """A cluster that starts from a file of ``save``, or of ``cybernetes snapshot save`` of a live one."""
        return cls(image=Image.load(path), **options)

    # Faults.

    async def crash(self, component: ComponentName) -> None:
        """End a component at once; what it knew is lost, what it had in hand stays as it is in the store."""
        if component not in self.running.running:
            raise Misuse(f"{component} does not run; running: {', '.join(self.running.running)}")
        await self.running.stop_one(component)

    async def restart(self, component: ComponentName) -> None:
        """Start a component again (after a crash, or after crashing it now)."""
        await self.running.stop_one(component)
        await self.running.start_one(component)
        if component == "apiserver" and self._endpoint is not None:
            await self._endpoint.open(self.server)

    async def kill_node(self, name: str) -> None:
        """A node falls silent: its Lease is not renewed, its pods report nothing. It is noticed after 50 s."""
        await self.life.kill(name)

    async def revive_node(self, name: str) -> None:
        """A node that was killed is back, with its pods as they were."""
        self.life.revive(name)

    # Admission and the like as functions: see ``callables``.

    def mutate(self, api_version: str, resource: str, **options: Any) -> Callable[[Any], Any]:
        """``@cluster.mutate("apps/v1", "deployments")``: see ``Callables.mutate``."""
        return self.callables.mutate(api_version, resource, **options)

    def validate(self, api_version: str, resource: str, **options: Any) -> Callable[[Any], Any]:
        return self.callables.validate(api_version, resource, **options)

    def schedule(self, name: str) -> Callable[[Any], Any]:
        """``@cluster.schedule("my-scheduler")``, before the cluster is entered: see ``Callables.schedule``."""
        if self._parts is not None and "functions" not in self._parts.running:
            raise Misuse("register schedulers before the cluster is entered: cluster = Cluster(); @cluster.schedule(…)")
        return self.callables.schedule(name)

    def convert(self, group: str, resource: str) -> Callable[[Any], Any]:
        return self.callables.convert(group, resource)

    # Shorthand.

    async def apply(self, *objects: Object) -> list[Object]:
        """Create or update objects of any kind by server-side apply, in namespace "default" when they name none."""
        applied = []
        for obj in objects:
            gvr, namespaced = resource_of(self.server, obj)
            metadata = obj["metadata"]
            namespace = metadata.get("namespace", "default") if namespaced else ""
            applied.append(
                await self.api.patch(
                    gvr,
                    metadata["name"],
                    obj,
                    namespace,
                    patch_type="application/apply-patch+yaml",
                    field_manager="test",
                    force=True,
                )
            )
        return applied

    @asynccontextmanager
    async def namespace(self, name: str = "") -> AsyncIterator[str]:
        """A new namespace, deleted with everything in it at the end, and waited for."""
        name = await self.create_namespace(name)
        try:
            yield name
        finally:
            await self.delete_namespace(name)

    async def create_namespace(self, name: str = "") -> str:
        """Its name; one is made up when none is given."""
        wanted = {"name": name} if name else {"generateName": "test-"}
        made = await self.api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": wanted})
        found: str = made["metadata"]["name"]
        return found

    async def delete_namespace(self, name: str) -> None:
        """Returns when nothing is left of it. Raises NotSettled when a finalizer holds something."""
        await self.api.delete(NAMESPACES, name)
        await self.settle()
        left = (await self.api.list(NAMESPACES, field_selector=f"metadata.name={name}")).items
        if left:
            conditions = [
                each["message"] for each in left[0]["status"].get("conditions", ()) if each["status"] == "True"
            ]
            raise NotSettled(f"namespace {name} is not deleted: {'; '.join(conditions) or 'it has finalizers'}", [name])
