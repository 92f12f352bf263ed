"""APIServices for what this server serves itself: written for the built-in groups at the start, and for the groups of
custom resources while there are any. Upstream's controllers call the two ``onstart`` and ``true``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from cybernetes.core.api.registry import Registry
from cybernetes.core.auth.user import API_SERVER_NAME, MASTERS, User
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CUSTOM_RESOURCE_DEFINITIONS, Object
from cybernetes.core.store.cached import EVERYTHING
from cybernetes.core.store.interface import StoreError
from cybernetes.services.apiserver.aggregation.apiservices import API_SERVICES
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call
from cybernetes.services.apiserver.handlers.create import create
from cybernetes.services.apiserver.handlers.delete import Options, delete_object

log = logging.getLogger(__name__)

AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"
_OWN_GROUP = "apiregistration.k8s.io"
_USER = User(API_SERVER_NAME, groups=(MASTERS,))

#: Group -> (priority of the group, of its versions): the order in which clients meet them.
_PRIORITIES = {
    "": 18000,
    "apps": 17800,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "autoscaling": 17500,
    "batch": 17400,
    "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200,
    "policy": 17100,
    "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800,
    "admissionregistration.k8s.io": 16700,
    "apiextensions.k8s.io": 16700,
    "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500,
    "node.k8s.io": 16300,
    "discovery.k8s.io": 16200,
    "resource.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
}
_VERSIONS = {
    ("", "v1"): 1,
    ("autoscaling", "v2"): 30,
    ("resource.k8s.io", "v1"): 21,
    ("flowcontrol.apiserver.k8s.io", "v1"): 21,
}
_VERSION_PRIORITY = 15
_CUSTOM_GROUP_PRIORITY, _CUSTOM_VERSION_PRIORITY = 1000, 100


def built_in(registry: Registry) -> Iterable[Object]:
    """The APIServices of the groups that are always there."""
    for group, versions in registry.groups().items():
        for version in versions if group != _OWN_GROUP else ():
            priority = _PRIORITIES.get(group, 100)
            yield _api_service(group, version, "onstart", priority, _VERSIONS.get((group, version), _VERSION_PRIORITY))


def _api_service(group: str, version: str, automanaged: str, group_priority: int, version_priority: int) -> Object:
    spec: Object = {"group": group} if group else {}
    spec |= {"version": version, "groupPriorityMinimum": group_priority, "versionPriority": version_priority}
    metadata = {"name": f"{version}.{group}", "labels": {AUTOMANAGED: automanaged}}
    return {"metadata": metadata, "spec": spec}


class CustomRegistration:
    """Keeps the APIServices of custom resources' groups: ``definition_changed`` whenever one of them has changed."""

    def __init__(self, backend: Backend, spawn: Callable[[Coroutine[Any, Any, Any], str], Any]) -> None:
        self._backend = backend
        self._spawn = spawn
        self._wake = asyncio.Event()
        self._is_running = False

    def definition_changed(self, name: str) -> None:
        self._wake.set()
        if not self._is_running:
            self._is_running = True
            self._spawn(self._run(), "register custom groups")

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._reconcile()
            except (ApiError, StoreError) as error:
                log.debug("the APIServices of custom resources are not as they should be: %s", error)

    async def _reconcile(self) -> None:
        storage = self._backend.storage
        wanted: set[tuple[str, str]] = set()
        for cached in storage.cache_of(CUSTOM_RESOURCE_DEFINITIONS).list(EVERYTHING).records:
            spec = cached.object()["spec"]
            wanted |= {(spec["group"], version["name"]) for version in spec["versions"] if version.get("served")}
        names = {f"{version}.{group}": (group, version) for group, version in wanted}
        present = set()
        for cached in list(storage.cache_of(API_SERVICES).list(EVERYTHING).records):
            present.add(cached.name)
            if cached.labels.get(AUTOMANAGED) == "true" and cached.name not in names:
                await delete_object(self._backend, self._call("delete", cached.name), Options())
        for name in sorted(names.keys() - present):
            call = self._call("create", "")
            call.obj = _api_service(*names[name], "true", _CUSTOM_GROUP_PRIORITY, _CUSTOM_VERSION_PRIORITY)
            call.obj |= {"apiVersion": API_SERVICES.api_version, "kind": "APIService"}
            try:
                await create(self._backend, call)
            except ApiError as error:
                if error.code != 409:
                    raise

    def _call(self, verb: str, name: str) -> Call:
        resource = self._backend.registry.get(API_SERVICES)
        assert resource is not None
        return Call(verb, resource, None, "", name, _USER, {}, "kube-apiserver")
