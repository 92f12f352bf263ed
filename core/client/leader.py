"""One leader among several processes, by a Lease; the rules of client-go ``tools/leaderelection``.

1. Whoever holds the Lease renews it every ``retry_period_s``. A holder that cannot renew within ``renew_deadline_s``
   has stopped leading, before others may start: ``lease_duration_s`` after they last *saw* the Lease change.
2. Time is only ever compared on one machine: when a record changes, the moment of seeing it counts, not its times.
3. Every write carries the resourceVersion that was read, so of two takers one gets a conflict.
4. A leader that stops in order empties ``holderIdentity``, so that the next takes over at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from cybernetes.core.client.events import EventRecorder
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random, format_micro_time
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import LEASES, Object, object_reference

log = logging.getLogger(__name__)

JITTER_FACTOR = 1.2
LEASE_DURATION_S = 15.0
RENEW_DEADLINE_S = 10.0
RETRY_PERIOD_S = 2.0

_REFUSALS = (ApiError, ConnectionError, TimeoutError)


class LeaderElector:
    """``run`` leads once and returns when leadership is lost; ``is_leader`` says whether it is held now."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        *,
        identity: str,
        name: str,
        namespace: str = "kube-system",
        lease_duration_s: float = LEASE_DURATION_S,
        renew_deadline_s: float = RENEW_DEADLINE_S,
        retry_period_s: float = RETRY_PERIOD_S,
        recorder: EventRecorder | None = None,
        on_new_leader: Callable[[str], None] | None = None,
    ) -> None:
        if lease_duration_s <= renew_deadline_s:
            raise ValueError("the lease duration must be greater than the renew deadline")
        if renew_deadline_s <= retry_period_s * JITTER_FACTOR:
            raise ValueError(f"the renew deadline must be greater than {JITTER_FACTOR} retry periods")
        if not identity:
            raise ValueError("a leader needs an identity")
        self.identity = identity
        self.name = name
        self.namespace = namespace
        self._client = client
        self._clock = clock
        self._random = random
        self._lease_duration_s = lease_duration_s
        self._renew_deadline_s = renew_deadline_s
        self._retry_period_s = retry_period_s
        self._recorder = recorder
        self._on_new_leader = on_new_leader
        self._lease: Object | None = None  # as last read or written, with its resourceVersion
        self._observed: Object = {}  # its spec when it last changed
        self._observed_at_s = 0.0
        self._reported = ""

    @property
    def leader(self) -> str:
        """The identity that was last seen to hold the Lease; empty before."""
        return str(self._observed.get("holderIdentity") or "")

    @property
    def is_leader(self) -> bool:
        return self.leader == self.identity

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for leadership, then run ``lead`` until it returns or leadership is lost, whichever is first.

        ``lead`` is cancelled when leadership is lost, and awaited; only then does this return. What ``lead`` raises is
        raised here. When this is cancelled, ``lead`` is cancelled first and the Lease given up after it has ended.
        """
        await self.acquire()
        leading = asyncio.ensure_future(lead())
        holding = asyncio.ensure_future(self.hold())
        try:
            await asyncio.wait([leading, holding], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (leading, holding):
                task.cancel()
            await asyncio.wait([leading, holding])
            self._tell("stopped leading")
            if self.is_leader:
                await self.release()
        if not leading.cancelled():
            leading.result()

    async def acquire(self) -> None:
        """Return when this process leads."""
        while True:
            succeeded = await self._try(self._renew_deadline_s)
            self._report()
            if succeeded:
                self._tell("became leader")
                log.info("%s leads %s/%s", self.identity, self.namespace, self.name)
                return
            await asyncio.sleep(self._random.jitter(self._retry_period_s, JITTER_FACTOR))

    async def hold(self) -> None:
        """Renew until that fails for ``renew_deadline_s``; then this process leads no longer."""
        while True:
            deadline_s = self._clock.monotonic() + self._renew_deadline_s
            while not await self._try(max(0.0, deadline_s - self._clock.monotonic())):
                self._report()
                if self._clock.monotonic() + self._retry_period_s >= deadline_s:
                    log.warning("%s no longer leads %s/%s", self.identity, self.namespace, self.name)
                    return
                await asyncio.sleep(self._retry_period_s)
            self._report()
            await asyncio.sleep(self._retry_period_s)

    async def release(self) -> None:
        """Empty the Lease if it is ours. Failing to is no error: it expires."""
        now = format_micro_time(self._clock.now())
        with contextlib.suppress(*_REFUSALS):
            async with asyncio.timeout(self._renew_deadline_s):
                lease = await self._client.get(LEASES, self.name, self.namespace)
                if (lease.get("spec") or {}).get("holderIdentity") != self.identity:
                    return
                lease["spec"] = {
                    "holderIdentity": "",
                    "leaseDurationSeconds": 1,
                    "acquireTime": now,
                    "renewTime": now,
                    "leaseTransitions": lease["spec"].get("leaseTransitions", 0),
                }
                self._observe(await self._client.update(LEASES, lease))

    async def _try(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._acquire_or_renew()
        except _REFUSALS as error:
            log.debug("lease %s/%s: %s", self.namespace, self.name, error)
            return False

    async def _acquire_or_renew(self) -> bool:
        if self.is_leader and self._is_valid() and self._lease is not None:
            # Nobody else should have touched it: one write, no read.
            try:
                await self._write(self._lease, keep_acquired=True)
                return True
            except ApiError as error:
                log.debug("lease %s/%s: %s; reading it", self.namespace, self.name, error)
        try:
            lease = await self._client.get(LEASES, self.name, self.namespace)
        except ApiError as error:
            if not is_not_found(error):
                raise
            await self._create()
            return True
        self._observe(lease)
        if self.leader and self._is_valid() and not self.is_leader:
            return False
        await self._write(lease, keep_acquired=self.is_leader)
        return True

    def _is_valid(self) -> bool:
        duration_s = float(self._observed.get("leaseDurationSeconds") or 0)
        return self._observed_at_s + duration_s > self._clock.monotonic()

    def _observe(self, lease: Object) -> None:
        spec = lease.get("spec") or {}
        self._lease = lease
        if spec != self._observed:
            self._observed = spec
            self._observed_at_s = self._clock.monotonic()

    async def _create(self) -> None:
        now = format_micro_time(self._clock.now())
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": int(self._lease_duration_s),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
        self._observe(await self._client.create(LEASES, lease, self.namespace))

    async def _write(self, lease: Object, *, keep_acquired: bool) -> None:
        now = format_micro_time(self._clock.now())
        old = lease.get("spec") or {}
        transitions = int(old.get("leaseTransitions") or 0)
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(self._lease_duration_s),
            "acquireTime": old.get("acquireTime", now) if keep_acquired else now,
            "renewTime": now,
            "leaseTransitions": transitions if keep_acquired else transitions + 1,
        }
        written = await self._client.update(LEASES, {**lease, "spec": spec})
        self._observe(written)
        self._observed_at_s = self._clock.monotonic()

    def _report(self) -> None:
        if self.leader != self._reported:
            self._reported = self.leader
            if self._on_new_leader is not None:
                self._on_new_leader(self._reported)

    def _tell(self, what: str) -> None:
        if self._recorder is not None and self._lease is not None:
            reference = object_reference(self._lease, "coordination.k8s.io/v1", "Lease")
            self._recorder.event(reference, "Normal", "LeaderElection", f"{self.identity} {what}")
