"""What containers that only pretend use: what annotations say, else a thousandth of a processor and 16 MiB.

Processor time is counted like a real one, so that it never goes back: between two looks with what the annotation says
at the later one. So an autoscaler that is given a load by ``kubectl annotate`` sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cybernetes.core.clock import format_micro_time, format_time, parse_time
from cybernetes.core.kubelet.behaviour import PREFIX
from cybernetes.core.kubelet.node import Machine
from cybernetes.core.objects import Object, annotations_of, name_of, namespace_of, uid_of
from cybernetes.core.quantity import QuantityError, parse

CPU_USAGE, MEMORY_USAGE = "cpu-usage", "memory-usage"
_NANO_CORES = 1_000_000
_MEMORY = 16 << 20
#: What the machine itself holds.
_NODE_MEMORY = 1 << 30


class SimulatedUsage:
    """The counters of one kubelet's containers. ``machine`` is what each of its nodes is."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        #: (uid of the pod, container, start) -> (when it was looked at, processor time in ns); of those that run.
        self._counted: dict[tuple[str, str, str], tuple[float, int]] = {}

    def summary(self, pods: Iterable[Object], now: float) -> dict[str, Any]:
        """``stats.v1alpha1.Summary`` of these pods."""
        time = format_time(now)
        before, self._counted = self._counted, {}
        entries = [self._pod(pod, now, time, before) for pod in pods]
        node = {
            "nodeName": "simulated",
            "cpu": {
                "time": format_micro_time(now),
                "usageCoreNanoSeconds": sum(each["cpu"]["usageCoreNanoSeconds"] for each in entries),
            },
            "memory": {
                "time": time,
                "workingSetBytes": _NODE_MEMORY,
                "availableBytes": self._machine.memory - _NODE_MEMORY,
            },
        }
        return {"node": node, "pods": entries}

    def _pod(
        self, pod: Object, now: float, time: str, before: Mapping[tuple[str, str, str], tuple[float, int]]
    ) -> dict[str, Any]:
        containers = []
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            running = status["state"].get("running")
            if running is None:
                continue
            name, started = status["name"], running["startedAt"]
            key = uid_of(pod), name, started
            nano_cores = _said(pod, CPU_USAGE, name, _NANO_CORES, 10**9)
            since, used = before.get(key) or (parse_time(started), 0)
            used += int(max(0.0, now - since) * nano_cores)
            self._counted[key] = now, used
            memory = _said(pod, MEMORY_USAGE, name, _MEMORY, 1)
            containers.append(
                {
                    "name": name,
                    "startTime": started,
                    "cpu": {"time": time, "usageNanoCores": nano_cores, "usageCoreNanoSeconds": used},
                    "memory": {"time": time, "workingSetBytes": memory, "usageBytes": memory},
                }
            )
        return {
            "podRef": {"name": name_of(pod), "namespace": namespace_of(pod), "uid": uid_of(pod)},
            "containers": containers,
            "cpu": {"time": time, "usageCoreNanoSeconds": sum(c["cpu"]["usageCoreNanoSeconds"] for c in containers)},
            "memory": {"time": time, "workingSetBytes": sum(c["memory"]["workingSetBytes"] for c in containers)},
        }


def _said(pod: Object, what: str, container: str, default: int, unit: int) -> int:
    """What an annotation says, of this container or of all, in ``1/unit``; ``default`` for what is no quantity."""
    annotations = annotations_of(pod)
    text = annotations.get(f"{what}.{PREFIX}/{container}", annotations.get(f"{PREFIX}/{what}"))
    if text is None:
        return default
    try:
        return max(0, parse(text).nanos * unit // 10**9)
    except QuantityError:
        return default
