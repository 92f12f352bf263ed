"""The way of every request, whichever way it came:

    HTTPS    exchange ─ parse ─ authenticate ─ impersonate ─┐
                                                            ├─ classify ─ authorize ─ seat ─ route ─ handler ─ answer
    direct   call, with the user it was opened for ─────────┘

A refusal anywhere is an ApiError and becomes its Status. Anything else that is raised is a bug: the client gets a 500
that says nothing, the log the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import lru_cache

import orjson

from cybernetes.core.api.protobuf.envelope import MEDIA_TYPE as PROTOBUF
from cybernetes.core.api.resource import Resource, Subresource
from cybernetes.core.auth.attributes import Attributes, refusal
from cybernetes.core.auth.user import User
from cybernetes.core.errors import ApiError, internal, no_such_path, request_too_large, timeout, unauthorized
from cybernetes.core.labels import FieldSelector, SelectorError
from cybernetes.core.objects import NAMESPACES, Gvr
from cybernetes.services.apiserver import negotiation, socketanswer, warning
from cybernetes.services.apiserver.aggregation.apiservices import ApiServices, Remote
from cybernetes.services.apiserver.audit.events import Auditing, Record
from cybernetes.services.apiserver.audit.noting import note_end, note_refusal, noted, noted_exchange
from cybernetes.services.apiserver.authentication import Authentication, impersonated
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Answer, Call, Document, Item, Items, Query, Stream, Watching
from cybernetes.services.apiserver.exchange import Exchange
from cybernetes.services.apiserver.fairness.fairness import Fairness, seats_of_list
from cybernetes.services.apiserver.framing import Framing
from cybernetes.services.apiserver.handlers import watch as watching
from cybernetes.services.apiserver.http1 import HttpRequest, Malformed
from cybernetes.services.apiserver.negotiation import Form
from cybernetes.services.apiserver.nonresource import Pages
from cybernetes.services.apiserver.request import RequestInfo, is_true, parse_info, parse_query, split_target
from cybernetes.services.apiserver.response import Shape, document_bytes, gzipped, item_bytes, list_slices
from cybernetes.services.apiserver.routes import LONG_RUNNING_SUBRESOURCES, LONG_RUNNING_VERBS, Routes

log = logging.getLogger(__name__)

#: Answers are compressed from this size on, and never for a client on this machine: to it the wire costs nothing.
_GZIP_BYTES_MIN = 128 * 1024
_PRETTY_AGENTS = ("curl", "Wget", "Mozilla/5.0")
_NO_CACHE = b"Cache-Control: no-cache, private\r\n"
_READS = frozenset({"get", "list", "watch"})

#: Told of every call that ended: its code and how many seconds it took.
Observer = Callable[[Call, int, float], None]
Forward = Callable[[Exchange, User, Remote], Awaitable[None]]


class Chain:
    """One per API server. ``serve`` is the handler of the HTTP server, ``execute`` what the direct client calls."""

    def __init__(
        self,
        backend: Backend,
        routes: Routes,
        authentication: Authentication,
        pages: Pages,
        fairness: Fairness,
        observe: Observer,
    ) -> None:
        self.backend = backend
        self.routes = routes
        self.authentication = authentication
        self.pages = pages
        self.fairness = fairness
        #: Requests that are being worked on: reads, writes.
        self.running = [0, 0]
        self.bookmarks = watching.Bookmarks()
        self._observe = observe
        #: Group versions that other servers answer for, and the way to them.
        self.remotes: ApiServices | None = None
        self.forward: Forward | None = None
        self.auditing: Auditing | None = None

    async def execute(self, call: Call) -> Answer:
        """Authorize a call and answer it. Raises ApiError; what else goes wrong is logged and raised as a 500."""
        attributes = _attributes(call)
        if self.auditing is not None:
            return await noted(self.auditing, call, attributes, self._execute(call, attributes))
        return await self._execute(call, attributes)

    async def _execute(self, call: Call, attributes: Attributes) -> Answer:
        clock = self.backend.clock
        began = clock.monotonic()
        code = 200
        try:
            try:
                self._authorize(call.user, attributes, call.audit)
            except ApiError:
                # What grants it may have been written a moment ago: a refusal is as new as any read.
                await self.backend.storage.catch_up()
                self._authorize(call.user, attributes, call.audit)
            handler = self.routes.find(call)
            subresource = call.subresource.name if call.subresource is not None else ""
            if call.verb in LONG_RUNNING_VERBS or subresource in LONG_RUNNING_SUBRESOURCES:
                return await handler(self.backend, call)
            ticket = self.fairness.ticket(call.user, attributes)
            level, seats = ticket.level, self._seats(call)
            if not level.try_enter(seats):
                await level.enter(f"{ticket.schema.name}/{ticket.schema.flow(call.user, attributes)}", seats)
            kind = call.verb not in _READS
            self.running[kind] += 1
            try:
                return await handler(self.backend, call)
            finally:
                self.running[kind] -= 1
                level.leave(seats)
        except ApiError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = 499
            raise
        except Exception as error:
            code = 500
            log.exception("panic in %s %s", call.verb, call.resource.gvr.qualified)
            raise internal("the server failed; its log says why") from error
        finally:
            self._observe(call, code, clock.monotonic() - began)

    def _authorize(self, user: User, attributes: Attributes, record: Record | None = None) -> None:
        """Raises ApiError 403."""
        decision = self.backend.authorize(user, attributes)
        if record is not None:
            record.decided(decision.allowed, decision.reason)
        if not decision.allowed:
            raise refusal(user, attributes, decision.reason)

    def _seats(self, call: Call) -> int:
        """What a request costs: lists by their length."""
        if call.verb != "list" or not call.resource.is_stored:
            return 1
        limit = call.option("limit")
        count = len(self.backend.storage.cache(call.resource))
        return seats_of_list(count, int(limit) if limit.isascii() and limit.isdigit() else 0)

    async def serve(self, exchange: Exchange) -> None:
        """Answer one HTTP request."""
        request = exchange.request
        try:
            await self._serve(exchange, request)
        except asyncio.CancelledError:
            if not exchange.is_overdue or exchange.has_started:
                raise
            respond_error(exchange, timeout("request did not complete within the allotted timeout"))
        except ApiError as error:
            if exchange.has_started:
                raise ConnectionResetError("refused in the middle of an answer") from error
            if self.auditing is not None and not exchange.is_audited:
                note_refusal(self.auditing, exchange, error)
            respond_error(exchange, error)

    async def _serve(self, exchange: Exchange, request: HttpRequest) -> None:
        exchange.audit_id = _audit_id(request) or self.backend.random.uid()
        exchange.extra = b"Audit-Id: %b\r\n" % exchange.audit_id.encode("latin-1")
        path, raw_query = split_target(request.target)
        query = parse_query(raw_query)
        info = parse_info(request.method, path, query)
        user = exchange.user = self.authentication.of(exchange.connection, request)
        if request.impersonates:
            user = impersonated(user, request, self.backend.authorize)
        attributes = _attributes_of(info)
        exchange.extra += self.fairness.ticket(user, attributes).headers
        remote = self.remotes.find(path) if self.remotes is not None else None
        if remote is not None and self.forward is not None:
            with noted_exchange(self.auditing, exchange, user, attributes) as record:
                self._authorize(user, attributes, record)
                await self.forward(exchange, user, remote)
            return
        if not info.is_resource:
            with noted_exchange(self.auditing, exchange, user, attributes) as record:
                self._authorize(user, attributes, record)
                await self.pages.serve(exchange, path, query, user)
            return
        resource, subresource = self._find(user, info, exchange)
        if resource is None:
            return
        part = subresource.name if subresource is not None else ""
        # A write is not left half done because its client went away.
        exchange.finish_work = request.method not in ("GET", "HEAD") and part not in LONG_RUNNING_SUBRESOURCES
        call = Call(
            info.verb,
            resource,
            subresource,
            info.namespace if resource.is_namespaced else "",
            info.name,
            user,
            query,
            request.headers.get("user-agent", ""),
            request.body,
            request.headers.get("content-type", ""),
            None,
            info.rest,
            exchange,
        )
        exchange.warnings = call.warnings
        if resource.custom is not None:
            if resource.custom.deprecation:
                call.warnings.append(resource.custom.deprecation)
        elif resource.gvr in warning.DEPRECATED:
            call.warnings.append(warning.DEPRECATED[resource.gvr])
        form = self._form(call, request)
        pretty = _is_pretty(call.query, call.user_agent)
        shape = Shape(form, self.backend.clock.now(), call.option("includeObject"), pretty)
        await self._answer(exchange, call, await self.execute(call), shape)
        if call.audit is not None:
            note_end(exchange, call.audit)

    def _find(self, user: User, info: RequestInfo, exchange: Exchange) -> tuple[Resource | None, Subresource | None]:
        """What is asked for. Who may not ask for it is refused before learning whether it exists."""
        registry = self.backend.registry
        resource = registry.get(Gvr(info.group, info.version, info.resource))
        subresource = None
        if resource is not None and info.subresource:
            subresource = resource.subresources.get(info.subresource)
        if resource is not None and bool(info.subresource) == (subresource is not None) and _is_placed(resource, info):
            return resource, subresource
        self._authorize(user, _attributes_of(info))
        if info.version in registry.groups().get(info.group, ()):
            raise no_such_path()
        exchange.respond(404, b"Content-Type: text/plain; charset=utf-8\r\n", b"404 page not found\n")
        return None, None

    def _form(self, call: Call, request: HttpRequest) -> Form:
        accept = request.headers.get("accept", "")
        subresource = call.subresource.name if call.subresource is not None else ""
        if subresource in LONG_RUNNING_SUBRESOURCES:
            return negotiation.PLAIN  # what they answer is not an object
        kept = call.subresource or call.resource  # reviews, bindings and evictions are only answered
        return negotiation.negotiate(
            accept,
            is_watch=call.verb == "watch",
            is_custom=call.resource.custom is not None,
            has_table="get" in kept.verbs,
        )

    async def _answer(self, exchange: Exchange, call: Call, answer: Answer, shape: Shape) -> None:
        form = shape.form
        headers = _headers(form, call.warnings)
        if isinstance(answer, Item):
            exchange.respond(answer.code, headers, item_bytes(answer, shape))
        elif isinstance(answer, Items):
            await self._list(exchange, headers, list_slices(answer, shape))
        elif isinstance(answer, Watching):
            headers = _headers(form, call.warnings, is_stream=True)
            framing = Framing(answer.resource, shape, self.backend.clock)
            if not socketanswer.is_wanted(exchange.request):
                await watching.Stream(exchange, answer, framing, self.bookmarks).run(headers)
                return
            is_binary = form.is_protobuf
            socket = socketanswer.SocketExchange(exchange, None, is_text=not is_binary, has_length=is_binary)
            await watching.Stream(socket, answer, framing, self.bookmarks).run(headers)
            await socket.wait()
        elif isinstance(answer, Document):
            exchange.respond(answer.code, headers, document_bytes(answer, shape))
        elif isinstance(answer, Stream):
            await answer.run(exchange)

    async def _list(self, exchange: Exchange, headers: bytes, slices: Iterator[bytes]) -> None:
        """Small lists whole, with their length; large ones in slices as the client takes them."""
        first: list[bytes] = []
        size = 0
        for piece in slices:
            first.append(piece)
            size += len(piece)
            if size >= _GZIP_BYTES_MIN:
                break
            await asyncio.sleep(0)
        else:
            exchange.respond(200, headers, b"".join(first))
            return
        rest = _chained(first, slices)
        if "gzip" in exchange.request.headers.get("accept-encoding", "") and not exchange.connection.is_local:
            headers += b"Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
            rest = gzipped(rest)
        exchange.start(200, headers)
        for piece in rest:
            exchange.write(piece)
            await exchange.drain()
            await asyncio.sleep(0)  # a client that takes everything at once keeps nobody else waiting
        exchange.finish()

    def describe(self, error: Malformed) -> bytes:
        """The body for a request that could not even be read."""
        if error.code == 413:
            return orjson.dumps(request_too_large(3 * 1024 * 1024).status)
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(error),
            "reason": "MethodNotAllowed" if error.code == 405 else "BadRequest",
            "code": error.code,
        }
        return orjson.dumps(status)


def _audit_id(request: HttpRequest) -> str:
    """The id that a client gives its request."""
    given = request.headers.get("audit-id", "")
    return given if len(given) <= 64 and given.isascii() and given.isprintable() else ""


def _attributes(call: Call) -> Attributes:
    """A request for a resource that is served."""
    gvr = call.resource.gvr
    return Attributes(
        call.verb,
        gvr.group,
        gvr.version,
        gvr.resource,
        call.subresource.name if call.subresource is not None else "",
        call.name if gvr == NAMESPACES else call.namespace,  # a namespace lies in itself
        call.name,
        "",
        _field_requirements(call.query) if "fieldSelector" in call.query else (),
    )


def _attributes_of(info: RequestInfo) -> Attributes:
    """Any request, as far as its method and path tell."""
    if not info.is_resource:
        return Attributes(info.verb, path=info.path)
    return Attributes(info.verb, info.group, info.version, info.resource, info.subresource, info.namespace, info.name)


def _is_placed(resource: Resource, info: RequestInfo) -> bool:
    """Whether the path has a namespace where the resource has, and the method a verb: only proxies take those without
    (OPTIONS)."""
    if not info.verb and info.subresource != "proxy":
        return False
    if not resource.is_namespaced:
        return not info.namespace or resource.gvr == NAMESPACES
    return bool(info.namespace) or not info.name or info.verb in ("list", "watch", "deletecollection")


def respond_error(exchange: Exchange, error: ApiError) -> None:
    """The Status of a refusal, in the form that the client reads."""
    form = negotiation.PLAIN
    try:
        form = negotiation.negotiate(exchange.request.headers.get("accept", ""))
    except ApiError:
        pass  # then JSON, as upstream
    headers = b"Content-Type: %b\r\n%b" % (form.media.encode(), _NO_CACHE)
    if exchange.warnings:
        headers += warning.headers(exchange.warnings)
    if error.code == 403:
        headers += b"X-Content-Type-Options: nosniff\r\n"
    if error.retry_after_s is not None:
        headers += b"Retry-After: %d\r\n" % error.retry_after_s
    if error.code == 401 and error.message == unauthorized().message:
        headers += b"WWW-Authenticate: Bearer\r\n"
    exchange.respond(error.code, headers, document_bytes(Document(error.status), Shape(Form(form.media), 0.0)))


def _headers(form: Form, warnings: list[str], *, is_stream: bool = False) -> bytes:
    content_type = _content_type(form.media, is_stream)
    if not warnings:
        return content_type
    return content_type + warning.headers(warnings)


@lru_cache(maxsize=16)
def _content_type(media: str, is_stream: bool) -> bytes:
    parameter = ";stream=watch" if is_stream and media == PROTOBUF else ""
    return b"Content-Type: %b\r\n%b" % (f"{media}{parameter}".encode(), _NO_CACHE)


def _is_pretty(query: Mapping[str, list[str]], user_agent: str) -> bool:
    if "pretty" in query:
        return is_true(query, "pretty")
    return user_agent.startswith(_PRETTY_AGENTS)


def _chained(first: list[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    yield from first
    yield from rest


def _field_requirements(query: Query) -> tuple[tuple[str, str, str], ...]:
    try:
        selector = FieldSelector.parse(query["fieldSelector"][0])
    except SelectorError:
        return ()  # the handler refuses it in its own words
    return tuple((path, operator, value) for path, operator, value in selector.requirements)
