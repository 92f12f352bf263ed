"""What is configured, as the caches have it: told of each change, compiled when the next write asks."""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.admission.matching import EXEMPT_GROUP
from cybernetes.core.admission.webhooks.hooks import Hook, hooks_of
from cybernetes.core.objects import Gvr, Object

MUTATING_WEBHOOKS = Gvr(EXEMPT_GROUP, "v1", "mutatingwebhookconfigurations")
VALIDATING_WEBHOOKS = Gvr(EXEMPT_GROUP, "v1", "validatingwebhookconfigurations")
GVRS = (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)


class Sources:
    """A follower (``following.Follower``) of everything that configures admission."""

    def __init__(self) -> None:
        self._objects: dict[Gvr, dict[str, Object]] = {gvr: {} for gvr in GVRS}
        self._hooks: dict[Gvr, tuple[Hook, ...]] = {}

    def put(self, gvr: Gvr, obj: Object) -> None:
        self._objects[gvr][obj["metadata"]["name"]] = obj
        self._hooks.pop(gvr, None)

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        self._objects[gvr].pop(name, None)
        self._hooks.pop(gvr, None)

    def replace(self, gvr: Gvr, objects: Iterable[Object]) -> None:
        self._objects[gvr] = {obj["metadata"]["name"]: obj for obj in objects}
        self._hooks.pop(gvr, None)

    @property
    def may_mutate(self) -> bool:
        return bool(self._objects[MUTATING_WEBHOOKS])

    @property
    def may_validate(self) -> bool:
        return bool(self._objects[VALIDATING_WEBHOOKS])

    def mutating_hooks(self) -> tuple[Hook, ...]:
        return self._of(MUTATING_WEBHOOKS, is_mutating=True)

    def validating_hooks(self) -> tuple[Hook, ...]:
        return self._of(VALIDATING_WEBHOOKS, is_mutating=False)

    def _of(self, gvr: Gvr, *, is_mutating: bool) -> tuple[Hook, ...]:
        found = self._hooks.get(gvr)
        if found is None:
            found = self._hooks[gvr] = hooks_of(self._objects[gvr].values(), is_mutating=is_mutating)
        return found
