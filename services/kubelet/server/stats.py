"""Resource metrics in Prometheus' text form, from a stats summary: what metrics-server scrapes for ``kubectl top``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cybernetes.core.clock import parse_time

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_KINDS = ("node", "pod", "container")
_LABELS = {"node": (), "pod": ("namespace", "pod"), "container": ("container", "namespace", "pod")}


class _Summary:
    """A stats summary as a collector. Timestamps are left to the scraper."""

    def __init__(self, summary: Mapping[str, Any]) -> None:
        self._summary = summary

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        started = GaugeMetricFamily(
            "container_start_time_seconds",
            "When the container started, in seconds since 1970.",
            labels=_LABELS["container"],
        )
        families: list[Metric] = [started]
        for kind, of_kind in _by_kind(self._summary).items():
            cpu = CounterMetricFamily(
                f"{kind}_cpu_usage_seconds_total",
                f"Processor time that the {kind} used, in seconds.",
                labels=_LABELS[kind],
            )
            memory = GaugeMetricFamily(
                f"{kind}_memory_working_set_bytes", f"Working set of the {kind}, in bytes.", labels=_LABELS[kind]
            )
            for labels, stats in of_kind:
                if kind == "container" and stats.get("startTime"):
                    started.add_metric(labels, parse_time(stats["startTime"]))
                used = (stats.get("cpu") or {}).get("usageCoreNanoSeconds")
                if used is not None:
                    cpu.add_metric(labels, used / 1e9)
                held = (stats.get("memory") or {}).get("workingSetBytes")
                if held is not None:
                    memory.add_metric(labels, held)
            families += [cpu, memory]
        yield from (family for family in families if family.samples)
        yield GaugeMetricFamily("resource_scrape_error", "1 when there was an error, else 0.", 0)


def resource_metrics(summary: Mapping[str, Any]) -> bytes:
    """``/metrics/resource`` of a kubelet (https://kep.k8s.io/1867)."""
    from prometheus_client import generate_latest

    return generate_latest(_Summary(summary))


def _by_kind(summary: Mapping[str, Any]) -> dict[str, list[tuple[tuple[str, ...], Mapping[str, Any]]]]:
    """Label values and stats of the node, of pods and of containers."""
    found: dict[str, list[tuple[tuple[str, ...], Mapping[str, Any]]]] = {kind: [] for kind in _KINDS}
    found["node"].append(((), summary.get("node") or {}))
    for pod in summary.get("pods") or ():
        place = (pod["podRef"]["namespace"], pod["podRef"]["name"])
        found["pod"].append((place, pod))
        found["container"] += [((each["name"], *place), each) for each in pod.get("containers") or ()]
    return found
