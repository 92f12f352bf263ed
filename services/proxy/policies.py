"""NetworkPolicies of a node: what the API says, enforced by the kernel.

    informers (NetworkPolicies; while there are any: Pods, Namespaces) -> PolicyTable -> PolicyRules -> nft

A cluster that never has a policy pays nothing: no pod is watched and no packet is looked at. With the first policy the
service proxy is told to let the kernel carry what pods send to Services (``on_isolation``): a proxy that accepts before
it connects cannot refuse. A process that is killed leaves the rules as they are, so nothing opens up meanwhile; the
next one replaces them in one transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.informer import Handler, Informer
from cybernetes.core.network.policies import PolicyTable
from cybernetes.core.network.policyrules import PolicyRules
from cybernetes.core.objects import NAMESPACES, NETWORK_POLICIES, PODS, Object, key_of, name_of
from cybernetes.services.common.component import Component, Tasks
from cybernetes.services.common.threads import in_thread
from cybernetes.services.proxy import nft

log = logging.getLogger(__name__)

#: How long after a failure everything is loaded anew.
RETRY_S = 5.0


class PolicyEnforcer:
    """``start`` returns when every policy that exists holds. ``informers`` are this component's own.

    ``interface`` names the table. ``on_isolation`` is awaited before the first policy is enforced and after the last.
    """

    name = "network-policy"

    def __init__(
        self,
        informers: InformerFactory,
        *,
        node_name: str,
        interface: str = "cyb-proxy",
        on_isolation: Callable[[bool], Awaitable[None]] | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.table = PolicyTable(node_name)
        self._rules = PolicyRules(nft.table_of(interface, "_policies"))
        self._informers = informers
        self._on_isolation = on_isolation
        self._tasks = Tasks(self.name, on_failure)
        self._handlers: list[tuple[Informer, Handler]] = []
        self._changed = asyncio.Event()
        self._is_watching = False  # pods and namespaces
        self._is_loaded = False  # the table is in the kernel, as the last call of ``desired`` said
        self._is_isolated = False  # there is a policy
        self._is_first = True
        self._wants_retry = False

    async def start(self) -> None:
        """Without nft policies are not enforced: that is logged, once there is one."""
        try:
            policies = self._informers.informer(NETWORK_POLICIES)
            self._subscribe(policies, self.table.put_policy, lambda old: self.table.discard_policy(key_of(old)))
            self._informers.start()
            await policies.wait_synced()
            if len(self.table):
                await self._apply()
            self._tasks.spawn(self._follow(), "follow")
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """The rules stay: pods outlive this process."""
        for informer, handler in self._handlers:
            informer.remove_handler(handler)
        self._handlers.clear()
        await self._tasks.cancel()
        await self._informers.stop()

    def _subscribe(self, informer: Informer, put: Callable[[Object], None], discard: Callable[[Object], None]) -> None:
        def on_change(new: Object) -> None:
            put(new)
            self._changed.set()

        def on_delete(old: Object) -> None:
            discard(old)
            self._changed.set()

        handler = informer.add_handler(on_change, lambda old, new: on_change(new), on_delete)
        self._handlers.append((informer, handler))

    async def _follow(self) -> None:
        await self._apply()
        while True:
            try:
                async with asyncio.timeout(RETRY_S if self._wants_retry else None):
                    await self._changed.wait()
            except TimeoutError:
                log.info("loading NetworkPolicies again")
            await self._apply()

    async def _apply(self) -> None:
        self._changed.clear()
        if not len(self.table):
            await self._let_go()
            return
        if not nft.is_installed():
            log.warning("nft is not installed: NetworkPolicies are not enforced")
            return
        await self._watch()
        await self._set_isolated(True)
        desired = self.table.desired(anew=not self._is_loaded)
        if desired is None:
            return
        text = "" if self._is_loaded else self._rules.base()
        text += self._rules.follow(desired)
        problem = await in_thread(nft.load, text) if text else ""
        self._is_loaded, self._wants_retry = not problem, bool(problem)
        if problem:
            log.error("NetworkPolicies could not be loaded; all of them are tried again soon: %s", problem)

    async def _watch(self) -> None:
        """Follow pods and namespaces, from the first policy on."""
        if self._is_watching:
            return
        self._is_watching = True
        namespaces, pods = self._informers.informer(NAMESPACES), self._informers.informer(PODS)
        self._informers.start()
        await namespaces.wait_synced()
        await pods.wait_synced()
        self._subscribe(namespaces, self.table.put_namespace, lambda old: self.table.discard_namespace(name_of(old)))
        self._subscribe(pods, self.table.put_pod, lambda old: self.table.discard_pod(key_of(old)))

    async def _let_go(self) -> None:
        """No policy (any more): take the rules away, the first time also those that a killed process has left."""
        if self._is_loaded or self._is_first:
            if nft.is_installed():
                await in_thread(nft.load, self._rules.removal())
            self._is_loaded = self._is_first = False
        await self._set_isolated(False)

    async def _set_isolated(self, on: bool) -> None:
        if self._is_isolated != on:
            self._is_isolated = on
            if self._on_isolation is not None:
                await self._on_isolation(on)


def take_down(interface: str) -> None:
    """Remove the rules of a node that is gone. Safe to repeat."""
    if nft.is_installed():
        nft.load(PolicyRules(nft.table_of(interface, "_policies")).removal())


def _conforms(enforcer: PolicyEnforcer) -> Component:
    return enforcer
