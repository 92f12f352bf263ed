"""What the handlers of one API server work with. Made once at start, passed to each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cybernetes.core.api.registry import Registry
from cybernetes.core.api.resource import Context, Resource
from cybernetes.core.auth.attributes import Authorize
from cybernetes.core.clock import Clock, Random
from cybernetes.core.objects import Gvr, Object
from cybernetes.services.apiserver.call import Call
from cybernetes.services.apiserver.storage import Storage

if TYPE_CHECKING:
    from cybernetes.services.apiserver.admitting import Admitting
    from cybernetes.services.apiserver.fieldmanagers import FieldManagers


class Taken(Protocol):
    """What a write has taken from elsewhere. One of the two is called: after the write, or when it failed."""

    async def keep(self) -> None: ...

    async def undo(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a kind needs beyond its strategy because it reaches for other objects: addresses of Services.

    ``create`` and ``update`` (which is given the old object too) run between admission and validation and may change
    the object. ``deleted`` runs after the object is gone. ``holds`` says whether a deleted object must stay although no
    finalizer holds it.
    """

    create: Callable[[Backend, Call, Object], Awaitable[Taken | None]] | None = None
    update: Callable[[Backend, Call, Object, Object], Awaitable[Taken | None]] | None = None
    deleted: Callable[[Backend, Object], Awaitable[None]] | None = None
    holds: Callable[[Object], bool] | None = None
    #: Changes a copy of the object that is deleted before the deletion is recorded (a namespace becomes Terminating).
    deleting: Callable[[Object], None] | None = None


NO_HOOKS = Hooks()


@dataclass(slots=True)
class Backend:
    storage: Storage
    registry: Registry
    clock: Clock
    random: Random
    authorize: Authorize
    admitting: Admitting
    fields: FieldManagers
    hooks: Mapping[Gvr, Hooks] = field(default_factory=dict)

    def context(self, call: Call) -> Context:
        """What a strategy is told."""
        return Context(self.clock, self.random, call.user, call.namespace)

    def hooks_of(self, home: Resource) -> Hooks:
        return self.hooks.get(home.gvr, NO_HOOKS)
