"""15,000 nodes and 150,000 pods in the library: time, peak memory, and the time of one pod more.

    python bench/many_nodes.py [--nodes 15000] [--pods 150000] [--json FILE]

Pods are plain Kubernetes dicts, made in batches as a caller would read them; their making is not timed. Half are plain
pods of five templates, a quarter is spread over zones, a quarter has preferred affinity to its own kind.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cybernetes.core import Scheduler
from cybernetes.core.clock import Random

BATCH = 5_000
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"


def node(number: int) -> dict[str, Any]:
    labels = {HOST: f"node-{number}", ZONE: f"zone-{number % 10}"}
    allocatable = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    return {"metadata": {"name": f"node-{number}", "labels": labels}, "status": {"allocatable": allocatable}}


def pod(number: int) -> dict[str, Any]:
    app = f"app-{number % 20}"
    spec: dict[str, Any] = {}
    kind = number % 4
    selector = {"matchLabels": {"app": app}}
    if kind == 2:
        constraint = {"maxSkew": 50, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule"}
        spec["topologySpreadConstraints"] = [{**constraint, "labelSelector": selector}]
    elif kind == 3:
        term = {"topologyKey": ZONE, "labelSelector": selector}
        preferred = [{"weight": 1, "podAffinityTerm": term}]
        spec["affinity"] = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    requests = {"cpu": f"{100 + 20 * (number % 5)}m", "memory": "500Mi"}
    container = {"name": "c", "image": "registry.k8s.io/pause:3.10", "resources": {"requests": requests}}
    metadata = {"name": f"pod-{number}", "namespace": "default", "uid": f"uid-{number}", "labels": {"app": app}}
    return {"metadata": metadata, "spec": {"containers": [container], **spec}}


def batches(count: int) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, count, BATCH):
        yield [pod(number) for number in range(first, min(first + BATCH, count))]


def memory_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description="A large cluster in the library.")
    parser.add_argument("--nodes", type=int, default=15_000)
    parser.add_argument("--pods", type=int, default=150_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    before_mb = memory_mb()
    nodes = [node(number) for number in range(options.nodes)]
    start = time.perf_counter()
    scheduler = Scheduler(nodes, random=Random(1))
    nodes_s = time.perf_counter() - start
    del nodes
    gc.collect()
    gc.freeze()
    scheduling_s, unplaced = 0.0, 0
    for batch in batches(options.pods):
        start, cpu = time.perf_counter(), time.process_time()
        placements = scheduler.schedule_many(batch)
        scheduling_s += min(time.perf_counter() - start, time.process_time() - cpu)  # others use this machine too
        unplaced += sum(placement.node is None for placement in placements)
    del placements, batch
    held_mb = memory_mb() - before_mb
    kinds = ("plain", "plain", "spread over zones", "preferred affinity")
    one_more: dict[str, float] = {}
    for kind in (0, 2, 3):
        times = []
        for number in range(200):
            given = pod(options.pods + 4 * number + kind)
            start = time.perf_counter()
            scheduler.schedule(given)
            times.append((time.perf_counter() - start) * 1e6)
        one_more[kinds[kind]] = statistics.median(times)
    given = pod(options.pods * 2)
    start = time.perf_counter()
    scheduler.explain(given)
    explain_ms = (time.perf_counter() - start) * 1e3
    result = {
        "nodes": options.nodes,
        "pods": options.pods,
        "unplaced": unplaced,
        "nodes_s": round(nodes_s, 2),
        "scheduling_s": round(scheduling_s, 2),
        "pods_a_second": round(options.pods / scheduling_s),
        "held_mb": round(held_mb, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "one_more_us": {kind: round(us, 1) for kind, us in one_more.items()},
        "explain_ms": round(explain_ms, 1),
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
