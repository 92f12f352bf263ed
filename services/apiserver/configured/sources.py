"""What is configured, as the caches have it: told of each change, compiled when the next write asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from cybernetes.core.admission.matching import EXEMPT_GROUP
from cybernetes.core.admission.policies.definitions import Binding, Policy, binding_of
from cybernetes.core.admission.webhooks.hooks import Hook, hooks_of
from cybernetes.core.objects import Gvr, Object

MUTATING_WEBHOOKS = Gvr(EXEMPT_GROUP, "v1", "mutatingwebhookconfigurations")
VALIDATING_WEBHOOKS = Gvr(EXEMPT_GROUP, "v1", "validatingwebhookconfigurations")
MUTATING_POLICIES = Gvr(EXEMPT_GROUP, "v1", "mutatingadmissionpolicies")
MUTATING_BINDINGS = Gvr(EXEMPT_GROUP, "v1", "mutatingadmissionpolicybindings")
VALIDATING_POLICIES = Gvr(EXEMPT_GROUP, "v1", "validatingadmissionpolicies")
VALIDATING_BINDINGS = Gvr(EXEMPT_GROUP, "v1", "validatingadmissionpolicybindings")
GVRS = (
    MUTATING_WEBHOOKS,
    VALIDATING_WEBHOOKS,
    MUTATING_POLICIES,
    MUTATING_BINDINGS,
    VALIDATING_POLICIES,
    VALIDATING_BINDINGS,
)


class Bound(NamedTuple):
    """A policy with its bindings, by name; those without are not asked."""

    policy: Any
    bindings: tuple[Binding, ...]


class Sources:
    """A follower (``following.Follower``) of everything that configures admission."""

    def __init__(self) -> None:
        self._objects: dict[Gvr, dict[str, Object]] = {gvr: {} for gvr in GVRS}
        self._hooks: dict[Gvr, tuple[Hook, ...]] = {}
        self._bound: dict[Gvr, tuple[Bound, ...]] = {}
        #: A policy is compiled once, whatever happens to others.
        self._compiled: dict[tuple[Gvr, str], tuple[Object, Policy]] = {}

    def put(self, gvr: Gvr, obj: Object) -> None:
        self._objects[gvr][obj["metadata"]["name"]] = obj
        self._forget(gvr)

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        self._objects[gvr].pop(name, None)
        self._compiled.pop((gvr, name), None)
        self._forget(gvr)

    def replace(self, gvr: Gvr, objects: Iterable[Object]) -> None:
        self._objects[gvr] = {obj["metadata"]["name"]: obj for obj in objects}
        self._forget(gvr)

    def _forget(self, gvr: Gvr) -> None:
        self._hooks.pop(gvr, None)
        self._bound.clear()

    @property
    def may_mutate(self) -> bool:
        return bool(self._objects[MUTATING_WEBHOOKS] or self._objects[MUTATING_BINDINGS])

    @property
    def may_validate(self) -> bool:
        return bool(self._objects[VALIDATING_WEBHOOKS] or self._objects[VALIDATING_BINDINGS])

    def mutating_hooks(self) -> tuple[Hook, ...]:
        return self._hooks_of(MUTATING_WEBHOOKS, is_mutating=True)

    def validating_hooks(self) -> tuple[Hook, ...]:
        return self._hooks_of(VALIDATING_WEBHOOKS, is_mutating=False)

    def mutating_policies(self) -> tuple[Bound, ...]:
        if not self._objects[MUTATING_BINDINGS]:
            return ()
        from cybernetes.core.admission.policies.mutating import MutatingPolicy  # late: few have policies

        return self._policies(MUTATING_POLICIES, MUTATING_BINDINGS, MutatingPolicy)

    def validating_policies(self) -> tuple[Bound, ...]:
        if not self._objects[VALIDATING_BINDINGS]:
            return ()
        from cybernetes.core.admission.policies.validating import ValidatingPolicy

        return self._policies(VALIDATING_POLICIES, VALIDATING_BINDINGS, ValidatingPolicy)

    def _hooks_of(self, gvr: Gvr, *, is_mutating: bool) -> tuple[Hook, ...]:
        found = self._hooks.get(gvr)
        if found is None:
            found = self._hooks[gvr] = hooks_of(self._objects[gvr].values(), is_mutating=is_mutating)
        return found

    def _policies(self, gvr: Gvr, bindings: Gvr, make: Callable[[Object], Policy]) -> tuple[Bound, ...]:
        found = self._bound.get(gvr)
        if found is None:
            by_policy: dict[str, list[Binding]] = {}
            for name in sorted(self._objects[bindings]):
                binding = binding_of(self._objects[bindings][name])
                by_policy.setdefault(binding.policy, []).append(binding)
            policies = self._objects[gvr]
            found = self._bound[gvr] = tuple(
                Bound(self._policy(gvr, name, policies[name], make), tuple(by_policy[name]))
                for name in sorted(by_policy.keys() & policies.keys())
            )
        return found

    def _policy(self, gvr: Gvr, name: str, obj: Object, make: Callable[[Object], Policy]) -> Policy:
        kept = self._compiled.get((gvr, name))
        if kept is not None and kept[0]["spec"] == obj["spec"]:
            return kept[1]
        made = make(obj)
        self._compiled[gvr, name] = obj, made
        return made
