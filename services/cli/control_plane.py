"""The control plane in one process: API server, scheduler, controllers and simulated nodes on one event loop.

They talk by the direct client, each as the user that Kubernetes knows it by, and share one set of informers.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from cybernetes.core.admission.registry import select
from cybernetes.core.api.registry import builtin
from cybernetes.core.auth.keys import Key
from cybernetes.core.auth.tokens import DEFAULT_ISSUER, Issuer
from cybernetes.core.auth.user import User
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random, SystemClock
from cybernetes.core.controllers.interface import Settings
from cybernetes.core.kubelet.behaviour import Rule, StagesError, read_stages
from cybernetes.core.objects import NODES, Gvr, Object, is_condition_true
from cybernetes.core.store.interface import Store, StoreError
from cybernetes.core.store.open import open_store
from cybernetes.services.apiserver.aggregation.apiservices import ClientCertificate
from cybernetes.services.apiserver.apiserver import ApiServer, Config, Listener, Tls
from cybernetes.services.apiserver.peers import FrontProxy
from cybernetes.services.cli import auditing, roles, storageclass
from cybernetes.services.cli.addresses import host_addresses, node_addresses, node_names
from cybernetes.services.cli.datadir import ClusterOptions, DataDirectory
from cybernetes.services.cli.pki import Pki, server_context
from cybernetes.services.cli.roles import DNS_USER, POLICY_USER
from cybernetes.services.common import kubeconfig
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.common.relay import Relay
from cybernetes.services.common.runner import Process, StartFailure

MASTERS = "system:masters"
PROXY_USER = "system:kube-proxy"
SERVICE_ACCOUNTS = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")


class ControlPlane:
    """What the parts of one control plane are made from."""

    def __init__(
        self, process: Process, data: DataDirectory, options: ClusterOptions, *, is_worker: bool = False
    ) -> None:
        """``is_worker``: one of several API servers behind one address, and not the first of them."""
        self.is_worker = is_worker
        self.process = process
        self.data = data
        self.options = options
        self.clock: Clock = SystemClock()
        self.random = Random(options.seed)
        #: None where the API server is another process: then the way in is HTTPS.
        self.server: ApiServer | None = None
        self._pki: Pki | None = None

    @property
    def url(self) -> str:
        host = self.options.bind_address
        return _url("127.0.0.1" if host in ("0.0.0.0", "::") else host, self.options.port)

    @property
    def pki(self) -> Pki:
        if self._pki is None:
            self._pki = Pki(self.data, self.options, self.clock, self.random)
        return self._pki

    def client(self, user: str, *groups: str, agent: str = "") -> Client:
        """As ``user``: straight into our own API server, or by a certificate to the one that runs elsewhere."""
        if self.server is not None:
            return DirectClient(self.server, User(user, "", (*groups, "system:authenticated"), {}), agent or user)
        pair = self.pki.component(user.replace(":", "-"), user, groups)
        connection = kubeconfig.Connection(
            server=self.url,
            certificate_authority=self.pki.authority.certificate,
            client_certificate=pair.certificate,
            client_key=pair.key,
        )
        client = connection.client(random=self.random, user_agent=agent or user)
        self.process.at_the_end(client.close)
        return client

    async def start_api_server(self) -> None:
        """Raises StartFailure for what the user can mend: a taken port, an address that is not ours."""
        options = self.options
        addresses = host_addresses(options)
        await asyncio.to_thread(self._make_certificates, addresses)
        pki = self.pki
        if not options.storage:
            await self.process.wait_for("store")
        store = self._open_store()
        tls = Tls(pki.path("apiserver.crt"), pki.path("apiserver.key"), pki.path("ca.crt"))
        hosts = [options.bind_address]
        if ipaddress.ip_address(options.bind_address).is_loopback:
            hosts += [address for address in addresses if not options.rootless and not options.is_simulated]
        audit_policy, audit_log = auditing.settings(options, is_worker=self.is_worker)
        server = ApiServer(
            store,
            self.clock,
            self.random,
            listeners=[
                Listener(
                    host,
                    options.port,
                    tls,
                    is_shared=options.apiserver_workers > 1,
                    is_early=host != options.bind_address,
                )
                for host in dict.fromkeys(hosts)
            ],
            config=Config(
                service_cidrs=options.service_cidr.split(","),
                advertise_address=next(iter(addresses), options.bind_address),
                advertise_port=options.port,
                is_published=not self.is_worker,
                service_account_keys=[Key(pki.service_account_key())],
                kubelet_tls=self._kubelet_context(pki),
                admission_plugins=select(options.admission_enabled, options.admission_disabled),
                audit_policy=audit_policy,
                audit_log=audit_log,
                proxy_client=ClientCertificate(pki.path("front-proxy-client.crt"), pki.path("front-proxy-client.key")),
                front_proxy=FrontProxy(pki.path("front-proxy-ca.crt"), ["front-proxy-client"]),
                kubelet_sockets=self.data.path / "nodes" if options.rootless else None,
                pod_cidrs=options.pod_cidr.split(","),
                serves_usage="kubelet" not in options.without,
            ),
            on_failure=self.process.failed,
        )
        try:
            await self.process.start(server)
        except StoreError as error:
            raise StartFailure(str(error)) from error
        except (OSError, ssl.SSLError) as error:
            raise StartFailure(_listen_failure(error, options)) from error
        self.server = server
        if options.storage.startswith("etcd:"):
            await self._start_etcd_compaction(store)
        if options.rootless and not self.is_worker:
            own = (options.bind_address, options.port)
            await self.process.start(Relay(self.data.path / "apiserver.sock", own, self.process.failed))
        self.process.component_ready("apiserver", self.url)

    async def _start_etcd_compaction(self, store: Store) -> None:
        """Every API server takes part; the store sees to it that one of them does the work."""
        from cybernetes.services.store.etcdcompaction import EtcdCompaction

        await self.process.start(EtcdCompaction(store, self.clock, self.random, on_failure=self.process.failed))

    def _make_certificates(self, addresses: tuple[str, ...]) -> None:
        with self.data.exclusively("pki"):  # API servers that start at once find what the first has made
            self._make_all_certificates(addresses)

    def _make_all_certificates(self, addresses: tuple[str, ...]) -> None:
        pki = self.pki
        pki.serving([self.options.bind_address, *addresses])
        pki.kubelet_client()
        pki.front_proxy_client()
        pki.service_account_key()
        pki.write_admin_kubeconfig(self.url)
        for name in node_names(self.options) if not self.options.is_simulated else ():
            own = node_addresses(self.options, name)
            pki.node_serving(name, [*own, self.options.bind_address])
            is_away = self.options.rootless or not set(own) & set(addresses)
            server = _url(addresses[0], self.options.port) if is_away else self.url
            pki.write_node_kubeconfigs(name, server, {"proxy": PROXY_USER, "dns": DNS_USER, "policies": POLICY_USER})

    def _kubelet_context(self, pki: Pki) -> ssl.SSLContext:
        """How kubelets are called: they know our certificate, we know their authority."""
        context = ssl.create_default_context(cafile=str(pki.path("ca.crt")))
        context.load_cert_chain(pki.path("apiserver-kubelet-client.crt"), pki.path("apiserver-kubelet-client.key"))
        return context

    def _open_store(self) -> Store:
        url = self.options.storage or f"unix://{self.data.store_socket}"
        try:
            return open_store(url, random=self.random)
        except (StoreError, ValueError) as error:
            raise StartFailure(str(error)) from error

    def informers(self) -> InformerFactory:
        client = self.client("system:kube-controller-manager", MASTERS, agent="cybernetes/informers")
        return InformerFactory(client, self.clock, self.random, on_failure=self.process.failed)

    async def start_controllers(self, informers: InformerFactory) -> None:
        """Several that share a store elect one of them: whoever is started by hand, and every one on etcd."""
        from cybernetes.services.controllers.manager import ControllerManager

        elects_leader = self.server is None or self.options.storage.startswith("etcd:")
        issuer = Issuer([Key(self.pki.service_account_key())], DEFAULT_ISSUER, self.clock)
        manager = ControllerManager(
            self.client("system:kube-controller-manager", agent="kube-controller-manager"),
            self.clock,
            self.random,
            settings=Settings(
                cluster_cidrs=tuple(self.options.pod_cidr.split(",")),
                root_ca=self.pki.authority.certificate.decode(),
                signer_certificate=self.pki.authority.certificate,
                signer_key=self.pki.authority.pair.key,
                issue_token=issuer.issue_legacy,
                host_path_root=str(self.data.volumes),
                load_balancer_pool=tuple(each for each in self.options.load_balancer_pool.split(",") if each),
                resources=self._resources,
            ),
            controllers=self.options.controllers.split(","),
            elects_leader=elects_leader,
            informers=informers,
            client_of=self._service_account_client,
            on_failure=self.process.failed,
        )
        await self.process.start(manager)
        how = "stands for election" if elects_leader else f"{len(manager.runners)} controllers"
        self.process.component_ready("controller-manager", how)

    def _service_account_client(self, name: str) -> Client:
        user = f"system:serviceaccount:kube-system:{name}"
        return self.client(user, *SERVICE_ACCOUNTS, agent=f"kube-controller-manager/{name}")

    def _resources(self) -> list[tuple[Gvr, str, bool]]:
        """What the garbage collector and namespace deletion go through: everything that is kept and can be deleted."""
        return [
            (resource.gvr, resource.kind, resource.is_namespaced)
            for resource in builtin().all()
            if resource.is_stored and resource.storage in (None, resource.gvr) and "delete" in resource.verbs
        ]

    async def start_scheduler(self, informers: InformerFactory) -> None:
        """Raises StartFailure for a configuration or a plugin that the user must mend."""
        from cybernetes.core.scheduling.profile import ProfileError
        from cybernetes.services.scheduler import loading

        try:
            scheduler = loading.scheduler(
                self.options.scheduler_config,
                self.options.scheduler_plugins,
                self.client("system:kube-scheduler", agent="kube-scheduler"),
                self.clock,
                self.random,
                informers=informers,
                on_failure=self.process.failed,
            )
        except ProfileError as error:
            raise StartFailure(f"the scheduler's configuration: {error}") from error
        await self.process.start(scheduler)
        self.process.component_ready("scheduler", ", ".join(scheduler.engine.frameworks))

    async def start_simulated_nodes(self, informers: InformerFactory) -> None:
        from cybernetes.services.kubelet.simulated.nodes import SimulatedNodes

        nodes = SimulatedNodes(
            self.client("system:cybernetes:simulated-nodes", MASTERS, agent="kubelet/simulated-nodes"),
            self.clock,
            self.random,
            informers=informers,
            names=node_names(self.options),
            address=self.options.bind_address,
            kubelet_port=0,
            tls=self._simulated_kubelet_context(),
            rules=self._simulation_rules(),
            pod_cidr=self.options.pod_cidr.split(",")[0],
            on_failure=self.process.failed,
        )
        await self.process.start(nodes)
        self.process.component_ready("kubelet", f"{self.options.nodes} simulated nodes")

    def _simulation_rules(self) -> list[Rule]:
        """Raises StartFailure for a file that makes no sense."""
        path = self.options.simulation
        if not path:
            return []
        try:
            return read_stages(Path(path).read_text())
        except (StagesError, OSError) as error:
            raise StartFailure(f"{path}: {error}") from error

    def _simulated_kubelet_context(self) -> ssl.SSLContext:
        """One server answers for all simulated nodes."""
        self.pki.node_serving("simulated", [self.options.bind_address])
        folder = self.data.node("simulated")
        return server_context(folder / "kubelet.crt", folder / "kubelet.key", self.pki.path("ca.crt"))

    async def wait_for_nodes(self, informers: InformerFactory) -> None:
        """Tell the supervisor once every node that was asked for is Ready."""
        missing = set(node_names(self.options))
        all_ready = asyncio.Event()

        def look(_: Object | None, node: Object) -> None:
            if is_condition_true(node, "Ready"):
                missing.discard(node["metadata"]["name"])
                if not missing:
                    all_ready.set()

        informer = informers.informer(NODES)
        handler = informer.add_handler(on_add=lambda node: look(None, node), on_update=look)
        await all_ready.wait()
        informer.remove_handler(handler)
        self.process.say(f"nodes-ready {self.options.nodes} Ready")


def _url(host: str, port: int) -> str:
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


def _listen_failure(error: OSError | ssl.SSLError, options: ClusterOptions) -> str:
    where = f"{options.bind_address} port {options.port}"
    if isinstance(error, ssl.SSLError):
        return f"the certificates in the data directory cannot be used: {error}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken by another program; choose another with --port (0: any free one)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{options.bind_address} is not an address of this machine; choose another with --bind-address"
    if error.errno == errno.EACCES:
        return f"this user may not listen on {where}; choose a port above 1023"
    return f"cannot listen on {where}: {error}"


def starter(data: DataDirectory, options: ClusterOptions) -> Callable[[Process], Awaitable[None]]:
    """What ``cybernetes control-plane`` runs."""

    async def start(process: Process) -> None:
        plane = ControlPlane(process, data, options)
        await plane.start_api_server()
        await roles.ensure(plane.client("system:apiserver", MASTERS))
        await storageclass.ensure(plane.client("system:apiserver", MASTERS))
        informers = plane.informers()
        if "controller-manager" not in options.without:
            await plane.start_controllers(informers)
        if "scheduler" not in options.without:
            await plane.start_scheduler(informers)
        if options.is_simulated and "kubelet" not in options.without:
            await plane.start_simulated_nodes(informers)
        informers.start()
        process.background(plane.wait_for_nodes(informers), "wait for nodes")

    return start


def worker(data: DataDirectory, options: ClusterOptions) -> Callable[[Process], Awaitable[None]]:
    """What ``cybernetes apiserver --worker`` runs: one more API server on the store and the port of the first.

    It waits for the first, which makes the certificates and writes what a new cluster needs.
    """

    async def start(process: Process) -> None:
        await process.wait_for("control-plane")
        await ControlPlane(process, data, options, is_worker=True).start_api_server()

    return start


def alone(data: DataDirectory, options: ClusterOptions, part: str) -> Callable[[Process], Awaitable[None]]:
    """What ``cybernetes scheduler`` and ``cybernetes controller-manager`` run: one part, over HTTPS."""

    async def start(process: Process) -> None:
        plane = ControlPlane(process, data, options)
        informers = plane.informers()
        if part == "scheduler":
            await plane.start_scheduler(informers)
        else:
            await plane.start_controllers(informers)
        informers.start()

    return start
