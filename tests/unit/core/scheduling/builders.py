"""Short ways to write nodes and pods, and to ask what becomes of a pod both ways at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cybernetes.core.clock import ManualClock, Random
from cybernetes.core.objects import Gvr
from cybernetes.core.scheduling.reference import judge
from cybernetes.core.scheduling.scheduler import Scheduler

Object = dict[str, Any]


def node(name: str, *, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **more: Any) -> Object:
    """``labels``, ``taints``, ``unschedulable``, ``images``, ``resources`` (further allocatable)."""
    labels = {"kubernetes.io/hostname": name, **more.get("labels", {})}
    spec: Object = {}
    if more.get("taints"):
        spec["taints"] = more["taints"]
    if more.get("unschedulable"):
        spec["unschedulable"] = True
    allocatable = {"cpu": cpu, "memory": memory, "pods": pods, **more.get("resources", {})}
    images = [{"names": [name], "sizeBytes": size} for name, size in more.get("images", {}).items()]
    return {
        "metadata": {"name": name, "labels": {k: v for k, v in labels.items() if v is not None}},
        "spec": spec,
        "status": {"allocatable": allocatable, "images": images},
    }


def pod(name: str = "p", *, on: str = "", labels: Mapping[str, str] | None = None, **more: Any) -> Object:
    """``cpu``, ``memory``, ``requests``, ``image``, ``ports``, ``namespace``, ``status``; the rest is spec."""
    requests = {key: more.pop(key) for key in ("cpu", "memory") if key in more} | more.pop("requests", {})
    container: Object = {"name": "c", "image": more.pop("image", "image"), "resources": {"requests": requests}}
    if "ports" in more:
        container["ports"] = more.pop("ports")
    metadata = {"name": name, "namespace": more.pop("namespace", "default"), "uid": f"uid of {name}"}
    metadata["labels"] = dict(labels or {})
    metadata |= more.pop("metadata", {})
    status = more.pop("status", {})
    spec = {"containers": [container], **more}
    if on:
        spec["nodeName"] = on
    return {"metadata": metadata, "spec": spec, "status": status}


class Verdict:
    """``refused``: node -> reasons. ``scores``: node -> plugin -> weighted score, without zeros."""

    def __init__(self, refused: dict[str, tuple[str, ...]], scores: dict[str, dict[str, int]]) -> None:
        self.refused = refused
        self.scores = scores

    @property
    def fits(self) -> list[str]:
        return sorted(self.scores)

    def score(self, plugin: str) -> dict[str, int]:
        return {name: of_node.get(plugin, 0) for name, of_node in self.scores.items()}


def cluster(
    nodes: Iterable[Object],
    pods: Iterable[Object] = (),
    profile: Mapping[str, Any] | None = None,
    objects: Mapping[Gvr, Iterable[Object]] | None = None,
    **more: Any,
) -> Scheduler:
    return Scheduler(nodes, pods, profile, objects=objects, clock=ManualClock(), random=Random(1), **more)


def ask(scheduler: Scheduler, wanted: Object) -> Verdict:
    """Explained by columns and judged node by node: they must agree."""
    explanation = scheduler.explain(wanted)
    judgement = judge(scheduler.framework, scheduler.cycle(wanted, scheduler.shape(wanted)))
    refused = {each.node: each.reasons for each in explanation.nodes if not each.is_feasible}
    scores = {each.node: _without_zeros(each.scores) for each in explanation.feasible}
    if judgement.refusal is None:
        assert refused == {name: status.reasons for name, status in judgement.refusals.items()}
        assert scores == {name: _without_zeros(of_node) for name, of_node in judgement.scores.items()}
    else:
        assert set(refused.values()) <= {judgement.refusal.reasons}
    return Verdict(refused, scores)


def _without_zeros(scores: Mapping[str, int]) -> dict[str, int]:
    return {name: score for name, score in scores.items() if score}
