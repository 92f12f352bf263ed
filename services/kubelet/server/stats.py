"""Resource metrics in Prometheus' text form, from a stats summary: what metrics-server scrapes for ``kubectl top``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.clock import parse_time


def resource_metrics(summary: Mapping[str, Any]) -> str:
    """``/metrics/resource`` of a kubelet (https://kep.k8s.io/1867). Timestamps are left to the scraper."""
    families: dict[str, tuple[str, list[str]]] = {
        "container_cpu_usage_seconds_total": ("counter", []),
        "container_memory_working_set_bytes": ("gauge", []),
        "container_start_time_seconds": ("gauge", []),
        "node_cpu_usage_seconds_total": ("counter", []),
        "node_memory_working_set_bytes": ("gauge", []),
        "pod_cpu_usage_seconds_total": ("counter", []),
        "pod_memory_working_set_bytes": ("gauge", []),
    }

    def add(prefix: str, labels: Mapping[str, str], stats: Mapping[str, Any]) -> None:
        text = ",".join(f'{name}="{value}"' for name, value in labels.items())
        text = f"{{{text}}}" if text else ""
        cpu = (stats.get("cpu") or {}).get("usageCoreNanoSeconds")
        memory = (stats.get("memory") or {}).get("workingSetBytes")
        if prefix == "container" and stats.get("startTime"):
            families["container_start_time_seconds"][1].append(f"{text} {parse_time(stats['startTime'])}")
        if cpu is not None:
            families[f"{prefix}_cpu_usage_seconds_total"][1].append(f"{text} {cpu / 1e9}")
        if memory is not None:
            families[f"{prefix}_memory_working_set_bytes"][1].append(f"{text} {memory}")

    add("node", {}, summary.get("node") or {})
    for pod in summary.get("pods") or ():
        reference = pod["podRef"]
        labels = {"namespace": reference["namespace"], "pod": reference["name"]}
        add("pod", labels, pod)
        for container in pod.get("containers") or ():
            add("container", {"container": container["name"], **labels}, container)
    lines: list[str] = []
    for name, (kind, samples) in families.items():
        if samples:
            lines.append(f"# TYPE {name} {kind}")
            lines.extend(name + sample for sample in samples)
    lines += ["# TYPE resource_scrape_error gauge", "resource_scrape_error 0"]
    return "\n".join(lines) + "\n"
