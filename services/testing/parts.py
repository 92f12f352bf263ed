"""The components of a cluster in a test: all that ``cybernetes up`` runs, on one loop, over one store in memory.

    store ── API server ─┬─ controllers      each a component that can be stopped, crashed and started again
                         ├─ scheduler        without the others noticing more than they would in a real cluster
                         └─ nodes (simulated kubelets)

Nothing here knows whether time is virtual, or that a test is running.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cybernetes.core.auth.keys import Key
from cybernetes.core.auth.user import User
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.controllers.interface import Settings
from cybernetes.core.kubelet.behaviour import Rule
from cybernetes.core.store.interface import Store
from cybernetes.services.apiserver.apiserver import ApiServer, Config
from cybernetes.services.common.component import Component
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.testing.functionscheduler import FunctionSchedulers, Place

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
ADMIN = User("kubernetes-admin", "", (MASTERS, AUTHENTICATED))
_ACCOUNTS = ("system:serviceaccounts", "system:serviceaccounts:kube-system", AUTHENTICATED)

#: In the order in which they start. ``informers`` are shared by those after them, and go down with the controllers.
COMPONENTS = ("apiserver", "controllers", "scheduler", "nodes", "functions")

#: How long the node controller waits for a sign of life.
GRACE_S = 50.0
#: While every node lives nobody can tell how often it says so; a month of it costs nothing like this.
RELAXED_INTERVAL_S = 8 * 3600.0
RELAXED_GRACE_S = 24 * 3600.0


@dataclass(slots=True)
class Options:
    """What a cluster is made of. ``nodes`` are names."""

    nodes: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    controllers: tuple[str, ...] = ("*",)
    settings: dict[str, Any] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    service_cidr: str = "10.96.0.0/16"
    pod_cidr: str = "10.244.0.0/16"
    #: None: as a kubelet's.
    lease_interval_s: float | None = None
    grace_s: float = GRACE_S
    #: token -> user, for clients over HTTP.
    tokens: Mapping[str, User] = field(default_factory=dict)
    account_key: bytes = b""
    authority: bytes = b""
    authority_key: bytes = b""

    def relax(self, is_relaxed: bool) -> None:
        """Whether nodes say rarely that they live, and are believed for long."""
        self.lease_interval_s = RELAXED_INTERVAL_S if is_relaxed else None
        self.grace_s = RELAXED_GRACE_S if is_relaxed else GRACE_S


class Parts:
    """The running components. ``wrap`` is given each component's client: (name of the component, client) -> client."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        random: Random,
        options: Options,
        *,
        wrap: Callable[[str, Client], Client],
        prepare: Callable[[ApiServer], None],
        plugins: Callable[[], dict[str, Any]],
        functions: Mapping[str, Place],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """``prepare`` gets every new API server before it starts, ``plugins`` gives the arguments of a new scheduler.

        ``functions`` are further schedulers by name.
        """
        self.store = store
        self.clock = clock
        self.random = random
        self.options = options
        self.server: ApiServer | None = None
        self.running: dict[str, Component] = {}
        self._informers: dict[str, InformerFactory] = {}
        self._wrap = wrap
        self._prepare = prepare
        self._plugins = plugins
        self._functions = functions
        self._on_failure = on_failure

    def client(self, component: str, user: User) -> Client:
        return self._wrap(component, Reconnecting(self, user, component))

    async def start(self) -> None:
        for name in COMPONENTS:
            if name == "functions" and not self._functions:
                continue
            if name not in self.options.without and name not in self.running:
                await self.start_one(name)

    async def start_one(self, name: str) -> None:
        component: Any = await self._make(name)
        self.running[name] = component
        await component.start()
        informers = self._informers.get(name)
        if informers is not None:
            informers.start()

    async def stop(self) -> None:
        for name in reversed(COMPONENTS):
            await self.stop_one(name)

    async def stop_one(self, name: str) -> None:
        """Also what a crash is: nothing that the component knew outlives it, and it is not asked to finish anything."""
        component = self.running.pop(name, None)
        if component is not None:
            await component.stop()
        informers = self._informers.pop(name, None)
        if informers is not None:
            await informers.stop()
        if name == "apiserver":
            self.server = None

    def informers(self) -> Sequence[Any]:
        return [informer for factory in self._informers.values() for informer in factory]

    async def _make(self, name: str) -> Any:
        if name == "apiserver":
            return self._api_server()
        # Each component has informers of its own, so that it can fall behind, or crash, alone.
        client = self.client(name, _USERS[name])
        # The garbage collector reads everything, also what is defined later, whatever the role says.
        reader = self.client(name, _READER) if name == "controllers" else client
        informers = InformerFactory(reader, self.clock, self.random, on_failure=self._on_failure)
        self._informers[name] = informers
        if name == "controllers":
            return self._controllers(client, informers)
        if name == "scheduler":
            from cybernetes.services.scheduler.scheduler import SchedulerService

            return SchedulerService(
                client,
                self.clock,
                self.random,
                informers=informers,
                on_failure=self._on_failure,
                **self._plugins(),
            )
        if name == "functions":
            return FunctionSchedulers(
                client,
                self.clock,
                self.random,
                informers=informers,
                functions=self._functions,
                on_failure=self._on_failure,
            )
        from cybernetes.services.kubelet.simulated.nodes import SimulatedNodes

        return SimulatedNodes(
            client,
            self.clock,
            self.random,
            informers=informers,
            names=self.options.nodes,
            count=0,
            rules=self.options.rules,
            pod_cidr=self.options.pod_cidr,
            lease_interval_s=self.options.lease_interval_s,
            on_failure=self._on_failure,
        )

    def _api_server(self) -> ApiServer:
        options = self.options
        self.server = server = ApiServer(
            self.store,
            self.clock,
            self.random,
            config=Config(
                service_cidrs=(options.service_cidr,),
                service_account_keys=[Key(options.account_key)] if options.account_key else (),
                static_tokens=options.tokens,
                stop_grace_s=0.0,
            ),
            on_failure=self._on_failure,
        )
        self._prepare(server)
        return server

    def _controllers(self, client: Client, informers: InformerFactory) -> Any:
        from cybernetes.services.controllers.manager import ControllerManager

        def client_of(account: str) -> Client:
            return self.client("controllers", User(f"system:serviceaccount:kube-system:{account}", "", _ACCOUNTS))

        options = self.options
        given: dict[str, Any] = {
            "cluster_cidrs": (options.pod_cidr,),
            "root_ca": options.authority.decode(),
            "signer_certificate": options.authority,
            "signer_key": options.authority_key,
            "node_monitor_grace_period_s": options.grace_s,
        }
        return ControllerManager(
            client,
            self.clock,
            self.random,
            settings=Settings(**(given | options.settings)),
            controllers=options.controllers,
            informers=informers,
            client_of=client_of,
            on_failure=self._on_failure,
        )


_READER = User("system:kube-controller-manager", "", (MASTERS, AUTHENTICATED))
_USERS = {
    "controllers": User("system:kube-controller-manager", "", (AUTHENTICATED,)),
    "scheduler": User("system:kube-scheduler", "", (AUTHENTICATED,)),
    "functions": User("system:kube-scheduler", "", (AUTHENTICATED,)),
    "nodes": User("system:cybernetes:simulated-nodes", "", (MASTERS, AUTHENTICATED)),
}


class Reconnecting(DirectClient):
    """A direct client that outlives API servers: it calls whichever runs. Without one it is a refused connection."""

    def __init__(self, parts: Parts, user: User, user_agent: str) -> None:
        self._parts = parts
        self._user = user
        self._user_agent = user_agent

    @property
    def _server(self) -> ApiServer:  # type: ignore[override]
        server = self._parts.server
        if server is None:
            raise ConnectionRefusedError("the API server is down")
        return server

    @property
    def _chain(self) -> Any:  # type: ignore[override]
        return self._server.chain

    @property
    def _registry(self) -> Any:  # type: ignore[override]
        return self._server.registry
