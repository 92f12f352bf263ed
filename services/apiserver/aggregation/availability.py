"""Whether the servers behind APIServices answer: looked at when something about them changes, and every half minute.

A check asks in upstream's order, and the first that fails is the condition's reason:

    ServiceNotFound ─ ServicePortError ─ EndpointsNotFound ─ MissingEndpoints ─ FailedDiscoveryCheck ─ else Passed

What a healthy server says of itself (its resources, its OpenAPI) is fetched with the check, for our own documents.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

import orjson

from cybernetes.core.clock import format_time
from cybernetes.core.errors import ApiError
from cybernetes.core.labels import Selector
from cybernetes.core.objects import ENDPOINT_SLICES, SERVICES, Object
from cybernetes.core.store.cached import EVERYTHING, Change, Selection
from cybernetes.core.store.dispatch import Watcher
from cybernetes.services.apiserver.aggregation import merging
from cybernetes.services.apiserver.aggregation.apiservices import API_SERVICES, ApiServices, Remote
from cybernetes.services.apiserver.aggregation.client import Client, Unreachable
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.handlers.update import rewrite

log = logging.getLogger(__name__)

RESYNC_S = 30.0
_RETRY_S_MIN = 0.25
_ATTEMPTS = 3
_SERVICE_NAME = "kubernetes.io/service-name"

Spawn = Callable[[Coroutine[Any, Any, Any], str], Any]


class Verdict(NamedTuple):
    status: str
    reason: str
    message: str

    @property
    def is_good(self) -> bool:
        return self.status == "True"


PASSED = Verdict("True", "Passed", "all checks passed")


class Availability:
    """The checks of one API server: a task for each remote APIService."""

    def __init__(self, backend: Backend, services: ApiServices, client: Client, spawn: Spawn) -> None:
        self._backend = backend
        self._services = services
        self._client = client
        self._spawn = spawn
        self._wakes: dict[str, asyncio.Event] = {}
        self._watchers: list[Watcher] = []
        self._is_watching = False

    def start(self) -> None:
        """Check what there is, and from now on what changes."""
        self._services.on_change.append(self._told)
        for remote in list(self._services.remotes()):
            self._told(remote.name)

    def stop(self) -> None:
        """Its tasks end with those of the server."""
        for watcher in self._watchers:
            watcher.close()
        self._watchers.clear()

    def _told(self, name: str) -> None:
        wake = self._wakes.get(name)
        if wake is not None:
            wake.set()
        elif self._services.get(name) is not None:
            self._wakes[name] = asyncio.Event()
            self._watch_places()
            self._spawn(self._keep(name), f"check {name}")

    def _watch_places(self) -> None:
        """Follow Services and their endpoints, from the first remote APIService on."""
        if self._is_watching:
            return
        self._is_watching = True
        self._follow()
        self._backend.storage.feed.on_reload.append(self._follow)

    def _follow(self) -> None:
        self._watchers.clear()  # ended, when the caches were read anew
        for gvr, name_of in ((SERVICES, _own_name), (ENDPOINT_SLICES, _name_of_service)):
            cache = self._backend.storage.cache_of(gvr)

            def sink(batch: Sequence[Change], name_of: Callable[[Change], str] = name_of) -> None:
                for change in batch:
                    self._place_changed(change.cached.namespace, name_of(change))

            self._watchers.append(cache.watch(EVERYTHING, cache.revision, sink))

    def _place_changed(self, namespace: str, name: str) -> None:
        for remote in self._services.remotes():
            if remote.service[:2] == (namespace, name):
                wake = self._wakes.get(remote.name)
                if wake is not None:
                    wake.set()

    async def _keep(self, name: str) -> None:
        wake = self._wakes[name]
        retry_s = _RETRY_S_MIN
        try:
            while True:
                wake.clear()
                remote = self._services.get(name)
                if remote is None:
                    return
                verdict = await self.check(remote)
                if self._services.get(name) is remote:
                    await self._write(remote, verdict)
                pause_s = RESYNC_S if verdict.is_good or verdict.reason != "FailedDiscoveryCheck" else retry_s
                retry_s = _RETRY_S_MIN if verdict.is_good else min(retry_s * 2, RESYNC_S)
                try:
                    async with asyncio.timeout(pause_s):
                        await wake.wait()
                except TimeoutError:
                    continue
        finally:
            self._wakes.pop(name, None)

    async def check(self, remote: Remote) -> Verdict:
        """One look at a server, which also fetches what it says of itself."""
        verdict = self._check_place(remote)
        if verdict is not None:
            return verdict
        path = f"/apis/{remote.group}/{remote.version}"
        failure = ""
        for _ in range(_ATTEMPTS):
            try:
                code, body = await self._client.get(remote, path, "application/json")
            except Unreachable as error:
                namespace, name, port = remote.service
                failure = f"failing or missing response from https://{name}.{namespace}.svc:{port}{path}: {error}"
                continue
            if 200 <= code < 300:
                await self._learn(remote, body)
                return PASSED
            failure = f"failing or missing response from https://{remote.server_name}:{remote.service[2]}{path}: "
            failure += f"bad status from https://{remote.server_name}:{remote.service[2]}{path}: {code}"
        return Verdict("False", "FailedDiscoveryCheck", failure)

    def _check_place(self, remote: Remote) -> Verdict | None:
        """What the Service and its endpoints say; None when they are right."""
        storage = self._backend.storage
        namespace, name, number = remote.service
        service = storage.find(SERVICES, namespace, name)
        if service is None:
            return Verdict("False", "ServiceNotFound", f'service/{name} in "{namespace}" is not present')
        if (service["spec"].get("type") or "ClusterIP") != "ClusterIP":
            return None
        ports = [port for port in service["spec"].get("ports") or () if port.get("port") == number]
        if not ports:
            message = f'service/{name} in "{namespace}" is not listening on port {number}'
            return Verdict("False", "ServicePortError", message)
        selector = Selector.from_labels({_SERVICE_NAME: name})
        records = storage.cache_of(ENDPOINT_SLICES).list(Selection(namespace, labels=selector)).records
        if not records:
            message = f'cannot find endpointslices for service/{name} in "{namespace}"'
            return Verdict("False", "EndpointsNotFound", message)
        port_name = ports[0].get("name") or ""
        if not any(_has_endpoint(cached.object(), port_name) for cached in records):
            message = f'endpointslices for service/{name} in "{namespace}" have no addresses with port name'
            return Verdict("False", "MissingEndpoints", f'{message} "{port_name}"')
        return None

    async def _learn(self, remote: Remote, resource_list: bytes) -> None:
        """Keep what the server says of its resources; it is asked for its OpenAPI when that is new."""
        try:
            discovered = merging.discovered(orjson.loads(resource_list))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            log.warning("%s: what its server says of its resources makes no sense", remote.name)
            discovered = []
        try:
            code, openapi = await self._client.get(
                remote, f"/openapi/v3/apis/{remote.group}/{remote.version}", "application/json"
            )
        except Unreachable:
            code, openapi = 0, b""
        openapi = openapi if code == 200 else b""
        if (discovered, openapi) != (remote.discovered, remote.openapi):
            remote.discovered, remote.openapi = discovered, openapi
            self._services.generation += 1

    async def _write(self, remote: Remote, verdict: Verdict) -> None:
        """The condition, when it is not what it was."""
        resource = self._backend.registry.get(API_SERVICES)
        assert resource is not None
        now = format_time(self._backend.clock.now())

        def change(obj: Object) -> None:
            status = obj.setdefault("status", {})
            conditions = status.get("conditions") or []
            before = next((each for each in conditions if each.get("type") == "Available"), None)
            if before is not None and Verdict(*(before.get(key, "") for key in Verdict._fields)) == verdict:
                return
            condition = {"type": "Available", "status": verdict.status, "lastTransitionTime": now}
            if before is not None and before.get("status") == verdict.status:
                condition["lastTransitionTime"] = before.get("lastTransitionTime") or now
            condition |= {"reason": verdict.reason, "message": verdict.message}
            status["conditions"] = [each for each in conditions if each is not before] + [condition]

        try:
            await rewrite(self._backend, resource, "", remote.name, change)
        except ApiError as error:
            log.debug("the condition of %s was not written: %s", remote.name, error)


def _own_name(change: Change) -> str:
    return change.cached.name


def _name_of_service(change: Change) -> str:
    return change.cached.labels.get(_SERVICE_NAME, "")


def _has_endpoint(endpoint_slice: Object, port_name: str) -> bool:
    endpoints = endpoint_slice.get("endpoints") or ()
    ports = endpoint_slice.get("ports") or ()
    return any((each.get("conditions") or {}).get("ready", True) is not False for each in endpoints) and any(
        (port.get("name") or "") == port_name and port.get("port") for port in ports
    )
