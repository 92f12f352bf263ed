"""Reads upstream's scheduler_perf workloads: the cases of a performance-config.yaml, one for each of their sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Workload:
    case: str
    name: str
    folder: Path
    operations: list[dict[str, Any]]
    params: dict[str, Any]
    labels: list[str]
    threshold: float
    template: str


def workloads(path: Path) -> Iterator[Workload]:
    files = [path] if path.is_file() else sorted(path.rglob("performance-config.yaml"))
    for file in files:
        for case in yaml.safe_load(file.read_text()):
            for each in case["workloads"]:
                yield Workload(
                    case["name"],
                    each["name"],
                    file.parent,
                    case["workloadTemplate"],
                    each.get("params") or {},
                    each.get("labels") or [],
                    float(each.get("threshold") or 0),
                    case.get("defaultPodTemplatePath") or "",
                )
