"""Admission of what takes the connection: exec, attach, port-forward and proxies are a CONNECT with options as object.

The options are those of the query. A webhook may refuse; what it changes in them is not looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cybernetes.core.objects import Object
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Stream
from cybernetes.services.apiserver.request import is_true

Handler = Callable[[Backend, Call], Awaitable[Stream]]
_FLAGS = ("stdin", "stdout", "stderr", "tty")


def admitted(handler: Handler) -> Handler:
    """The handler, after admission of its options."""

    async def connect(backend: Backend, call: Call) -> Stream:
        admitting = backend.admitting
        if admitting.configured is not None and not admitting.configured.is_empty:
            await admitting.connect(call, options_of(call))
        return await handler(backend, call)

    return connect


def options_of(call: Call) -> Object:
    """The options of a request for a subresource that takes the connection."""
    assert call.subresource is not None
    kind = call.subresource.gvk
    options: dict[str, Any] = {"kind": kind.kind, "apiVersion": kind.api_version}
    if kind.kind in ("PodExecOptions", "PodAttachOptions"):
        options |= {name: True for name in _FLAGS if is_true(call.query, name)}
        if call.option("container"):
            options["container"] = call.option("container")
        if kind.kind == "PodExecOptions":
            options["command"] = list(call.query.get("command") or ()) or None
    elif kind.kind == "PodPortForwardOptions":
        ports = [int(port) for text in call.query.get("ports") or () for port in text.split(",") if port.isdigit()]
        if ports:
            options["ports"] = ports
    elif call.rest:
        options["path"] = "/".join(call.rest)
    return options
