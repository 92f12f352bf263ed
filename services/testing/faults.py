"""What goes wrong between a component and the API: scripted, or by chance from a seed.

A ``Fault`` says what, to whom, and when: the ``at``-th request that fits it (of a watch: the ``at``-th event), counted
from when the fault was added, and ``times`` in all; or any, by chance, with a ``rate``. The same faults in the same
cluster strike at the same places, so a list of them is a whole schedule: Hypothesis draws and shrinks them
(``strategies``)::

    cluster.faults.add(Fault("lost-response", verb="create", resource="pods", at=2))

    kind            happens                         to
    error           refused with ``code``           a request: 409, 410, 429, 500, 503
    lost-request    cut before it was read          a request
    lost-response   done, and the answer is lost    a request
    latency         ``seconds`` later               a request
    stale           answered as the time before     get, list
    crash           done, then the component dies   a write
    drop            never seen                      an event of a watch
    repeat          seen twice                      an event of a watch
    reorder         seen after the next             an event of a watch
    cut             the watch ends after it         an event of a watch
    expire          410 instead of it               an event of a watch

``component`` is one of the cluster's (apiserver excepted), the name given to ``cluster.client(component=…)``, the
product in the User-Agent of a client over HTTP ("kopf"), a pattern for these, or "operator": whoever is not the
cluster's own. The test's own ``cluster.api`` is never struck.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from cybernetes.core import errors
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError
from cybernetes.services.testing.errors import Misuse
from cybernetes.services.testing.parts import COMPONENTS

Kind = Literal[
    "error", "lost-request", "lost-response", "latency", "stale", "crash",
    "drop", "repeat", "reorder", "cut", "expire",
]  # fmt: skip

REQUEST_KINDS: tuple[Kind, ...] = ("error", "lost-request", "lost-response", "latency", "stale", "crash")
EVENT_KINDS: tuple[Kind, ...] = ("drop", "repeat", "reorder", "cut", "expire")
CODES = (409, 410, 429, 500, 503)
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
READS = frozenset({"get", "list"})
#: So many strikes are remembered for reports.
STRUCK_MAX = 1000


class Crashed(BaseException):
    """What a component of the test is thrown when a fault ends it: nobody catches it by accident."""


@dataclass(frozen=True, slots=True)
class Fault:
    """See the module. ``verb`` may be "read" or "write" too; "*" is any."""

    kind: Kind
    component: str = "operator"
    verb: str = "*"
    resource: str = "*"
    at: int = 1
    times: int = 1
    rate: float = 0.0
    code: int = 500
    seconds: float = 1.0

    def fits(self, component: str, verb: str, resource: str) -> bool:
        if self.component == "operator":
            if component in COMPONENTS:
                return False
        elif not fnmatchcase(component, self.component):
            return False
        is_wanted = self.verb in ("*", verb) or verb in {"read": READS, "write": WRITES}.get(self.verb, ())
        return is_wanted and self.resource in ("*", resource) and self._is_possible(verb)

    def _is_possible(self, verb: str) -> bool:
        if self.kind in EVENT_KINDS:
            return verb == "watch"
        if self.kind == "stale":
            return verb in READS
        return self.kind != "crash" or verb in WRITES

    def refusal(self, group: str, resource: str, verb: str) -> ApiError:
        """What an ``error`` answers. A creation that conflicts is one that exists already."""
        if self.code == 409:
            if verb == "create":
                return errors.already_exists(group, resource, "fault")
            return errors.conflict(group, resource, "fault")
        if self.code == 410:
            return errors.expired("too old resource version: a fault of the test")
        if self.code == 429:
            return errors.too_many_requests("a fault of the test")
        if self.code == 503:
            return errors.service_unavailable("a fault of the test")
        return errors.internal("a fault of the test")


class _Armed:
    """A fault and how often something fitted it."""

    __slots__ = ("fault", "seen")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0

    def strikes(self, random: Random) -> bool:
        self.seen += 1
        fault = self.fault
        if fault.rate:
            return random.uniform() < fault.rate
        return fault.at <= self.seen < fault.at + fault.times


class Faults:
    """The faults of one cluster. ``clear`` ends them; ``pause`` leaves them out for a while."""

    def __init__(self, seed: int = 0, faults: Iterable[Fault] = ()) -> None:
        self.random = Random(seed)
        #: (seconds of the cluster's time, what struck whom) of the last strikes.
        self.struck: deque[tuple[float, str]] = deque(maxlen=STRUCK_MAX)
        self.is_paused = False
        self._armed: list[_Armed] = []
        self._clock: Clock | None = None
        self._crash: Callable[[str], Awaitable[None]] | None = None
        self._crashing: set[asyncio.Task[None]] = set()
        self.add(*faults)

    def attach(self, clock: Clock, crash: Callable[[str], Awaitable[None]]) -> None:
        """``crash`` ends a component of the cluster's own."""
        self._clock = clock
        self._crash = crash

    def add(self, *faults: Fault) -> None:
        """Raises Misuse for a fault that can never strike."""
        for fault in faults:
            if fault.kind not in REQUEST_KINDS + EVENT_KINDS:
                raise Misuse(f"there is no fault {fault.kind!r}: {', '.join(REQUEST_KINDS + EVENT_KINDS)}")
            if fault.kind == "error" and fault.code not in CODES:
                raise Misuse(f"an error of code {fault.code}: it is one of {', '.join(map(str, CODES))}")
            self._armed.append(_Armed(fault))

    def clear(self) -> None:
        self._armed.clear()

    @property
    def faults(self) -> list[Fault]:
        return [armed.fault for armed in self._armed]

    def copy(self) -> Faults:
        """The same faults, none of which has struck."""
        return Faults(0, [replace(fault) for fault in self.faults])

    def has(self, kinds: Iterable[Kind]) -> bool:
        return any(armed.fault.kind in kinds for armed in self._armed)

    def strike(self, kinds: tuple[Kind, ...], component: str, verb: str, resource: str) -> Iterator[Fault]:
        """The faults of ``kinds`` that strike this request or event; each that fits counts it."""
        if self.is_paused:
            return
        for armed in self._armed:
            fault = armed.fault
            if fault.kind in kinds and fault.fits(component, verb, resource) and armed.strikes(self.random):
                now_s = self._clock.monotonic() if self._clock is not None else 0.0
                self.struck.append((now_s, f"{fault.kind} strikes {component}: {verb} {resource}"))
                yield fault

    def client(self, component: str, client: Client) -> Client:
        """``client`` with the faults of ``component``."""
        from cybernetes.services.testing.faultyclient import FaultyClient

        return FaultyClient(client, self, component)

    async def crash(self, component: str) -> None:
        """End ``component``, in whose task this is called. Does not return."""
        if component in COMPONENTS and self._crash is not None:
            task = asyncio.ensure_future(self._crash(component))
            self._crashing.add(task)
            task.add_done_callback(self._crashing.discard)
            await asyncio.get_running_loop().create_future()  # until it is cancelled with its component
        raise Crashed(f"a fault has ended {component}")
