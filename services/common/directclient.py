"""The Client contract without a network: a call enters the API server's chain in the same process.

It passes authorization, admission, validation, in-flight limits and audit like any request, as the user it was opened
for; only HTTP and the encoding and decoding of bodies are left out. What a watch delivers is decoded once for everyone
in the process. What another server answers for (an APIService) is asked there, over the network, on the user's behalf:
autoscalers read their metrics so. Nothing more than reading is done that way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson

from cybernetes.core.api.resource import Resource, Subresource
from cybernetes.core.auth.attributes import Attributes, refusal
from cybernetes.core.auth.user import User
from cybernetes.core.client.interface import JSON_PATCH, MERGE_PATCH, Client, ListPage, WatchEvent
from cybernetes.core.errors import expired, from_status, no_such_path, service_unavailable
from cybernetes.core.objects import Gvr, Object, clone, name_of, namespace_of
from cybernetes.core.store.cached import Change
from cybernetes.core.store.interface import Compacted, StoreError
from cybernetes.services.apiserver.aggregation.apiservices import Remote
from cybernetes.services.apiserver.aggregation.client import Unreachable
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.apiserver.call import Call, Document, Item, Items, Watching

#: Events that a watch may leave unread. Beyond, it ends with 410 and its reader lists again.
BACKLOG_EVENTS_MAX = 100_000


class DirectClient:
    """``user`` is who asks; ``user_agent`` names the component in metrics and audit."""

    def __init__(self, server: ApiServer, user: User, user_agent: str = "cybernetes") -> None:
        self._server = server
        self._chain = server.chain
        self._registry = server.registry
        self._user = user
        self._user_agent = user_agent

    async def get(
        self, gvr: Gvr, name: str, namespace: str = "", *, subresource: str = "", resource_version: str = ""
    ) -> Object:
        """As Client.get. 20 µs for a pod."""
        if (remote := self._remote(gvr)) is not None:
            return await self._ask(remote, "get", gvr, namespace, name, subresource, {})
        call = self._call("get", gvr, namespace, name, subresource, resourceVersion=resource_version)
        return await self._one(call)

    async def list(
        self,
        gvr: Gvr,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        resource_version_match: str = "",
    ) -> ListPage:
        if (remote := self._remote(gvr)) is not None:
            query = {"labelSelector": label_selector, "fieldSelector": field_selector, "continue": continue_token}
            query["limit"] = str(limit) if limit else ""
            found = await self._ask(remote, "list", gvr, namespace, "", "", query)
            metadata = found.get("metadata") or {}
            page = metadata.get("resourceVersion", ""), metadata.get("continue", ""), metadata.get("remainingItemCount")
            return ListPage(found.get("items") or [], *page)
        call = self._call(
            "list",
            gvr,
            namespace,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=str(limit) if limit else "",
            resourceVersion=resource_version,
            resourceVersionMatch=resource_version_match,
            **{"continue": continue_token},
        )
        answer = await self._chain.execute(call)
        if isinstance(answer, Document):  # what is answered and not kept
            return ListPage(answer.obj["items"], "", "", None)
        assert isinstance(answer, Items)
        convert = answer.resource.from_storage
        items = [cached.decoded(is_bare=True) for cached in answer.records]
        if convert is not None:
            items = [convert(item) for item in items]
        if not answer.resource.is_custom:
            for item in items:
                del item["apiVersion"], item["kind"]
        return ListPage(items, str(answer.revision), answer.continue_token, answer.remaining)

    async def watch(
        self,
        gvr: Gvr,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str,
        allow_bookmarks: bool = True,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """As Client.watch. There are no bookmarks: nothing that they are for is lost in one process."""
        call = self._call(
            "watch",
            gvr,
            namespace,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            resourceVersion=resource_version,
        )
        answer = await self._chain.execute(call)
        assert isinstance(answer, Watching)
        reading = _Reading(answer)
        watcher = await answer.open(reading.take, reading.end)
        deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        try:
            if answer.initial:
                yield [WatchEvent("ADDED", reading.shown(cached.bare())) for cached in answer.initial]
            while True:
                batch = await reading.next(deadline)
                if batch is None:
                    return
                yield batch
        finally:
            watcher.close()

    async def create(
        self,
        gvr: Gvr,
        obj: Object,
        namespace: str = "",
        *,
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        namespace = namespace or namespace_of(obj)
        call = self._call("create", gvr, namespace, name, subresource, dryRun="All" if dry_run else "")
        call.obj = clone(obj)
        return await self._one(call)

    async def update(self, gvr: Gvr, obj: Object, *, subresource: str = "") -> Object:
        call = self._call("update", gvr, namespace_of(obj), name_of(obj), subresource)
        call.obj = clone(obj)
        return await self._one(call)

    async def patch(
        self,
        gvr: Gvr,
        name: str,
        patch: Object | Sequence[Mapping[str, Any]],
        namespace: str = "",
        *,
        patch_type: str = MERGE_PATCH,
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        call = self._call(
            "patch",
            gvr,
            namespace,
            name,
            subresource,
            fieldManager=field_manager,
            force="true" if force else "",
        )
        call.obj = list(patch) if patch_type == JSON_PATCH else patch
        call.content_type = patch_type
        return await self._one(call)

    async def delete(
        self,
        gvr: Gvr,
        name: str,
        namespace: str = "",
        *,
        grace_period_s: int | None = None,
        propagation: str = "",
        uid: str = "",
        resource_version: str = "",
    ) -> Object:
        call = self._call("delete", gvr, namespace, name)
        call.obj = _delete_options(grace_period_s, propagation, uid, resource_version)
        return await self._one(call)

    async def delete_collection(
        self,
        gvr: Gvr,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation: str = "",
    ) -> None:
        call = self._call(
            "deletecollection", gvr, namespace, labelSelector=label_selector, fieldSelector=field_selector
        )
        call.obj = _delete_options(None, propagation, "", "")
        await self._chain.execute(call)

    async def close(self) -> None:
        """There is nothing to close: the server is somebody else's."""

    def _remote(self, gvr: Gvr) -> Remote | None:
        """Who answers for a group version, when it is not this server."""
        return self._server.api_services.find(gvr.path)

    async def _ask(
        self, remote: Remote, verb: str, gvr: Gvr, namespace: str, name: str, part: str, query: Mapping[str, str]
    ) -> Object:
        """Read from another server, as it is done for a client on the network. Raises ApiError."""
        from cybernetes.services.common.httpclient import object_path  # late: it brings aiohttp in

        attributes = Attributes(verb, gvr.group, gvr.version, gvr.resource, part, namespace, name)
        decision = self._server.authorize(self._user, attributes)
        if not decision.allowed:
            raise refusal(self._user, attributes, decision.reason)
        if not remote.is_available:
            raise service_unavailable("service unavailable")
        given = {option: value for option, value in query.items() if value}
        target = object_path(gvr, namespace, name, part) + (f"?{urlencode(given)}" if given else "")
        try:
            code, body = await self._server.remotes.get(remote, target, "application/json", user=self._user)
        except Unreachable as error:
            raise service_unavailable(f"error trying to reach service: {error}") from error
        try:
            answer = orjson.loads(body)
        except ValueError:
            answer = None
        if code == 200 and isinstance(answer, dict):
            return answer
        if isinstance(answer, dict) and answer.get("kind") == "Status":
            raise from_status(answer)
        if code == 404:
            raise no_such_path()
        raise service_unavailable(f"{remote.name} answered {code}")

    def _call(
        self, verb: str, gvr: Gvr, namespace: str = "", name: str = "", subresource: str = "", **options: str
    ) -> Call:
        resource = self._registry.get(gvr)
        if resource is None:
            raise no_such_path()
        part = _part(resource, subresource) if subresource else None
        if not resource.is_namespaced:
            namespace = ""
        query = {key: [value] for key, value in options.items() if value}
        return Call(verb, resource, part, namespace, name, self._user, query, self._user_agent)

    async def _one(self, call: Call) -> Object:
        answer = await self._chain.execute(call)
        if isinstance(answer, Item):
            if answer.cached is None:
                return answer.object()
            obj = answer.cached.decoded()
            convert = answer.resource.from_storage
            return obj if convert is None else convert(obj)
        assert isinstance(answer, Document)
        return answer.obj


