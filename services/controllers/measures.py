"""What the controller manager tells Prometheus, under the names of kube-controller-manager where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from cybernetes.core.client.events import EventRecorder
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.workqueue import QueueMetrics
from cybernetes.services.common.metrics import Histogram, Metrics

if TYPE_CHECKING:
    from cybernetes.services.controllers.runner import Runner

#: From waits in an idle queue to those in one that has fallen behind.
QUEUE_BUCKETS_S = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)

Rows = Iterable[tuple[tuple[str, ...], float]]


class MeasuredQueue(QueueMetrics):
    """The metrics of one queue, with the durations in histograms."""

    def __init__(self, name: str, waits: Histogram, work: Histogram) -> None:
        super().__init__()
        self._name = name
        self._waits = waits
        self._work = work

    def waited(self, seconds: float) -> None:
        self._waits.observe(seconds, self._name)

    def finished(self, seconds: float) -> None:
        super().finished(seconds)
        self._work.observe(seconds, self._name)


class Measures:
    """``runners`` and ``recorders`` give those that there are at the time of reading."""

    def __init__(
        self,
        metrics: Metrics,
        informers: InformerFactory,
        runners: Callable[[], Sequence[Runner]],
        recorders: Callable[[], Iterable[EventRecorder]],
        is_leading: Callable[[], bool],
    ) -> None:
        self._runners = runners
        self._waits = metrics.histogram(
            "workqueue_queue_duration_seconds",
            "How long a key waits before it is worked on.",
            ("name",),
            bounds=QUEUE_BUCKETS_S,
        )
        self._work = metrics.histogram(
            "workqueue_work_duration_seconds", "How long one key is worked on.", ("name",), bounds=QUEUE_BUCKETS_S
        )

        def of_runners(read: Callable[[Runner], float]) -> Callable[[], Rows]:
            return lambda: [((runner.controller.name,), read(runner)) for runner in runners()]

        name = ("name",)
        metrics.gauge("workqueue_depth", "Keys that wait.", of_runners(lambda one: len(one.queue)), name)
        metrics.gauge(
            "workqueue_adds_total", "Keys added so far.", of_runners(lambda one: one.queue.metrics.adds), name
        )
        metrics.gauge(
            "workqueue_retries_total", "Retries so far.", of_runners(lambda one: one.queue.metrics.retries), name
        )
        metrics.gauge("controller_busy_workers", "Keys at work.", of_runners(lambda one: one.queue.active), name)
        metrics.gauge("controller_reconciles_total", "Keys looked at.", of_runners(lambda one: one.reconciles), name)
        metrics.gauge("controller_failures_total", "Looks that failed.", of_runners(lambda one: one.failures), name)
        metrics.gauge("controller_bugs_total", "Looks that ended in a bug.", of_runners(lambda one: one.bugs), name)
        metrics.gauge("controller_writes_total", "Requests to write.", of_runners(lambda one: one.writes), name)
        metrics.gauge(
            "informer_objects",
            "Objects kept.",
            lambda: [((one.gvr.qualified,), len(one)) for one in informers],
            ("resource",),
        )
        metrics.gauge(
            "informer_lists_total",
            "How often everything was listed.",
            lambda: [((one.gvr.qualified,), one.lists) for one in informers],
            ("resource",),
        )
        metrics.gauge(
            "informer_events_total",
            "Changes received.",
            lambda: [((one.gvr.qualified,), one.events) for one in informers],
            ("resource",),
        )
        metrics.gauge("events_written_total", "Events written.", lambda: [((), sum(r.written for r in recorders()))])
        metrics.gauge("events_dropped_total", "Events dropped.", lambda: [((), sum(r.dropped for r in recorders()))])
        metrics.gauge(
            "leader_election_master_status",
            "Whether this process leads.",
            lambda: [(("kube-controller-manager",), float(is_leading()))],
            ("name",),
        )

    def queue(self, name: str) -> MeasuredQueue:
        return MeasuredQueue(name, self._waits, self._work)
