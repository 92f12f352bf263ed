"""Counters, gauges and histograms of one component, and their text for Prometheus.

Observing is on the hot path of every request and reading is not, so an observation is a dictionary update (0.2 µs, no
lock: everything happens on one event loop; 1 to 2 µs with the library's own counters). When somebody asks, what was
counted becomes metric families of prometheus_client, whose registry and exposition do the rest; it is imported then.
Metrics belong to a ``Metrics``, not to the process: two clusters in one process count apart.

What is counted is told apart by its labels. Where they are not texts (a Gvr, a number), ``expand`` makes label values
of them when the text is made, so that an observation need not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Upper bounds of durations in seconds that suit requests from a millisecond to a minute.
DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Labels = tuple[str, ...]
Expand = Callable[[Any], Labels]


class _Counted(Protocol):
    def family(self) -> Metric: ...


def _as_is(key: Any) -> Labels:
    return tuple(key)


class Counter:
    """A number for each combination of labels that only grows. Its name ends in ``_total``."""

    __slots__ = ("_expand", "help", "labels", "name", "values")

    def __init__(self, name: str, help: str, labels: Sequence[str] = (), expand: Expand = _as_is) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self.values: dict[tuple[Hashable, ...], float] = {}
        self._expand = expand

    def add(self, *labels: Hashable, amount: float = 1) -> None:
        """``labels`` are values in the order of the names."""
        self.values[labels] = self.values.get(labels, 0) + amount

    def get(self, *labels: Hashable) -> float:
        return self.values.get(labels, 0)

    def family(self) -> Metric:
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(self.name, self.help, labels=self.labels)
        for key, number in self.values.items():
            family.add_metric(self._expand(key), number)
        return family


class Gauge:
    """Numbers that are read when somebody asks: ``read`` gives label values and number. With a name that ends in
    ``_total`` they are announced as a counter's."""

    __slots__ = ("_read", "help", "labels", "name")

    def __init__(
        self, name: str, help: str, read: Callable[[], Iterable[tuple[Labels, float]]], labels: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self._read = read

    def family(self) -> Metric:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kind = CounterMetricFamily if self.name.endswith("_total") else GaugeMetricFamily
        family = kind(self.name, self.help, labels=self.labels)
        for values, number in self._read():
            family.add_metric(values, number)
        return family


class Histogram:
    """How many observations were at most each bound, their sum and count, for each combination of labels."""

    __slots__ = ("_bounds", "_expand", "_values", "help", "labels", "name")

    def __init__(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        expand: Expand = _as_is,
        bounds: Sequence[float] = DURATION_BUCKETS_S,
    ) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self._expand = expand
        self._bounds = tuple(bounds)
        self._values: dict[tuple[Hashable, ...], list[float]] = {}  # a count for each bucket, +Inf, then the sum

    def observe(self, value: float, *labels: Hashable) -> None:
        counts = self._values.get(labels)
        if counts is None:
            counts = self._values[labels] = [0] * (len(self._bounds) + 1) + [0.0]
        counts[bisect_left(self._bounds, value)] += 1
        counts[-1] += value

    def count(self, *labels: Hashable) -> int:
        counts = self._values.get(labels)
        return 0 if counts is None else int(sum(counts[:-1]))

    def family(self) -> Metric:
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for key, counts in self._values.items():
            buckets = list(zip(bounds, accumulate(counts[:-1]), strict=True))
            family.add_metric(self._expand(key), buckets, counts[-1])
        return family


_M = TypeVar("_M", Counter, Gauge, Histogram)


class Metrics:
    """The metrics of one component, in the order in which they were made."""

    def __init__(self) -> None:
        self._metrics: dict[str, _Counted] = {}
        self._registry: CollectorRegistry | None = None
        self.has_process = False

    def counter(self, name: str, help: str, labels: Sequence[str] = (), expand: Expand = _as_is) -> Counter:
        return self._add(Counter(name, help, labels, expand))

    def histogram(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        expand: Expand = _as_is,
        bounds: Sequence[float] = DURATION_BUCKETS_S,
    ) -> Histogram:
        return self._add(Histogram(name, help, labels, expand, bounds))

    def gauge(
        self, name: str, help: str, read: Callable[[], Iterable[tuple[Labels, float]]], labels: Sequence[str] = ()
    ) -> Gauge:
        return self._add(Gauge(name, help, read, labels))

    def add(self, metric: _M) -> _M:
        """One that its owner has made."""
        return self._add(metric)

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks of a collector: everything as it is now."""
        return (metric.family() for metric in self._metrics.values())

    def text(self) -> bytes:
        """Everything, as Prometheus scrapes it. The first time takes 20 to 100 ms: the library is imported."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        registry = self._registry
        if registry is None:
            registry = self._registry = CollectorRegistry()
            registry.register(self)
            if self.has_process:
                ProcessCollector(registry=registry)
        return generate_latest(registry)

    def _add(self, metric: _M) -> _M:
        if metric.name in self._metrics:
            raise ValueError(f"there is a metric {metric.name} already")
        self._metrics[metric.name] = metric
        return metric


def process_metrics(metrics: Metrics) -> None:
    """Add what this process uses, under the names that every Prometheus client gives it."""
    metrics.has_process = True
