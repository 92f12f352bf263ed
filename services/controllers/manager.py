"""The controller manager: every controller of the registry on one set of informers, alone or as elected leader.

Alone (one control plane on its own store) it leads from the start. With election only the holder of the Lease
``kube-system/kube-controller-manager`` acts: it lists everything anew when it begins, so that it sees all that the last
leader wrote, and starts over with fresh controllers when it has lost the Lease.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Sequence

from cybernetes.core.api.registry import Registry, builtin
from cybernetes.core.client.events import EventRecorder
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.informer import Handler, Informer
from cybernetes.core.client.interface import Client
from cybernetes.core.client.leader import LeaderElector
from cybernetes.core.clock import Clock, Random
from cybernetes.core.controllers.interface import Settings
from cybernetes.core.controllers.registry import CONTROLLERS, select
from cybernetes.core.objects import Object
from cybernetes.services.common.component import Component, Tasks
from cybernetes.services.common.metrics import Metrics
from cybernetes.services.controllers.executor import Executor
from cybernetes.services.controllers.measures import Measures
from cybernetes.services.controllers.resources import CUSTOM_RESOURCE_DEFINITIONS, Served, built_in, custom
from cybernetes.services.controllers.runner import Runner
from cybernetes.services.controllers.view import InformerView

LEASE_NAME = "kube-controller-manager"


class ControllerManager:
    """``controllers`` is what ``--controllers`` says.

    ``informers`` are shared with the process when given; then the caller stops them. ``client_of`` gives the client by
    which the controllers of a service account write; without it all write with ``client``.
    """

    name = "controller-manager"

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        *,
        settings: Settings | None = None,
        controllers: Iterable[str] = ("*",),
        informers: InformerFactory | None = None,
        registry: Registry | None = None,
        client_of: Callable[[str], Client] | None = None,
        elects_leader: bool = False,
        identity: str = "",
        metrics: Metrics | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._random = random
        self._settings = dataclasses.replace(settings or Settings(), resources=self._resources)
        self._built_in = built_in(registry or builtin())
        self._custom: Sequence[Served] = ()
        self._names = select(controllers)
        self._client_of = client_of or (lambda service_account: client)
        self._elects_leader = elects_leader
        self._identity = identity or f"cybernetes_{random.uid()}"
        self._tasks = Tasks(self.name, on_failure)
        self._owns_informers = informers is None
        self.informers = informers or InformerFactory(client, clock, random, on_failure=on_failure)
        self.runners: list[Runner] = []
        self._recorders: dict[str, EventRecorder] = {}
        self.elector: LeaderElector | None = None
        self._definitions: tuple[Informer, Handler] | None = None
        self.metrics = metrics or Metrics()
        self._measures = Measures(
            self.metrics,
            self.informers,
            lambda: self.runners,
            self._recorders.values,
            lambda: self.is_leading,
        )

    async def start(self) -> None:
        """Return when the controllers work, or, with election, when this process is a candidate."""
        if self._elects_leader:
            self.elector = LeaderElector(
                self._client,
                self._clock,
                self._random,
                identity=self._identity,
                name=LEASE_NAME,
                recorder=self._recorder(LEASE_NAME),
            )
            self._tasks.spawn(self._stand_for_election(self.elector), "election")
        else:
            await self._begin()

    async def stop(self) -> None:
        await self._tasks.cancel()
        await self._end()
        if self._owns_informers:
            await self.informers.stop()
        for recorder in self._recorders.values():
            await recorder.stop()
        self._recorders.clear()

    async def _stand_for_election(self, elector: LeaderElector) -> None:
        async def lead() -> None:
            try:
                await self._begin()
                await asyncio.Event().wait()
            finally:
                await self._end()

        while True:
            await elector.run(lead)

    def _resources(self) -> Sequence[Served]:
        return [*self._built_in, *self._custom]

    def _watch_definitions(self) -> None:
        """Follow the custom resources, with the controllers that look after every resource."""
        informer = self.informers.informer(CUSTOM_RESOURCE_DEFINITIONS)

        def changed(*_: Object) -> None:
            found = custom(informer.list())
            if found == self._custom:
                return
            served = {gvr for gvr, *_ in found}
            gone = [gvr for gvr, *_ in self._custom if gvr not in served]
            self._custom = found
            for runner in self.runners:
                runner.refresh()
            for retired in filter(None, map(self.informers.forget, gone)):
                self._tasks.spawn(retired.stop(), f"end of the informer of {retired.gvr.qualified}")

        self._definitions = informer, informer.add_handler(changed, changed, changed)

    async def _begin(self) -> None:
        view = InformerView(self.informers)
        controllers = (CONTROLLERS[name](self._settings) for name in self._names)
        runners = [
            Runner(controller, view, self._clock, self._measures.queue(controller.name))
            for controller in controllers
            if controller is not None
        ]
        self.informers.informer(CUSTOM_RESOURCE_DEFINITIONS)
        for runner in runners:
            runner.prepare()
        known = [informer for informer in self.informers if informer.has_synced]
        self.informers.start()
        if self._elects_leader:
            await asyncio.gather(*(informer.relist() for informer in known))
        await self.informers.wait_synced()
        self.runners = runners
        for runner in runners:
            account = runner.controller.service_account
            client = self._client_of(account) if account else self._client
            recorder = self._recorder(account or LEASE_NAME)
            runner.start(
                Executor(
                    client,
                    self.informers,
                    self._random,
                    recorder,
                    runner.queue.add_after,
                    self._settings.host_path_root,
                )
            )
        self._watch_definitions()

    async def _end(self) -> None:
        if self._definitions is not None:
            informer, handler = self._definitions
            informer.remove_handler(handler)
            self._definitions = None
        runners, self.runners = self.runners, []
        await asyncio.gather(*(runner.stop() for runner in runners))

    def _recorder(self, component: str) -> EventRecorder:
        found = self._recorders.get(component)
        if found is None:
            client = self._client if component == LEASE_NAME else self._client_of(component)
            found = EventRecorder(client, self._clock, self._random, component=component)
            self._recorders[component] = found
        return found

    @property
    def is_leading(self) -> bool:
        return bool(self.runners)

    @property
    def busy(self) -> Sequence[str]:
        """The controllers that have keys waiting or at work: empty when everything has settled for now."""
        return [runner.controller.name for runner in self.runners if not runner.is_idle]


def _conforms(manager: ControllerManager) -> Component:
    return manager
