"""Whether a node that has run many pods is as it was: ``python bench/podlife.py --runtime docker --image IMAGE``.

Short pods (they end at once) and long ones (they run until they are deleted). Counted before and after: containers,
interfaces and routes, mounts, control groups, files, and the kubelet's own descriptors, threads and child processes. A
network namespace of a pod is held by its container and its interface, so none is left when they are gone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from podstart import BRIDGE, CGROUP, node, pod

from cybernetes.core.objects import PODS

AT_ONCE = 50


def counts(kind: str, folder: Path) -> dict[str, int]:
    """What there is of ours, and what only a leak of ours would change."""
    gc.collect()
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    routes = subprocess.run(["ip", "route", "show", "dev", BRIDGE], capture_output=True, text=True).stdout
    found = {
        "interfaces": links.count(f"master {BRIDGE}"),
        "routes": routes.count("\n"),
        "mounts": sum(str(folder) in line for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "groups": sum(1 for root in Path("/sys/fs/cgroup").rglob(CGROUP) for _ in root.rglob("*/")),
        "files": sum(1 for path in folder.rglob("*") if path.is_file()),
        "descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "threads": sum(1 for _ in Path("/proc/self/task").iterdir()),
        "children": len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
    }
    if kind == "docker":
        command = ["docker", "ps", "-aq", "--filter", f"label=io.cybernetes.node={CGROUP}"]
        found["containers"] = subprocess.run(command, capture_output=True, text=True).stdout.count("\n")
    return found


async def phases(client: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in (await client.list(PODS)).items:
        phase = (item.get("status") or {}).get("phase", "")
        found[phase] = found.get(phase, 0) + 1
    return found


async def measure(given: argparse.Namespace, folder: Path) -> None:
    async with node(given.runtime, folder) as (client, timed, watched):
        await client.create(PODS, pod("warm", given.image))
        await watched.until(["warm"])
        await client.delete(PODS, "warm", "default", grace_period_s=0)
        while await timed.list_sandboxes():
            await asyncio.sleep(0.1)
        before = counts(given.runtime, folder)
        began = time.perf_counter()
        long = [f"long-{number}" for number in range(given.long)]
        for name in long:
            await client.create(PODS, pod(name, given.image))
        await watched.until(long)
        for first in range(0, given.short, AT_ONCE):
            names = [f"short-{number}" for number in range(first, min(given.short, first + AT_ONCE))]
            for name in names:
                await client.create(PODS, pod(name, given.image, ["true"], "Never"))
            while (await phases(client)).get("Succeeded", 0) < len(names):
                await asyncio.sleep(0.1)
            for name in names:
                await client.delete(PODS, name, "default", grace_period_s=0)
        print(f"{given.short} short and {given.long} long pods in {time.perf_counter() - began:.0f} s", flush=True)
        print(f"while the long ones run: {counts(given.runtime, folder)}")
        for name in long:
            await client.delete(PODS, name, "default", grace_period_s=0)
        while await timed.list_sandboxes() or (await client.list(PODS)).items:
            await asyncio.sleep(0.1)
        after: dict[str, int] = {}
        for _ in range(100):  # the last things go a moment after the API says so
            after = counts(given.runtime, folder)
            if all(after[name] <= before[name] for name in before if name not in ("descriptors", "threads")):
                break
            await asyncio.sleep(0.1)
        for name in before:
            print(f"{name:14} before {before[name]:6}   after {after[name]:6}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", choices=("process", "docker"), default="process")
    parser.add_argument("--short", type=int, default=500)
    parser.add_argument("--long", type=int, default=50)
    parser.add_argument("--image", default="host:1", help="with docker: one that is there and has sleep and true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(given, Path(folder)))


if __name__ == "__main__":
    main()
