"""Pods that have a node but may not be bound yet: a permit plugin said WAIT.

A pod waits until every plugin that held it has allowed it, one rejects it, or the shortest of their times is over. Who
carries the decision out is told once, by ``on_decided``; what it holds on its node is taken back when it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from cybernetes.core.objects import Object, uid_of
from cybernetes.core.scheduling.interface import Status, unschedulable

#: No permit plugin may hold a pod for longer.
WAIT_MAX_S = 15 * 60.0


class WaitingPod:
    """``pending`` plugins hold the pod."""

    def __init__(self, pod: Object, node_name: str, timeouts_s: Mapping[str, float], now_s: float) -> None:
        self.pod = pod
        self.uid = uid_of(pod)
        self.node_name = node_name
        self.pending = set(timeouts_s)
        first = min(timeouts_s, key=lambda name: timeouts_s[name])
        self.deadline_s = now_s + min(timeouts_s[first], WAIT_MAX_S)
        self._impatient = first
        self._on_decided: Callable[[Status | None], None] | None = None
        self._answer: tuple[Status | None] | None = None

    def allow(self, plugin: str) -> None:
        """The plugin no longer holds it; others may."""
        self.pending.discard(plugin)
        if not self.pending:
            self._decide(None)

    def reject(self, plugin: str, reason: str) -> None:
        self._decide(unschedulable(reason).of(plugin))

    def time_out(self) -> None:
        """Its time is over."""
        self.reject(self._impatient, f'pod "{self.pod["metadata"].get("name")}" rejected due to timeout after waiting')

    def when_decided(self, callback: Callable[[Status | None], None]) -> None:
        """``callback`` gets None for a pod that may be bound, or the refusal; at once when it is known already."""
        self._on_decided = callback
        if self._answer is not None:
            callback(self._answer[0])

    def _decide(self, status: Status | None) -> None:
        if self._answer is not None:
            return
        self._answer = (status,)
        if self._on_decided is not None:
            self._on_decided(status)


class WaitingPods:
    """By uid."""

    def __init__(self) -> None:
        self._pods: dict[str, WaitingPod] = {}

    def __len__(self) -> int:
        return len(self._pods)

    def __iter__(self) -> Iterator[WaitingPod]:
        return iter(list(self._pods.values()))

    def get(self, uid: str) -> WaitingPod | None:
        return self._pods.get(uid)

    def put(self, waiting: WaitingPod) -> None:
        self._pods[waiting.uid] = waiting

    def discard(self, uid: str) -> None:
        self._pods.pop(uid, None)
