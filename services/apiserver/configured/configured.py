"""The webhooks and admission policies of one server: what is configured now, and the order in which it is asked.

    mutate     mutating policies, then mutating webhooks
    validate   validating policies, then validating webhooks

While nothing is configured a write pays for two attribute reads.
"""

from __future__ import annotations

from cybernetes.core.admission.contract import Attributes
from cybernetes.core.admission.matching import is_exempt
from cybernetes.core.auth.attributes import Authorize
from cybernetes.core.clock import Random
from cybernetes.core.objects import Gvk, Object
from cybernetes.services.apiserver.call import Call
from cybernetes.services.apiserver.configured.asking import Asking
from cybernetes.services.apiserver.configured.policies import Policies
from cybernetes.services.apiserver.configured.reinvocation import Reinvocation
from cybernetes.services.apiserver.configured.sources import GVRS, Sources
from cybernetes.services.apiserver.configured.variables import Scope
from cybernetes.services.apiserver.configured.write import ConfiguredWrite
from cybernetes.services.apiserver.following import Following
from cybernetes.services.apiserver.storage import Storage
from cybernetes.services.apiserver.webhookclient import WebhookClient


class Rounds:
    """Both rounds of one write."""

    __slots__ = ("policies", "webhooks")

    def __init__(self) -> None:
        self.policies = Reinvocation()
        self.webhooks = Reinvocation()

    def begin_again(self) -> bool:
        """Whether a second round is needed, which begins then. There is no third."""
        if not (self.policies.is_wanted or self.webhooks.is_wanted):
            return False
        self.policies.round = self.webhooks.round = 1
        return True


class Configured:
    """``start`` when the caches are complete."""

    def __init__(self, storage: Storage, authorize: Authorize, client: WebhookClient, random: Random) -> None:
        self._storage = storage
        self._authorize = authorize
        self._sources = Sources()
        self._following = Following(storage, self._sources, GVRS)
        self._asking = Asking(client, random)
        self._policies = Policies(storage)

    def start(self) -> None:
        self._following.start()

    def stop(self) -> None:
        """May be called twice, or before ``start``."""
        self._following.stop()

    @property
    def may_mutate(self) -> bool:
        return self._sources.may_mutate

    @property
    def may_validate(self) -> bool:
        return self._sources.may_validate

    @property
    def is_empty(self) -> bool:
        return not (self.may_mutate or self.may_validate)

    def rounds(self) -> Rounds:
        return Rounds()

    def write(self, call: Call, attributes: Attributes, kind: Gvk, options: Object | None) -> ConfiguredWrite:
        return ConfiguredWrite(self._storage, call, attributes, kind, options)

    async def mutate(self, write: ConfiguredWrite, rounds: Rounds) -> None:
        """Raises ApiError."""
        if is_exempt(write.request):
            return
        scope = Scope(write, self._authorize)
        policies = self._sources.mutating_policies()
        if policies and write.request.operation != "DELETE":
            await self._policies.mutate(write, policies, scope, rounds.policies)
        hooks = self._sources.mutating_hooks()
        if hooks:
            await self._asking.mutate(write, hooks, scope, rounds.webhooks)

    async def validate(self, write: ConfiguredWrite) -> None:
        """Raises ApiError."""
        if is_exempt(write.request):
            return
        scope = Scope(write, self._authorize)
        policies = self._sources.validating_policies()
        if policies:
            await self._policies.validate(write, policies, scope)
        hooks = self._sources.validating_hooks()
        if hooks:
            await self._asking.validate(write, hooks, scope)
