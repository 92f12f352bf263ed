"""Looks at kubelets when somebody asks what is used, never before: an idle cluster measures nothing.

A kubelet is asked for ``/stats/summary`` at most every 15 seconds, and its last two answers are kept. The first
question after a while finds none that is recent, so it has to look twice, a second apart; who asks again and again, as
autoscalers do, gets the rate since the look before. Nodes that share a kubelet (simulated ones) share the answer.

    asked at   0 s       look, wait 1 s, look      window 1 s
              10 s       the same answer again
              16 s       look                      window 15 s
             200 s       look, wait 1 s, look      window 1 s
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import orjson

from cybernetes.core.errors import ApiError
from cybernetes.core.usage import Sample, sample_of
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.subresources.streams import Nodes
from cybernetes.services.apiserver.upstream import UpstreamError

log = logging.getLogger(__name__)

#: As metrics-server's ``--metric-resolution``.
RESOLUTION_S = 15.0
#: What is older is no start of a rate that anybody means by "now".
_STALE_S = 90.0
#: Between the two looks of somebody who has to wait for the second.
_FIRST_WINDOW_S = 1.0
_TIMEOUT_S = 10.0
_AT_ONCE_MAX = 32
_SUMMARY_BYTES_MAX = 32 << 20

Address = tuple[str, int]


class Pair(NamedTuple):
    """The last two looks at one kubelet."""

    older: Sample
    newer: Sample


class Scraper:
    """``await pairs(backend, names)``: what is known of the kubelets of these nodes, looking again where it is old."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        #: The newest look last. As many entries as there are kubelets: those of nodes that are gone are dropped.
        self._samples: dict[Address, tuple[Sample, ...]] = {}
        self._looks: dict[Address, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE_MAX)

    async def pairs(self, backend: Backend, names: Iterable[str]) -> Mapping[str, Pair]:
        """By the name of the node; without those that do not answer."""
        wanted: dict[str, Address] = {}
        for name in names:
            try:
                wanted[name] = self._nodes.address(backend, name)
            except ApiError:
                continue  # it is gone, or has no address yet
        now = backend.clock.now()
        nodes: dict[Address, str] = {}
        for name, address in wanted.items():
            nodes.setdefault(address, name)
        looks = [
            self._look(backend, address, name) for address, name in nodes.items() if not self._is_fresh(address, now)
        ]
        if looks:
            await asyncio.wait(looks)
        self._forget(now)
        found = {}
        for name, address in wanted.items():
            samples = self._samples.get(address, ())
            if len(samples) == 2:
                found[name] = Pair(*samples)
        return found

    def _is_fresh(self, address: Address, now: float) -> bool:
        samples = self._samples.get(address, ())
        return len(samples) == 2 and now - samples[-1].time < RESOLUTION_S

    def _forget(self, now: float) -> None:
        for address in [each for each, samples in self._samples.items() if now - samples[-1].time > _STALE_S]:
            del self._samples[address]

    def _look(self, backend: Backend, address: Address, node_name: str) -> asyncio.Task[None]:
        """One look for all that ask at the same time."""
        task = self._looks.get(address)
        if task is None:
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._measure(backend, address, node_name), name=f"usage of {node_name}")
            self._looks[address] = task
            task.add_done_callback(lambda _: self._looks.pop(address, None))
        return task

    async def _measure(self, backend: Backend, address: Address, node_name: str) -> None:
        try:
            async with self._slots, asyncio.timeout(_TIMEOUT_S):
                sample = await self._ask(backend, node_name)
                known = self._samples.get(address, ())
                if not known or sample.time - known[-1].time > _STALE_S:
                    await asyncio.sleep(_FIRST_WINDOW_S)
                    known, sample = (sample,), await self._ask(backend, node_name)
                self._samples[address] = (known[-1], sample)
        except (ApiError, UpstreamError, TimeoutError, ValueError, KeyError, TypeError) as error:
            log.warning("%s does not say what is used: %s", node_name, error)

    async def _ask(self, backend: Backend, node_name: str) -> Sample:
        upstream = await self._nodes.open(backend, node_name)
        try:
            upstream.send("GET", "/stats/summary", {"Host": node_name, "Connection": "close"})
            head = await upstream.read_head()
            body = await upstream.read_all(_SUMMARY_BYTES_MAX)
            time = backend.clock.now()
        finally:
            upstream.close()
        if head.code != 200:
            raise ValueError(f"the kubelet answered {head.code}: {body[:200].decode(errors='replace')}")
        return sample_of(orjson.loads(body), time)

    async def stop(self) -> None:
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        if looks:
            await asyncio.wait(looks)
