"""Counters, gauges and histograms of one component, and their text for Prometheus.

Observing is on the hot path of every request and reading is not, so an observation is a dictionary update (0.2 µs, no
lock: everything happens on one event loop) and the text is made when somebody asks. Metrics belong to a ``Metrics``,
not to the process: two clusters in one process count apart.

What is counted is told apart by its labels. Where they are not texts (a Gvr, a number), ``expand`` makes label values
of them when the text is made, so that an observation need not.

Format: Prometheus text exposition 0.0.4.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Upper bounds of durations in seconds that suit requests from a millisecond to a minute.
DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Labels = tuple[str, ...]
Expand = Callable[[Any], Labels]


class _Metric(Protocol):
    def lines(self) -> Iterable[str]: ...


def _as_is(key: Any) -> Labels:
    return tuple(key)


class Counter:
    """A number for each combination of labels that only grows."""

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

    def lines(self) -> Iterable[str]:
        yield from _head(self.name, self.help, "counter")
        for key, number in self.values.items():
            yield f"{self.name}{_labels(self.labels, self._expand(key))} {_number(number)}"


class Gauge:
    """Numbers that are read when the text is made: ``read`` gives label values and number."""

    __slots__ = ("_read", "help", "labels", "name")

    def __init__(
        self, name: str, help: str, read: Callable[[], Iterable[tuple[Labels, float]]], labels: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self._read = read

    def lines(self) -> Iterable[str]:
        yield from _head(self.name, self.help, "gauge")
        for values, number in self._read():
            yield f"{self.name}{_labels(self.labels, values)} {_number(number)}"


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

    def lines(self) -> Iterable[str]:
        yield from _head(self.name, self.help, "histogram")
        names = (*self.labels, "le")
        bounds = (*(str(float(bound)) for bound in self._bounds), "+Inf")
        for key, counts in self._values.items():
            values = self._expand(key)
            total = 0.0
            for bound, number in zip(bounds, counts, strict=False):
                total += number
                yield f"{self.name}_bucket{_labels(names, (*values, bound))} {_number(total)}"
            yield f"{self.name}_sum{_labels(self.labels, values)} {_number(counts[-1])}"
            yield f"{self.name}_count{_labels(self.labels, values)} {_number(total)}"


_M = TypeVar("_M", Counter, Gauge, Histogram)


class Metrics:
    """The metrics of one component, in the order in which they were made."""

    def __init__(self) -> None:
        self._metrics: dict[str, _Metric] = {}

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

    def text(self) -> bytes:
        """Everything, as Prometheus scrapes it."""
        return "".join(f"{line}\n" for metric in self._metrics.values() for line in metric.lines()).encode()

    def _add(self, metric: _M) -> _M:
        if metric.name in self._metrics:
            raise ValueError(f"there is a metric {metric.name} already")
        self._metrics[metric.name] = metric
        return metric


def process_metrics(metrics: Metrics) -> None:
    """What this process uses, under the names that every Prometheus client gives it."""
    import resource

    def cpu() -> Iterable[tuple[Labels, float]]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield (), usage.ru_utime + usage.ru_stime

    def memory() -> Iterable[tuple[Labels, float]]:
        yield (), int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()

    def descriptors() -> Iterable[tuple[Labels, float]]:
        yield (), sum(1 for _ in Path("/proc/self/fd").iterdir())

    def started() -> Iterable[tuple[Labels, float]]:
        boot = next(line for line in Path("/proc/stat").read_text(encoding="ascii").splitlines() if "btime" in line)
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        yield (), int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")

    metrics.gauge("process_start_time_seconds", "When the process started, in seconds since 1970.", started)
    metrics.gauge("process_cpu_seconds_total", "Processor time used, in seconds.", cpu)
    metrics.gauge("process_resident_memory_bytes", "Resident memory, in bytes.", memory)
    metrics.gauge("process_open_fds", "Open file descriptors.", descriptors)


def _head(name: str, help: str, kind: str) -> Iterable[str]:
    yield f"# HELP {name} {_escaped(help, quotes=False)}"
    yield f"# TYPE {name} {kind}"


def _labels(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}"


def _escaped(text: str, *, quotes: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
