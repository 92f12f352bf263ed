"""``cybernetes explain pod NAME``: which nodes the pod fits, with every plugin's score; else why not and what helps."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from cybernetes.core.quantity import QuantityError
from cybernetes.core.scheduling.explanation import Explanation
from cybernetes.core.scheduling.found import PluginError
from cybernetes.core.scheduling.nodeinfo import NodeError
from cybernetes.core.scheduling.whatif import explain_pod
from cybernetes.services.cli import world
from cybernetes.services.cli.failure import CommandError, UsageError


def run(given: argparse.Namespace) -> int:
    """0 when the pod fits somewhere (or runs), else 1."""
    if given.kind not in ("pod", "pods", "po"):
        raise UsageError(f"only pods are placed: explain pod NAME, not {given.kind}")
    source = world.Source.of(given)
    seen = world.load(source)
    pod = seen.pod(given.namespace, given.name)
    if pod is None:
        raise CommandError(f'pods "{given.name}" not found in namespace "{given.namespace}"')
    seen = world.of_scheduler(seen, source, pod["spec"].get("schedulerName") or "default-scheduler")
    try:
        explanation = explain_pod(seen, pod)
    except (PluginError, NodeError, QuantityError) as error:
        raise CommandError(str(error)) from error
    current = pod["spec"].get("nodeName") or ""
    if given.output == "json":
        print(
            json.dumps(
                {"pod": given.name, "namespace": given.namespace, "node": current, **asdict(explanation)}, indent=2
            )
        )
    else:
        _print(explanation, f"{given.namespace}/{given.name}", current, given.all)
    return 0 if explanation.feasible or current else 1


NODES_SHOWN = 20


def _print(explanation: Explanation, pod: str, current: str, shows_all: bool) -> None:
    if current:
        print(f"{pod} is on {current}; as if it were to be placed now:")
    shown = len(explanation.nodes) if shows_all else NODES_SHOWN
    feasible = explanation.feasible
    for node in feasible[:shown]:
        scores = ", ".join(f"{name} {score}" for name, score in sorted(node.scores.items(), key=lambda each: -each[1]))
        print(f"  {node.node:<30} fits, score {node.total:<5} {scores}")
    if len(feasible) > shown:
        print(f"  … and {len(feasible) - shown} more that it fits (--all shows them)")
    refused = [node for node in explanation.nodes if not node.is_feasible]
    for node in refused[:shown]:
        print(f"  {node.node:<30} {node.plugin}: {', '.join(node.reasons)}")
    if len(refused) > shown:
        print(f"  … and {len(refused) - shown} more that refuse it (--all shows them)")
    if explanation.message:
        print(explanation.message)
    if explanation.changes:
        print("The smallest change that would make it fit:")
        for change in explanation.changes:
            print(f"  {change}")
