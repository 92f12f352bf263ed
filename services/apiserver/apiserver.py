"""The API server as a component: a store underneath, listeners in front, the chain between.

    ApiServer(store, clock, random, listeners=[…]) ; await start() ; … ; await stop()

``client(user)`` opens the direct way in, for components of the same process. Everything that a second server on the
same store would need is in the store.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cybernetes.core.admission.registry import Plugin, select
from cybernetes.core.api.registry import Registry, builtin
from cybernetes.core.auth import rbac, tokens
from cybernetes.core.auth.attributes import Authorize
from cybernetes.core.auth.attributes import chain as authorizers
from cybernetes.core.auth.keys import Key
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Clock, Random
from cybernetes.core.objects import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CUSTOM_RESOURCE_DEFINITIONS,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SERVICES,
)
from cybernetes.core.store.interface import Store, StoreError
from cybernetes.ext.tls import accept_any_certificate
from cybernetes.services.apiserver import granting, namespaces
from cybernetes.services.apiserver.admitting import Admitting
from cybernetes.services.apiserver.aggregation import trust
from cybernetes.services.apiserver.aggregation.apiservices import ApiServices, ClientCertificate
from cybernetes.services.apiserver.aggregation.availability import Availability
from cybernetes.services.apiserver.aggregation.client import Client as RemoteClient
from cybernetes.services.apiserver.aggregation.proxying import forward
from cybernetes.services.apiserver.aggregation.registration import CustomRegistration
from cybernetes.services.apiserver.allocation.addresses import Addresses
from cybernetes.services.apiserver.allocation.ports import NodePorts
from cybernetes.services.apiserver.allocation.services import Allocator
from cybernetes.services.apiserver.audit.events import Auditing
from cybernetes.services.apiserver.audit.log import AuditLog, LogFile
from cybernetes.services.apiserver.audit.policy import Policy
from cybernetes.services.apiserver.authentication import Authentication
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.bootstrap import bootstrap
from cybernetes.services.apiserver.call import Call
from cybernetes.services.apiserver.chain import Chain
from cybernetes.services.apiserver.configured.configured import Configured
from cybernetes.services.apiserver.configured.typechecking import TypeChecking
from cybernetes.services.apiserver.custom import lifecycle
from cybernetes.services.apiserver.custom.definitions import Definitions
from cybernetes.services.apiserver.custom.webhook import Converter
from cybernetes.services.apiserver.expiry import EVENT_TTL_S, Expiry
from cybernetes.services.apiserver.fairness.conditions import FlowConditions
from cybernetes.services.apiserver.fairness.fairness import Fairness
from cybernetes.services.apiserver.fieldmanagers import FieldManagers
from cybernetes.services.apiserver.following import Following, NodeAuthorization, TokenForgetting
from cybernetes.services.apiserver.health import Health
from cybernetes.services.apiserver.kubernetesservice import KubernetesService
from cybernetes.services.apiserver.nonresource import Pages
from cybernetes.services.apiserver.peers import FrontProxy
from cybernetes.services.apiserver.routes import Routes
from cybernetes.services.apiserver.server import HttpServer, Limits
from cybernetes.services.apiserver.storage import Reader, Storage
from cybernetes.services.apiserver.subresources import table
from cybernetes.services.apiserver.subresources.streams import Nodes
from cybernetes.services.apiserver.systemnamespaces import SystemNamespaces
from cybernetes.services.apiserver.usage.handlers import handlers as usage_handlers
from cybernetes.services.apiserver.usage.resources import resources as usage_resources
from cybernetes.services.apiserver.usage.scraper import Scraper
from cybernetes.services.apiserver.webhookclient import WebhookClient
from cybernetes.services.common.component import Tasks
from cybernetes.services.common.metrics import CONTENT_TYPE, Metrics, process_metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of a listener. Clients may show a certificate; those that ``client_ca`` signed are users."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self, front_proxy_ca: Path | None = None) -> ssl.SSLContext:
        """Raises OSError and ssl.SSLError for files that cannot be read."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        context.set_alpn_protocols(["http/1.1"])
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            if front_proxy_ca is not None:
                context.load_verify_locations(front_proxy_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
            # Strangers are told so in HTTP, where that can be done; else they fail in the handshake.
            accept_any_certificate(context)
        return context


@dataclass(frozen=True, slots=True)
class Listener:
    """An address to listen on; port 0 is one of the system's choice. Without ``tls`` it is plain HTTP.

    ``is_shared``: other processes of this user listen there too, and the system spreads connections over them.
    ``is_early``: the address may come to this host only later.
    """

    host: str
    port: int
    tls: Tls | None = None
    is_shared: bool = False
    is_early: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """What a server is told. Every field has a default that suits a test."""

    service_cidrs: Sequence[str] = ("10.96.0.0/16",)
    node_ports: tuple[int, int] = (30000, 32767)
    #: Where other machines reach this server: published in the Service ``kubernetes``.
    advertise_address: str = ""
    advertise_port: int = 0
    #: False for a further server behind the same address: the first one publishes it, and takes it out at the end.
    is_published: bool = True
    #: Keys of ServiceAccount tokens, the first signs; none: no tokens.
    service_account_keys: Sequence[Key] = ()
    issuer: str = tokens.DEFAULT_ISSUER
    #: Token -> user, from a token file.
    static_tokens: Mapping[str, User] = field(default_factory=dict)
    admission_plugins: Sequence[Plugin] = field(default_factory=select)
    limits: Limits = field(default_factory=Limits)
    #: How kubelets are reached: our client certificate, the authority of theirs. None: plain HTTP, for tests.
    kubelet_tls: ssl.SSLContext | None = None
    #: Where nodes that are in network namespaces of their own have their sockets (see ``streams.Nodes``).
    kubelet_sockets: Path | None = None
    #: Where pods are: reached through such nodes.
    pod_cidrs: Sequence[str] = ()
    #: What is noted of requests, and where; None: nothing.
    audit_policy: Policy | None = None
    audit_log: LogFile | None = None
    #: By what we prove to extension API servers that we are the front proxy.
    proxy_client: ClientCertificate | None = None
    #: Whose word about users is believed, from behind which certificate.
    front_proxy: FrontProxy | None = None
    #: True: ``metrics.k8s.io`` is served from what kubelets say. Where another server does that, leave it to it.
    serves_usage: bool = False
    stop_grace_s: float = 5.0
    event_ttl_s: float = EVENT_TTL_S


class ApiServer:
    """One API server. ``start`` returns when it serves; ``stop`` may be called at any time and twice."""

    name = "apiserver"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        random: Random,
        *,
        listeners: Sequence[Listener] = (),
        config: Config | None = None,
        registry: Registry | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.config = config = config or Config()
        self.clock = clock
        self.random = random
        #: Our own: custom resources come and go in it.
        self.registry = registry or Registry(builtin().all())
        nodes = Nodes(config.kubelet_tls, config.kubelet_sockets, [*config.pod_cidrs, *config.service_cidrs])
        self._usage = Scraper(nodes) if config.serves_usage else None
        if self._usage is not None:
            for resource in usage_resources():
                self.registry.add(resource)
        #: The ports of ``listeners``, in order, once started.
        self.ports: list[int] = []
        self._listeners = tuple(listeners)
        self.storage = Storage(store, self.registry, on_failure=on_failure)
        self.rbac = rbac.Authorizer()
        self._roles = Following(self.storage, self.rbac, (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS))
        self._nodes = NodeAuthorization(self.storage)
        self.authorize: Authorize = authorizers([self._nodes.authorize, self.rbac.authorize])
        self.health = Health()
        self.metrics = Metrics()
        issuer = service_accounts = None
        if config.service_account_keys:
            issuer = tokens.Issuer(config.service_account_keys, config.issuer, clock)
            service_accounts = tokens.Authenticator(
                config.service_account_keys, [config.issuer], [config.issuer], clock, self.storage.find
            )
        self.issuer = issuer
        self.service_accounts = service_accounts
        self.allocator = Allocator(
            Addresses(self.storage, self.registry, clock, random),
            NodePorts(self.storage, clock, random, *config.node_ports),
        )
        self.backend = Backend(
            storage=self.storage,
            registry=self.registry,
            clock=clock,
            random=random,
            authorize=self.authorize,
            admitting=Admitting(
                config.admission_plugins, self.storage, Reader(self.storage, clock, random, self.authorize)
            ),
            fields=FieldManagers(self.registry, clock),
            hooks={
                SERVICES: self.allocator.hooks(),
                NAMESPACES: namespaces.HOOKS,
                CUSTOM_RESOURCE_DEFINITIONS: lifecycle.HOOKS,
                **granting.hooks(self.rbac, self.authorize),
            },
        )
        self._published: KubernetesService | None = None
        self.authentication = Authentication(self.storage, service_accounts, config.static_tokens, clock)
        self._requests = self.metrics.counter(
            "apiserver_request_total",
            "Requests by verb, resource and status code.",
            ("verb", "group", "version", "resource", "subresource", "code"),
            _label_values,
        )
        self._durations = self.metrics.histogram(
            "apiserver_request_duration_seconds",
            "How long requests took, without those that last by design.",
            ("verb", "group", "version", "resource", "subresource"),
            _label_values,
        )
        self.fairness = fairness = Fairness(self.storage)
        self.metrics.gauge(
            "apiserver_current_inflight_requests",
            "Requests that are being worked on.",
            lambda: list(zip((("readOnly",), ("mutating",)), self.chain.running, strict=True)),
            ("request_kind",),
        )
        self.metrics.gauge(
            "apiserver_flowcontrol_current_executing_seats",
            "Seats taken by the requests of a priority level that are being worked on.",
            lambda: [((name,), level.seats) for name, level in fairness.levels.items()],
            ("priority_level",),
        )
        self.metrics.gauge(
            "apiserver_flowcontrol_current_inqueue_requests",
            "Requests that wait in the queues of a priority level.",
            lambda: [((name,), level.waiting) for name, level in fairness.levels.items()],
            ("priority_level",),
        )
        self.metrics.gauge(
            "apiserver_flowcontrol_nominal_limit_seats",
            "Seats that are a priority level's own.",
            lambda: [((name,), level.limit) for name, level in fairness.levels.items()],
            ("priority_level",),
        )
        process_metrics(self.metrics)
        self.api_services = ApiServices(self.storage, config.proxy_client)
        pages = Pages(
            self.registry,
            self.health,
            issuer,
            lambda: (CONTENT_TYPE, self.metrics.text()),
            self._external_address,
            self.api_services,
        )
        special = table.special(self.rbac, self.authentication, issuer, service_accounts, nodes)
        if self._usage is not None:
            special = {**special, **usage_handlers(self._usage)}
        self.chain = Chain(self.backend, Routes(special), self.authentication, pages, fairness, self._observe)
        self.http = HttpServer(self.chain.serve, self.chain.describe, clock, config.limits)
        self._tasks = Tasks("apiserver", on_failure)
        self.webhooks = WebhookClient(self.backend, nodes.lent)
        self.storage.views.convert = Converter(self.webhooks, random)
        self.configured = Configured(self.storage, self.authorize, self.webhooks, random)
        self.backend.admitting.configured = self.configured
        self._type_checking = TypeChecking(self.storage, self._tasks.spawn)
        self.definitions = Definitions(self.storage, self.registry)
        self._lifecycle = lifecycle.Lifecycle(self.backend, self.definitions, self._tasks.spawn)
        self._expiry = Expiry(self.storage, clock, self._tasks.spawn, config.event_ttl_s)
        self.remotes = remote_client = RemoteClient(self.backend, self.api_services, nodes.lent)
        self.availability = Availability(self.backend, self.api_services, remote_client, self._tasks.spawn)
        self.definitions.on_change.append(CustomRegistration(self.backend, self._tasks.spawn).definition_changed)
        self._flow_conditions = FlowConditions(self.backend, self._tasks.spawn)
        self._system_namespaces = SystemNamespaces(self.backend, self._tasks.spawn)
        self.chain.remotes = self.api_services
        self.chain.forward = partial(forward, client=remote_client)
        self._audit_log: AuditLog | None = None
        if config.audit_policy is not None and config.audit_log is not None:
            self._audit_log = AuditLog(config.audit_log, clock)
            self.chain.auditing = Auditing(config.audit_policy, self._audit_log, clock, random)
        self._is_started = False

    async def start(self) -> None:
        """Fill the caches, write what a new cluster needs, listen. Raises StoreError, OSError, ssl.SSLError."""
        if self._audit_log is not None:
            self._audit_log.open()
        await self.storage.start()
        self._roles.start()
        self.definitions.start()
        self.configured.start()
        self._type_checking.start()
        if self.service_accounts is not None:
            TokenForgetting(self.storage, self.service_accounts).start()
        await bootstrap(self.storage, self.registry, self.clock, self.random, self.config.service_cidrs)
        self.health.add("ping", _is_healthy)
        self.health.add("etcd", self._store_answers)
        self.health.add("informer-sync", _is_healthy, paths=("/readyz",))
        self.health.add("shutdown", self._is_not_stopping, paths=("/readyz",))
        self.fairness.start()
        self._flow_conditions.start()
        self._system_namespaces.start()
        self.api_services.start()
        self.availability.start()
        await self._publish_trust()
        await self.allocator.repair(self.backend)
        self._expiry.start()
        self._trust()
        for listener in self._listeners:
            front = self.config.front_proxy
            proxy_ca = front.client_ca if front is not None else None
            context = listener.tls.context(proxy_ca) if listener.tls is not None else None
            self.ports.append(
                await self.http.listen(
                    listener.host,
                    listener.port,
                    context,
                    is_shared=listener.is_shared,
                    is_early=listener.is_early,
                )
            )
        self._is_started = True
        if self.config.service_cidrs and self.config.advertise_address and self.config.is_published:
            port = self.config.advertise_port or (self.ports[0] if self.ports else 443)
            published = KubernetesService(
                self.backend, self.config.service_cidrs[0], self.config.advertise_address, port
            )
            await published.publish()
            self._published = published

    async def stop(self) -> None:
        if self._is_started:
            self._is_started = False
            if self._published is not None:
                await self._published.withdraw()
            await self.http.stop(self.config.stop_grace_s)
        self._roles.stop()
        self.definitions.stop()
        self.configured.stop()
        self._type_checking.stop()
        self._nodes.stop()
        self.fairness.stop()
        self._flow_conditions.stop()
        self._system_namespaces.stop()
        self.api_services.stop()
        self.availability.stop()
        self._expiry.stop()
        await self._tasks.cancel()
        if self._usage is not None:
            await self._usage.stop()
        await self.webhooks.close()
        await self.storage.stop()
        if self._audit_log is not None:
            self._audit_log.close()

    def _trust(self) -> None:
        """Whose certificates are accepted: what the listeners' authorities signed, and the front proxy's."""
        files = dict.fromkeys(each.tls.client_ca for each in self._listeners if each.tls is not None)
        authorities = b"\n".join(path.read_bytes() for path in files if path is not None)
        if authorities:
            self.authentication.peers.trust(authorities)
        if self.config.front_proxy is not None:
            self.authentication.peers.believe(self.config.front_proxy)

    async def _publish_trust(self) -> None:
        """Tell extension API servers whom to believe."""
        client_ca = next((each.tls.client_ca for each in self._listeners if each.tls is not None), None)
        front = self.config.front_proxy
        names = list(front.allowed_names) if front is not None else []
        client = client_ca.read_text() if client_ca is not None else ""
        proxy = front.client_ca.read_text() if front is not None else ""
        await trust.publish(self.backend, client, proxy, names)

    def _external_address(self) -> str:
        host = self.config.advertise_address or (self._listeners[0].host if self._listeners else "localhost")
        port = self.config.advertise_port or (self.ports[0] if self.ports else 443)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def _store_answers(self) -> str:
        try:
            await self.storage.store.current_revision()
        except StoreError as error:
            return str(error)
        return ""

    async def _is_not_stopping(self) -> str:
        return "the server is stopping" if self.http.is_stopping else ""

    def _observe(self, call: Call, code: int, seconds: float) -> None:
        part = call.subresource.name if call.subresource is not None else ""
        self._requests.add(call.verb, call.resource.gvr, part, code)
        if call.verb != "watch":
            self._durations.observe(seconds, call.verb, call.resource.gvr, part)


def _label_values(key: Any) -> tuple[str, ...]:
    verb, gvr, *rest = key
    return (verb.upper(), *gvr, *map(str, rest))


async def _is_healthy() -> str:
    return ""