class _Reading:
    """What a watch has received and its reader has not taken yet."""

    def __init__(self, watching: Watching) -> None:
        self._convert = watching.resource.from_storage
        self._batches: deque[list[WatchEvent]] = deque()
        self._backlog = 0
        self._error: BaseException | None = None
        self._wake: asyncio.Future[None] | None = None

    def take(self, batch: Sequence[Change]) -> None:
        events = [WatchEvent(change.type, self.shown(change.cached.bare())) for change in batch]
        self._backlog += len(events)
        if self._backlog > BACKLOG_EVENTS_MAX:
            self._batches.clear()
            self._fail(expired("the watcher did not read its events"))
            raise self._error  # type: ignore[misc]  # ends this watcher
        self._batches.append(events)
        self._awake()

    def end(self, reason: StoreError) -> None:
        if self._error is None:
            is_old = isinstance(reason, Compacted)
            self._fail(expired("too old resource version") if is_old else ConnectionError(str(reason)))

    def shown(self, obj: Object) -> Object:
        return obj if self._convert is None else self._convert(obj)

    async def next(self, deadline: float | None) -> list[WatchEvent] | None:
        """The next batch, None at the deadline (in loop time). Raises what ended the watch."""
        while not self._batches:
            if self._error is not None:
                raise self._error
            self._wake = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._wake
            except TimeoutError:
                return None
            finally:
                self._wake = None
        batch = self._batches.popleft()
        self._backlog -= len(batch)
        return batch

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self._awake()

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def _part(resource: Resource, name: str) -> Subresource:
    part = resource.subresources.get(name)
    if part is None:
        raise no_such_path()
    return part


def _delete_options(grace_period_s: int | None, propagation: str, uid: str, resource_version: str) -> Object:
    options: Object = {}
    if grace_period_s is not None:
        options["gracePeriodSeconds"] = grace_period_s
    if propagation:
        options["propagationPolicy"] = propagation
    preconditions = {key: value for key, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
    if preconditions:
        options["preconditions"] = preconditions
    return options


def _conforms(client: DirectClient) -> Client:
    return client
