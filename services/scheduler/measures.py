"""What the scheduler counts, under kube-scheduler's names."""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.clock import Clock
from cybernetes.core.scheduling.engine import Decision, Engine
from cybernetes.core.scheduling.queue import ACTIVE, BACKOFF, GATED, UNSCHEDULABLE
from cybernetes.services.common.metrics import Metrics


class Measures:
    def __init__(self, engine: Engine, clock: Clock, metrics: Metrics | None = None) -> None:
        metrics = metrics or Metrics()
        self._engine = engine
        self._clock = clock
        self._attempts = metrics.counter(
            "scheduler_schedule_attempts_total", "Attempts to schedule pods, by the result.", ("profile", "result")
        )
        self._attempt_s = metrics.histogram(
            "scheduler_scheduling_algorithm_duration_seconds", "Time that a decision took.", ()
        )
        self._wait_s = metrics.histogram(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "Time from a pod's first entry into the queue until it was bound.",
            ("attempts",),
        )
        metrics.gauge(
            "scheduler_pending_pods", "Pods that wait, by the part of the queue they are in.", self._pending, ("queue",)
        )

    def decided(self, decision: Decision, started_s: float) -> None:
        if decision.is_skipped:
            return
        self._attempt_s.observe(self._clock.monotonic() - started_s)
        if not decision.node_name:
            result = "error" if decision.is_error else "unschedulable"
            self._attempts.add(decision.queued.scheduler_name, result)

    def bound(self, decision: Decision) -> None:
        queued = decision.queued
        self._attempts.add(queued.scheduler_name, "scheduled")
        attempts = str(queued.attempts) if queued.attempts < 15 else "15+"
        self._wait_s.observe(self._clock.monotonic() - queued.added_s, attempts)

    def _pending(self) -> Iterable[tuple[tuple[str, ...], float]]:
        counts = self._engine.queue.counts
        for place in (ACTIVE, BACKOFF, UNSCHEDULABLE, GATED):
            yield (place,), counts[place]
