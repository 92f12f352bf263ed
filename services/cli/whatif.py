"""``cybernetes whatif``: what would be placed where if pods came or nodes went, in a live cluster or a snapshot."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from cybernetes.core.api.defaulting.pods import default_pod
from cybernetes.core.objects import NODES, clone, name_of
from cybernetes.core.quantity import QuantityError
from cybernetes.core.scheduling.found import PluginError
from cybernetes.core.scheduling.nodeinfo import NodeError
from cybernetes.core.scheduling.whatif import Outcome, World, pods_of, what_if
from cybernetes.services.cli import world
from cybernetes.services.cli.failure import CommandError, UsageError

LINES_MAX = 40


def run(given: argparse.Namespace) -> int:
    """0 when everything would have a place, else 1."""
    removed = [name for names in given.remove_node for name in names.split(",") if name]
    if not (given.pods or removed or given.add_nodes):
        raise UsageError("what if what? name pods with -f, nodes with --remove-node or --add-nodes")
    source = world.Source.of(given)
    seen = world.load(source)
    try:
        pods = list(pods_of(obj for path in given.pods for obj in world.manifests(path))) * max(given.times, 1)
        pods = [_prepared(pod, number) for number, pod in enumerate(pods)]
        added = _more_nodes(seen, given.add_nodes, given.like)
        outcome = what_if(seen, pods=pods, remove_nodes=removed, add_nodes=added)
    except KeyError as error:
        raise CommandError(str(error.args[0])) from error
    except (ValueError, PluginError, NodeError, QuantityError) as error:
        raise CommandError(str(error)) from error
    if given.output == "json":
        print(json.dumps({**asdict(outcome), "unplaced": len(outcome.unplaced)}, indent=2))
    else:
        _print(outcome)
    return 1 if outcome.unplaced else 0


def _prepared(pod: dict[str, Any], number: int) -> dict[str, Any]:
    """With the API's defaults, and an identity of its own where a file is taken several times."""
    pod = clone(pod)
    pod["metadata"]["uid"] = f"{pod['metadata']['uid']} {number}"
    default_pod(pod)
    return pod


def _more_nodes(seen: World, count: int, like: str) -> list[dict[str, Any]]:
    nodes = {name_of(node): node for node in seen.objects.get(NODES, ())}
    if not count:
        return []
    if not nodes or (like and like not in nodes):
        raise KeyError(f'node "{like}" not found' if like else "there is no node to add more of")
    pattern = nodes[like] if like else next(iter(nodes.values()))
    made = []
    for number in range(count):
        node = clone(pattern)
        name = f"{name_of(pattern)}-like-{number}"
        node["metadata"] |= {"name": name, "uid": name}
        node["metadata"]["labels"] = {**(node["metadata"].get("labels") or {}), "kubernetes.io/hostname": name}
        made.append(node)
    return made


def _print(outcome: Outcome) -> None:
    placed = [each for each in outcome.placements if each.node is not None]
    for node, count in Counter(each.node for each in placed).most_common(LINES_MAX):
        print(f"{node}: {count} pod{'s' if count > 1 else ''}")
    for each in placed[:LINES_MAX]:
        came = f" (from {each.from_node})" if each.from_node else ""
        print(f"  {each.pod} [{each.why}] -> {each.node}{came}")
    if len(placed) > LINES_MAX:
        print(f"  … and {len(placed) - LINES_MAX} more (-o json has them all)")
    for each in outcome.unplaced[:LINES_MAX]:
        print(f"  {each.pod} [{each.why}] fits nowhere: {each.message}")
        if each.advice:
            print(f"    it {each.advice}")
    if len(outcome.unplaced) > LINES_MAX:
        print(f"  … and {len(outcome.unplaced) - LINES_MAX} more that fit nowhere")
    if outcome.ended:
        print(f"{len(outcome.ended)} pods would end with their node: {', '.join(outcome.ended[:10])}")
    print(f"{len(placed)} placed, {len(outcome.unplaced)} not")
    for pod, count in outcome.room.items():
        print(f"room for {count} more like {pod}")
