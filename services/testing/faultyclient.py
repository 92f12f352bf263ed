"""Faults on their way to a client: around the Client contract, and in front of the HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from cybernetes.core import errors
from cybernetes.core.client.interface import MERGE_PATCH, Client, ListPage, WatchEvent
from cybernetes.core.objects import Gvr, Object
from cybernetes.services.apiserver.chain import respond_error
from cybernetes.services.apiserver.exchange import Exchange
from cybernetes.services.apiserver.request import parse_info, parse_query, split_target
from cybernetes.services.testing.faults import EVENT_KINDS, REQUEST_KINDS, Fault, Faults

#: So many answers are kept for ``stale``.
_REMEMBERED_MAX = 1000


class Past:
    """The last two different answers of each question: what ``stale`` answers with."""

    def __init__(self) -> None:
        self._answers: dict[Any, list[Any]] = {}

    def remember(self, question: Any, answer: Any) -> None:
        known = self._answers.setdefault(question, [])
        if not known or known[-1] != answer:
            known.append(answer)
            del known[:-2]
        if len(self._answers) > _REMEMBERED_MAX:
            del self._answers[next(iter(self._answers))]

    def before(self, question: Any, answer: Any) -> Any:
        """What was answered before ``answer``; itself when nothing was."""
        older = [known for known in self._answers.get(question, ()) if known != answer]
        return older[-1] if older else answer


class FaultyClient:
    """``client`` as ``component`` sees it."""

    def __init__(self, client: Client, faults: Faults, component: str) -> None:
        self._client = client
        self._faults = faults
        self._component = component
        self._past = Past()

    async def _ask(self, verb: str, gvr: Gvr, call: Callable[[], Awaitable[Any]], question: Any = None) -> Any:
        faults = self._faults
        struck = list(faults.strike(REQUEST_KINDS, self._component, verb, gvr.resource))
        kinds = {fault.kind for fault in struck}
        for fault in struck:
            if fault.kind == "latency":
                await asyncio.sleep(fault.seconds)
            elif fault.kind == "error":
                raise fault.refusal(gvr.group, gvr.resource, verb)
            elif fault.kind == "lost-request":
                raise ConnectionResetError("a fault of the test: the request was lost")
        answer = await call()
        if question is not None and faults.has(("stale",)):
            current = answer
            if "stale" in kinds:
                answer = self._past.before(question, answer)
            self._past.remember(question, current)
        if "crash" in kinds:
            await faults.crash(self._component)
        if "lost-response" in kinds:
            raise ConnectionResetError("a fault of the test: the answer was lost")
        return answer

    async def get(
        self, gvr: Gvr, name: str, namespace: str = "", *, subresource: str = "", resource_version: str = ""
    ) -> Object:
        found: Object = await self._ask(
            "get",
            gvr,
            lambda: self._client.get(gvr, name, namespace, subresource=subresource, resource_version=resource_version),
            ("get", gvr, namespace, name, subresource),
        )
        return found

    async def list(self, gvr: Gvr, namespace: str = "", **options: Any) -> ListPage:
        page: ListPage = await self._ask(
            "list",
            gvr,
            lambda: self._client.list(gvr, namespace, **options),
            ("list", gvr, namespace, *sorted(options.items())),
        )
        return page

    async def watch(self, gvr: Gvr, namespace: str = "", **options: Any) -> AsyncIterator[Sequence[WatchEvent]]:
        async def begin() -> None:
            return None

        await self._ask("watch", gvr, begin)
        spoiler = Spoiler(self._faults, self._component, gvr.resource)
        async with contextlib.aclosing(self._client.watch(gvr, namespace, **options)) as stream:  # type: ignore[type-var]
            async for batch in stream:
                events = spoiler.spoil(batch)
                if events:
                    yield events
                if spoiler.is_expired:
                    raise errors.expired("too old resource version: a fault of the test")
                if spoiler.is_cut:
                    return

    async def create(self, gvr: Gvr, obj: Object, namespace: str = "", **options: Any) -> Object:
        made: Object = await self._ask("create", gvr, lambda: self._client.create(gvr, obj, namespace, **options))
        return made

    async def update(self, gvr: Gvr, obj: Object, *, subresource: str = "") -> Object:
        made: Object = await self._ask("update", gvr, lambda: self._client.update(gvr, obj, subresource=subresource))
        return made

    async def patch(
        self,
        gvr: Gvr,
        name: str,
        patch: Object | Sequence[Mapping[str, Any]],
        namespace: str = "",
        *,
        patch_type: str = MERGE_PATCH,
        **options: Any,
    ) -> Object:
        made: Object = await self._ask(
            "patch",
            gvr,
            lambda: self._client.patch(gvr, name, patch, namespace, patch_type=patch_type, **options),
        )
        return made

    async def delete(self, gvr: Gvr, name: str, namespace: str = "", **options: Any) -> Object:
        gone: Object = await self._ask("delete", gvr, lambda: self._client.delete(gvr, name, namespace, **options))
        return gone

    async def delete_collection(self, gvr: Gvr, namespace: str = "", **options: Any) -> None:
        await self._ask("deletecollection", gvr, lambda: self._client.delete_collection(gvr, namespace, **options))

    async def close(self) -> None:
        await self._client.close()


class Spoiler:
    """The events of one watch, as the faults leave them."""

    def __init__(self, faults: Faults, component: str, resource: str) -> None:
        self.is_cut = False
        self.is_expired = False
        self._faults = faults
        self._component = component
        self._resource = resource
        self._held: list[Any] = []

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to spoil at present."""
        return not self._held and not self._faults.has(EVENT_KINDS)

    def spoil(self, events: Sequence[Any]) -> list[Any]:
        if self.is_idle:
            return list(events)
        seen: list[Any] = []
        for event in events:
            kinds = {f.kind for f in self._faults.strike(EVENT_KINDS, self._component, "watch", self._resource)}
            if "expire" in kinds:
                self.is_expired = True
                return seen
            if "reorder" in kinds:
                self._held.append(event)
                continue
            if "drop" not in kinds:
                seen += [event, event] if "repeat" in kinds else [event]
            seen += self._held
            self._held.clear()
            if "cut" in kinds:
                self.is_cut = True
                return seen
        return seen


