"""Events of a watch as bytes: JSON lines or protobuf frames, each in an HTTP chunk of its own.

An event is framed once for each encoding and kept on the change, chunk header included, so that a thousand connections
write the same bytes. What cannot be shared (the first event of a Table's stream, which has the columns; bookmarks) is
framed where it is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from cybernetes.core.api.protobuf import envelope
from cybernetes.core.api.resource import Resource
from cybernetes.core.clock import Clock
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import Object
from cybernetes.core.store.cached import Cached, Change
from cybernetes.services.apiserver import binary
from cybernetes.services.apiserver.response import Shape, partial, tables


class Framing:
    """How one encoding frames events. ``name`` is what the frames are kept under, on each change."""

    __slots__ = ("_body", "_clock", "_form", "_include", "_resource", "name")

    def __init__(self, resource: Resource, shape: Shape, clock: Clock) -> None:
        self._resource = resource
        self._form = form = shape.form
        self._include = shape.include_object
        self._clock = clock
        is_stored = resource.from_storage is None
        #: What an event has as its object, of a record.
        self._body: Callable[[Cached], bytes]
        if form.is_protobuf:
            self._body = self._partial_message if form.kind else self._message
        elif form.kind:
            self._body = self._transformed
        else:
            self._body = Cached.json if is_stored else self._converted
        if form.kind or form.is_protobuf or not is_stored:
            self.name = f"{form.media} {resource.gvr.api_version} {form.kind} {form.version} {self._include}"
        else:
            self.name = ""

    def build(self, change: Change) -> bytes:
        """The frame of a change."""
        return self._frame(change.type, self._body(change.cached))

    @property
    def is_table(self) -> bool:
        return self._form.kind == "Table"

    def initial(self, cached: Cached) -> bytes:
        """An ADDED event of the state that goes first."""
        return self._frame("ADDED", self._body(cached))

    def with_columns(self, type: str, cached: Cached) -> bytes:
        """The first event of a Table's stream, which alone says what the columns are."""
        return self._frame(type, orjson.dumps(self._table(cached, has_headers=True)))

    def error(self, error: ApiError) -> bytes:
        """What ends a watch."""
        status = error.status
        return self._frame("ERROR", binary.document(status) if self._form.is_protobuf else orjson.dumps(status))

    def bookmark(self, revision: int, annotations: dict[str, str] | None = None) -> bytes:
        """Nothing but a revision, in the kind of the resource (in its Table, for a Table)."""
        metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        resource, form = self._resource, self._form
        obj: Object = {"kind": resource.kind, "apiVersion": resource.gvr.api_version, "metadata": metadata}
        if form.is_protobuf:
            return self._frame(
                "BOOKMARK", binary.partial(obj, form) if form.kind else binary.object_body(obj, resource)
            )
        if self.is_table:
            obj = {
                "kind": "Table",
                "apiVersion": form.api_version,
                "metadata": {"resourceVersion": str(revision)},
                "columnDefinitions": tables().columns(resource),
                "rows": [],
            }
        elif form.kind:
            obj = partial(obj, form.api_version)
        return self._frame("BOOKMARK", orjson.dumps(obj))

    def _frame(self, type: str, body: bytes) -> bytes:
        if self._form.is_protobuf:
            return chunk(envelope.event(type, body))
        return chunk(b'{"type":"%b","object":%b}\n' % (type.encode(), body))

    def _converted(self, cached: Cached) -> bytes:
        return orjson.dumps(self._version(cached.object()))

    def _transformed(self, cached: Cached) -> bytes:
        if self.is_table:
            return orjson.dumps(self._table(cached, has_headers=False))
        return orjson.dumps(partial(self._version(cached.object()), self._form.api_version))

    def _message(self, cached: Cached) -> bytes:
        return binary.cached_body(self._resource, cached)

    def _partial_message(self, cached: Cached) -> bytes:
        return binary.partial(self._version(cached.object()), self._form)

    def _table(self, cached: Cached, *, has_headers: bool) -> Object:
        obj = self._version(cached.object())
        rendered: Object = tables().render(
            self._resource,
            [obj],
            self._clock.now(),
            self._include,
            metadata={"resourceVersion": obj["metadata"]["resourceVersion"]},
            has_headers=has_headers,
            version=self._form.version,
        )
        return rendered

    def _version(self, obj: Object) -> Object:
        convert = self._resource.from_storage
        return obj if convert is None else convert(obj)


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
