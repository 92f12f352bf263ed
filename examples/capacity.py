"""The scheduler as a library: how many web servers fit beside each other, and what the next one would need.

python examples/capacity.py
"""

from __future__ import annotations

from typing import Any

from cybernetes.core import Scheduler
from cybernetes.core.clock import Random

ZONE = "topology.kubernetes.io/zone"


def node(name: str, zone: str) -> dict[str, Any]:
    allocatable = {"cpu": "4", "memory": "16Gi", "pods": "110"}
    return {"metadata": {"name": name, "labels": {ZONE: zone}}, "status": {"allocatable": allocatable}}


def web(number: int) -> dict[str, Any]:
    spread = {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    container = {"name": "web", "image": "nginx", "resources": {"requests": {"cpu": "1500m", "memory": "1Gi"}}}
    metadata = {"name": f"web-{number}", "labels": {"app": "web"}}
    return {"metadata": metadata, "spec": {"containers": [container], "topologySpreadConstraints": [spread]}}


def main() -> None:
    scheduler = Scheduler([node("a1", "a"), node("a2", "a"), node("b1", "b")], random=Random(1))
    number = 0
    while (placement := scheduler.schedule(web(number))).node is not None:
        print(f"web-{number} -> {placement.node}")
        number += 1
    print(f"{number} fit. The next one: {placement.message}")
    print(f"It {scheduler.explain(web(number)).advice}.")


if __name__ == "__main__":
    main()
