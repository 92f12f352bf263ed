"""Which handler a request goes to: a table of verbs, and one of subresources that are no part of their object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from cybernetes.core.api import strategies
from cybernetes.core.errors import method_not_allowed, no_such_path
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Answer, Call
from cybernetes.services.apiserver.handlers.create import create
from cybernetes.services.apiserver.handlers.delete import delete, delete_collection
from cybernetes.services.apiserver.handlers.patch import patch_
from cybernetes.services.apiserver.handlers.read import get, list_
from cybernetes.services.apiserver.handlers.update import update
from cybernetes.services.apiserver.handlers.watch import watch

Handler = Callable[[Backend, Call], Awaitable[Answer]]

VERBS: Mapping[str, Handler] = {
    "get": get,
    "list": list_,
    "watch": watch,
    "create": create,
    "update": update,
    "patch": patch_,
    "delete": delete,
    "deletecollection": delete_collection,
}

#: Verbs that do not end by themselves soon: not counted as in flight, without a deadline.
LONG_RUNNING_VERBS = frozenset({"watch", "proxy"})
LONG_RUNNING_SUBRESOURCES = frozenset({"attach", "exec", "proxy", "log", "portforward"})


class Routes:
    """``special`` has the handlers that are not the generic ones: by (group, resource, subresource), then by verb; the
    resource ``*`` is any. A subresource of "" is the resource itself (reviews, which are answered and not kept)."""

    def __init__(self, special: Mapping[tuple[str, str, str], Mapping[str, Handler]]) -> None:
        self._special = special

    def find(self, call: Call) -> Handler:
        """Raises ApiError 404 for a subresource that nobody serves, 405 for a verb that this does not have."""
        resource, subresource = call.resource, call.subresource
        name = subresource.name if subresource is not None else ""
        # The object itself, of which a part may be written.
        is_part = name == "status" or (resource.gvr.group, resource.gvr.resource, name) in strategies.PARTS
        special = self._special.get((resource.gvr.group, resource.gvr.resource, name)) or self._special.get(
            ("*", "*", name)
        )
        if special is not None:
            handler = special.get(call.verb)
            if handler is not None:
                return handler
            if name and not is_part:
                raise method_not_allowed()
        verbs = subresource.verbs if subresource is not None else resource.verbs
        if call.verb not in verbs:
            raise method_not_allowed()
        if name and not is_part:
            raise no_such_path()
        return VERBS[call.verb]
