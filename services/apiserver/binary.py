"""Answers as protobuf: objects, lists in slices, events of watches. What Go's clients ask for by default.

An object's message is made once a revision and kept on its record: lists, watches and gets copy the same bytes. A list
says how long it is before its first item, so all its messages are made first, in pieces, to leave the loop to others:

    head{ PodList, length }  metadata  [12 len message] [12 len message] …  tail
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from cybernetes.core.api.protobuf import encoder, envelope
from cybernetes.core.api.protobuf.messages import Message
from cybernetes.core.api.resource import Resource
from cybernetes.core.errors import not_acceptable
from cybernetes.core.objects import Gvk, Object
from cybernetes.core.store.cached import Cached
from cybernetes.ext import protobuf as kernel
from cybernetes.services.apiserver.call import Item, Items
from cybernetes.services.apiserver.negotiation import JSON, Form

#: So many messages are made, and so many bytes of them joined, before others get the loop.
_MESSAGES_AT_ONCE = 500
SLICE_BYTES = 256 * 1024
_METADATA, _ITEMS = 1, 2
_LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"


def document(obj: Object) -> bytes:
    """Any object that names its kind: a Status, a review. Raises ApiError 406 where there is no message for it."""
    body = encoder.document(obj)
    if body is None:
        raise not_acceptable((JSON,))
    return body


def item(answer: Item, form: Form) -> bytes:
    """One object, or its metadata."""
    resource = answer.resource
    if form.kind:
        return partial(answer.object(), form)
    if answer.cached is not None:
        message = message_of(resource, answer.cached)
    else:
        message = encoder.encode(_type(resource), answer.object())
    return envelope.wrap(resource.gvr.api_version, resource.kind, message)


def object_body(obj: Object, resource: Resource) -> bytes:
    """An object that is nobody's record (the bookmark of a watch)."""
    return envelope.wrap(resource.gvr.api_version, resource.kind, encoder.encode(_type(resource), obj))


def cached_body(resource: Resource, cached: Cached) -> bytes:
    """A record as the object of an event."""
    return envelope.wrap(resource.gvr.api_version, resource.kind, message_of(resource, cached))


def partial(obj: Object, form: Form) -> bytes:
    """PartialObjectMetadata of ``obj``."""
    gvk = Gvk(form.group, form.version, "PartialObjectMetadata")
    return envelope.wrap(form.api_version, gvk.kind, encoder.encode(_known(gvk), {"metadata": obj["metadata"]}))


def message_of(resource: Resource, cached: Cached) -> bytes:
    """The message of a record, in the version of ``resource``. 12 µs for a pod the first time."""
    if resource.from_storage is not None:
        return encoder.encode(_type(resource), resource.from_storage(cached.object()))
    if cached.message is None:
        cached.message = encoder.encode(_type(resource), cached.object())
    return cached.message


def list_slices(items: Items, form: Form, metadata: dict[str, Any]) -> Iterator[bytes]:
    """A page. The first slices are empty: each says that a part of the messages has been made."""
    resource = items.resource
    partial_message = _known(Gvk(form.group, form.version, "PartialObjectMetadata")) if form.kind else None
    messages: list[bytes] = []
    for start in range(0, len(items.records), _MESSAGES_AT_ONCE):
        for cached in items.records[start : start + _MESSAGES_AT_ONCE]:
            if partial_message is not None:
                messages.append(encoder.encode(partial_message, {"metadata": _metadata(resource, cached)}))
            else:
                messages.append(message_of(resource, cached))
        yield b""
    first = envelope.part(_METADATA, encoder.encode(encoder.message_named(_LIST_META), metadata))
    size = len(first) + sum(1 + len(envelope.varint(len(each))) + len(each) for each in messages)
    kind, api_version = resource.list_kind, resource.gvr.api_version
    if form.kind:
        kind, api_version = "PartialObjectMetadataList", form.api_version
    yield envelope.head(api_version, kind, size) + first
    start = held = 0
    for index, each in enumerate(messages):
        held += len(each)
        if held >= SLICE_BYTES or index == len(messages) - 1:
            yield kernel.delimited(_ITEMS, messages[start : index + 1])
            start, held = index + 1, 0
    yield envelope.tail()


def _metadata(resource: Resource, cached: Cached) -> Object:
    if resource.from_storage is not None:
        metadata: Object = resource.from_storage(cached.object())["metadata"]
        return metadata
    read: Object = orjson.loads(cached.metadata())
    return read


def _type(resource: Resource) -> Message:
    return encoder.message_named(resource.type_name)


def _known(gvk: Gvk) -> Message:
    message = encoder.message_of(gvk)
    assert message is not None, f"{gvk} has no message"
    return message