# In front of the HTTP server. An exchange is given another class for the time of its answer: everything that writes an
# answer holds the exchange, and none of it needs to know.


class _Unanswered(Exchange):
    """The work is done, the answer never leaves."""

    __slots__ = ()

    def respond(self, code: int, headers: bytes, body: bytes) -> None:
        self.has_started = self.is_finished = True
        self.connection.abort()

    def start(self, code: int, headers: bytes) -> None:
        self.has_started = True
        self.connection.abort()


class HttpFaults:
    """Stands before ``handler`` of an HTTP server."""

    def __init__(self, faults: Faults, handler: Callable[[Exchange], Awaitable[None]]) -> None:
        self._faults = faults
        self._handler = handler
        self._past = Past()

    async def serve(self, exchange: Exchange) -> None:
        faults, request = self._faults, exchange.request
        path, raw_query = split_target(request.target)
        info = parse_info(request.method, path, parse_query(raw_query))
        component = request.headers.get("user-agent", "").partition("/")[0].lower() or "http"
        if not info.is_resource:
            await self._handler(exchange)
            return
        struck: dict[str, Fault] = {
            f.kind: f for f in faults.strike(REQUEST_KINDS, component, info.verb, info.resource)
        }
        if "latency" in struck:
            await asyncio.sleep(struck["latency"].seconds)
        if "lost-request" in struck:
            exchange.connection.abort()
            raise ConnectionResetError("a fault of the test: the request was lost")
        if "error" in struck:
            respond_error(exchange, struck["error"].refusal(info.group, info.resource, info.verb))
            return
        if "crash" in struck or "lost-response" in struck:
            exchange.finish_work = True
            exchange.__class__ = _Unanswered
        elif info.verb == "watch":  # faults may come while it lasts
            exchange.__class__ = _spoiled(Spoiler(faults, component, info.resource))
        elif info.verb in ("get", "list") and faults.has(("stale",)):
            exchange.__class__ = _remembered(self._past, request.target, is_stale="stale" in struck)
        await self._handler(exchange)


def _spoiled(spoiler: Spoiler) -> type[Exchange]:
    class Spoiled(Exchange):
        """A watch whose events are spoiled. Every event is a chunk of one line."""

        __slots__ = ()

        def write_framed(self, data: bytes) -> None:
            if spoiler.is_idle:
                super().write_framed(data)
                return
            lines = [line for line in _chunks(data) if line]
            for line in spoiler.spoil(lines):
                self.write(line)
            if spoiler.is_expired or spoiler.is_cut:
                if spoiler.is_expired:
                    self.write(_EXPIRED)
                    asyncio.get_running_loop().call_soon(_end, self)
                else:
                    self.connection.abort()

    return Spoiled


def _end(exchange: Exchange) -> None:
    """The end of a stream that goes on by itself."""
    if exchange.on_close is not None and not exchange.connection.is_lost:
        exchange.on_close()
        exchange.finish()


def _remembered(past: Past, question: str, *, is_stale: bool) -> type[Exchange]:
    class Remembered(Exchange):
        __slots__ = ()

        def respond(self, code: int, headers: bytes, body: bytes) -> None:
            answer = (code, headers, body)
            said = past.before(question, answer) if is_stale else answer
            past.remember(question, answer)
            super().respond(*said)

    return Remembered


_EXPIRED = (
    b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",'
    b'"message":"too old resource version: a fault of the test","reason":"Expired","code":410}}\n'
)


def _chunks(data: bytes) -> list[bytes]:
    """What each chunk of chunked framing holds."""
    pieces = []
    at = 0
    while at < len(data):
        start = data.index(b"\r\n", at) + 2
        end = start + int(data[at : start - 2], 16)
        pieces.append(data[start:end])
        at = end + 2
    return pieces
