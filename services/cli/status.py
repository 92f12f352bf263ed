"""``cybernetes status``: which processes run, whether the API is ready, and how the nodes are."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict
from typing import Any

from cybernetes.core.clock import Random
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import NODES, PODS, is_condition_true
from cybernetes.services.cli.datadir import DataDirectory
from cybernetes.services.common import kubeconfig

TIMEOUT_S = 10.0


def run(given: argparse.Namespace) -> int:
    """0 when the cluster runs and every node is Ready, else 1."""
    data = DataDirectory.at(given.data_dir)
    options = data.load_options()
    found: dict[str, Any] = {
        "dataDirectory": str(data.path),
        "running": data.running_pid() is not None,
        "options": asdict(options),
        "nodes": [],
        "pods": {},
        "message": "",
    }
    if found["running"]:
        try:
            asyncio.run(_ask(data, found))
        except (ApiError, OSError, TimeoutError) as error:
            found["message"] = f"the API server does not answer: {error}"
    else:
        found["message"] = "not running: start it with `cybernetes up`"
    if given.output == "json":
        print(json.dumps(found, indent=2))
    else:
        _print(found)
    is_well = found["running"] and not found["message"] and all(node["ready"] for node in found["nodes"])
    return 0 if is_well else 1


async def _ask(data: DataDirectory, found: dict[str, Any]) -> None:
    connection = kubeconfig.read(data.admin_kubeconfig)
    client = connection.client(random=Random(), user_agent="cybernetes-status", timeout_s=TIMEOUT_S)
    found["server"] = connection.server
    try:
        async with asyncio.timeout(TIMEOUT_S):
            nodes = await client.list(NODES)
            pods = await client.list(PODS)
    finally:
        await client.close()
    for node in nodes.items:
        info = node.get("status", {}).get("nodeInfo", {})
        found["nodes"].append(
            {
                "name": node["metadata"]["name"],
                "ready": is_condition_true(node, "Ready"),
                "runtime": info.get("containerRuntimeVersion", ""),
            }
        )
    for pod in pods.items:
        phase = pod.get("status", {}).get("phase", "Unknown")
        found["pods"][phase] = found["pods"].get(phase, 0) + 1


def _print(found: dict[str, Any]) -> None:
    state = "running" if found["running"] else "stopped"
    print(f"cluster  {state}  {found.get('server', '')}  {found['dataDirectory']}")
    for node in found["nodes"]:
        print(f"node     {node['name']}  {'Ready' if node['ready'] else 'NotReady'}  {node['runtime']}")
    if found["pods"]:
        print("pods     " + ", ".join(f"{count} {phase}" for phase, count in sorted(found["pods"].items())))
    if found["message"]:
        print(found["message"])
