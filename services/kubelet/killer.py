"""Stopping containers: preStop, the stop signal, the grace period, and the order of sidecars.

Of a pod that ends, all ordinary containers are stopped at once, each with its preStop hook first; a sidecar waits until
they have ended, and until the sidecars that came after it have (https://kep.k8s.io/753). The grace period is one for
all of that: what hooks and waiting used up is gone. When it is over, the runtime kills.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from cybernetes.core.clock import Clock
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.observed import ContainerStatus, PodObservation
from cybernetes.core.objects import Object
from cybernetes.services.kubelet.checks import Checks
from cybernetes.services.kubelet.hooks import HookError, run_hook
from cybernetes.services.kubelet.recorder import KubeletEvents
from cybernetes.services.kubelet.runtimes.interface import NotFound, Runtime

log = logging.getLogger(__name__)


class _Order:
    """Who waits for whom while a pod with sidecars ends."""

    def __init__(self, pod: Object, running: set[str]) -> None:
        self._ended = {name: asyncio.Event() for name in running}
        mains = [container["name"] for container in spec.containers(pod)]
        sidecars = [container["name"] for container in spec.init_containers(pod) if spec.is_sidecar(container)]
        self._before: dict[str, list[str]] = {}
        for index, name in enumerate(sidecars):
            self._before[name] = [*mains, *sidecars[index + 1 : index + 2]]

    async def wait_for_turn(self, name: str) -> None:
        for other in self._before.get(name, ()):
            if other in self._ended:
                await self._ended[other].wait()

    def has_ended(self, name: str) -> None:
        if name in self._ended:
            self._ended[name].set()


class Killer:
    def __init__(self, runtime: Runtime, checks: Checks, events: KubeletEvents, clock: Clock) -> None:
        self._runtime = runtime
        self._checks = checks
        self._events = events
        self._clock = clock

    async def container(
        self,
        pod: Object,
        status: ContainerStatus,
        message: str = "",
        because: str = "",
        *,
        grace_s: float | None = None,
        address: str = "",
        order: _Order | None = None,
    ) -> None:
        """Stop one container; returns when it has ended. ``message`` says why, in the event."""
        container = spec.find_container(pod, status.name)
        if grace_s is None:
            grace_s = float(spec.grace_period_s(pod, container, because))
        text = message or f"Stopping container {status.name}"
        self._events.container(pod, status.name, "Normal", "Killing", text, status.id)
        deadline = self._clock.monotonic() + grace_s
        hook = ((container or {}).get("lifecycle") or {}).get("preStop")
        if hook and grace_s > 0 and container is not None:
            try:
                async with asyncio.timeout(grace_s):
                    await run_hook(self._checks, pod, container, status.id, hook, address)
            except TimeoutError:
                log.info("preStop hook of %s/%s not completed in grace period", spec.describe(pod), status.name)
            except HookError as error:
                log.info("%s", error)
                self._events.container(pod, status.name, "Warning", "FailedPreStopHook", "PreStopHook failed")
        if order is not None:
            left_s = deadline - self._clock.monotonic()
            if left_s > 0:
                try:
                    async with asyncio.timeout(left_s):
                        await order.wait_for_turn(status.name)
                except TimeoutError:
                    pass  # its turn or not, the time is over
        left_s = max(float(spec.MINIMUM_GRACE_S), deadline - self._clock.monotonic())
        try:
            await self._runtime.stop_container(status.id, left_s)
        except NotFound:
            pass
        if order is not None:
            order.has_ended(status.name)

    async def pod(
        self, pod: Object, observed: PodObservation, *, grace_s: float | None = None, address: str = ""
    ) -> None:
        """Stop every container and sandbox. Raises RuntimeFailure when one could not be stopped."""
        running = observed.running()
        order = _Order(pod, {status.name for status in running}) if spec.has_sidecars(pod) else None
        stops = [
            asyncio.ensure_future(self.container(pod, status, grace_s=grace_s, address=address, order=order))
            for status in running
        ]
        await _all(stops)
        await self.sandboxes(observed)

    async def at_once(self, statuses: Sequence[ContainerStatus], grace_s: float) -> None:
        """Stop without hooks and order: what is left of a grace period that was cut short."""
        await _all([asyncio.ensure_future(self._stop(status, grace_s)) for status in statuses])

    async def _stop(self, status: ContainerStatus, grace_s: float) -> None:
        try:
            await self._runtime.stop_container(status.id, max(float(spec.MINIMUM_GRACE_S), grace_s))
        except NotFound:
            pass

    async def sandboxes(self, observed: PodObservation) -> None:
        for sandbox in observed.sandboxes:
            try:
                await self._runtime.stop_sandbox(sandbox.id)
            except NotFound:
                pass


async def _all(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Wait for all; the first error is raised when all have ended. Cancelled, all are."""
    if not tasks:
        return
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
