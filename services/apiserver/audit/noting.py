"""Where audit events come from: calls, whichever way they came, and requests for what is no resource."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cybernetes.core.auth.attributes import Attributes
from cybernetes.core.auth.user import User
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import clone
from cybernetes.services.apiserver.audit.events import Auditing, Record
from cybernetes.services.apiserver.exchange import Exchange
from cybernetes.services.apiserver.request import parse_info, parse_query, split_target

if TYPE_CHECKING:
    from cybernetes.services.apiserver.call import Answer, Call

_NOBODY = User("")


async def noted(auditing: Auditing, call: Call, attributes: Attributes, work: Coroutine[Any, Any, Answer]) -> Answer:
    """What ``work`` answers to ``call``, and its events. An answer that goes on is ended by ``note_end``."""
    from cybernetes.services.apiserver.call import Stream, Watching, kind_of

    exchange = call.exchange
    if exchange is not None:
        record = _begin(auditing, exchange, call.user, attributes)
    else:
        record = auditing.begin(call.user, attributes, uri=_uri(call, attributes), user_agent=call.user_agent)
    call.audit = record
    if record is None:
        return await work
    if call.body or call.obj is not None:
        kind = kind_of(call.resource, call.subresource) if call.verb in ("create", "update") else None
        record.sent(call.body, clone(call.obj) if isinstance(call.obj, dict) else call.obj, kind)
    try:
        answer = await work
    except ApiError as error:
        record.complete(error.code, error)
        raise
    except asyncio.CancelledError:
        record.complete(499)
        raise
    if isinstance(answer, Watching | Stream):
        record.started()
    else:
        record.complete(getattr(answer, "code", 200), None, _object(answer, record))
    return answer


@contextmanager
def noted_exchange(
    auditing: Auditing | None, exchange: Exchange, user: User, attributes: Attributes
) -> Iterator[Record | None]:
    """The events of a request that is answered inside."""
    record = _begin(auditing, exchange, user, attributes) if auditing is not None else None
    try:
        yield record
    except ApiError as error:
        if record is not None:
            record.complete(error.code, error)
        raise
    finally:
        if record is not None:
            record.complete(exchange.code or 499)


def note_end(exchange: Exchange, record: Record) -> None:
    """The answer is out, or goes on without us: then its end is noted when it comes."""
    if exchange.on_close is not None and not exchange.is_finished:
        exchange.on_end = lambda: record.complete(200)
    else:
        record.complete(exchange.code or 101)


def note_refusal(auditing: Auditing, exchange: Exchange, error: ApiError) -> None:
    """A request that was refused before anybody knew who asks, or what."""
    path, query = split_target(exchange.request.target)
    try:
        info = parse_info(exchange.request.method, path, parse_query(query))
    except ApiError:
        info = parse_info(exchange.request.method, path, {})
    attributes = Attributes(
        info.verb,
        info.group,
        info.version,
        info.resource,
        info.subresource,
        info.namespace,
        info.name,
        "" if info.is_resource else info.path,
    )
    record = _begin(auditing, exchange, exchange.user or _NOBODY, attributes)
    if record is not None:
        record.complete(error.code, error)


def _begin(auditing: Auditing, exchange: Exchange, user: User, attributes: Attributes) -> Record | None:
    exchange.is_audited = True
    request = exchange.request
    return auditing.begin(
        user,
        attributes,
        uri=request.target,
        user_agent=request.headers.get("user-agent", ""),
        source=exchange.connection.peer_address,
        audit_id=exchange.audit_id,
        impersonator=exchange.user if exchange.user is not user else None,
    )


def _uri(call: Call, attributes: Attributes) -> str:
    """The path that a direct call would have over HTTP."""
    parts = ["apis", attributes.group] if attributes.group else ["api"]
    parts.append(attributes.version)
    if call.namespace and call.resource.is_namespaced:
        parts += ["namespaces", call.namespace]
    parts += [attributes.resource, call.name, attributes.subresource]
    return "/" + "/".join(part for part in parts if part)


def _object(answer: Answer, record: Record) -> Any:
    """The answer as an object, as far as it is noted."""
    from cybernetes.services.apiserver.call import Document, Item, Items

    if isinstance(answer, Document):
        return answer.obj
    if not record.wants_response:
        return None
    if isinstance(answer, Item):
        return answer.object()
    if isinstance(answer, Items):
        resource = answer.resource
        head = {"kind": resource.list_kind, "apiVersion": resource.gvr.api_version}
        metadata: dict[str, Any] = {"resourceVersion": str(answer.revision)}
        if answer.continue_token:
            metadata["continue"] = answer.continue_token
        return {**head, "metadata": metadata, "items": [cached.object() for cached in answer.records]}
    return None
