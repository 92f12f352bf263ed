"""On which nodes a DaemonSet runs, remembered per node, so that thousands of nodes are not looked at at each step.

    node      should run         may stay
    fits      yes                yes
    tainted NoSchedule, not tolerated       no    yes
    tainted NoExecute, not tolerated        no    no
    other nodeName, nodeSelector or required affinity   no    no

What a node has that decides (labels, taints) is kept as it is observed; a verdict is kept for a DaemonSet's generation
and renewed only for the node that changes. Source: "DaemonSet" in the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.labels import Requirement, SelectorError, requirement
from cybernetes.core.objects import Object, labels_of, name_of, uid_of
from cybernetes.core.scheduling.taints import NO_EXECUTE, NO_SCHEDULE, Taint, is_tolerated

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt"}

#: What every daemon pod tolerates: conditions of its node are no reason to leave it.
TOLERATIONS: Sequence[Mapping[str, str]] = tuple(
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect}
    for key, effect in (
        ("not-ready", NO_EXECUTE),
        ("unreachable", NO_EXECUTE),
        ("disk-pressure", NO_SCHEDULE),
        ("memory-pressure", NO_SCHEDULE),
        ("pid-pressure", NO_SCHEDULE),
        ("unschedulable", NO_SCHEDULE),
    )
)
_NETWORK = {"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": NO_SCHEDULE}


class Verdict(NamedTuple):
    should_run: bool
    may_stay: bool


NO = Verdict(False, False)


class NodeFacts(NamedTuple):
    """What decides about a node."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]

    @classmethod
    def of(cls, node: Object) -> NodeFacts:
        taints = tuple(Taint.of(taint) for taint in (node.get("spec") or {}).get("taints") or ())
        return cls(name_of(node), dict(labels_of(node)), taints)


def with_tolerations(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A template's tolerations and those of every daemon pod."""
    added = [*TOLERATIONS, *([_NETWORK] if spec.get("hostNetwork") else [])]
    found = [one for one in spec.get("tolerations") or () if one not in added]
    return [*found, *added]


class Demand:
    """What a DaemonSet asks of a node."""

    def __init__(self, daemon_set: Object) -> None:
        spec = (daemon_set["spec"].get("template") or {}).get("spec") or {}
        self._node_name = spec.get("nodeName") or ""
        self._node_selector: Mapping[str, str] = spec.get("nodeSelector") or {}
        self._tolerations = with_tolerations(spec)
        affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        terms = required.get("nodeSelectorTerms") or () if required is not None else None
        self._terms = None if terms is None else [term for term in map(_term, terms) if term is not None]

    def judge(self, node: NodeFacts) -> Verdict:
        if self._node_name and self._node_name != node.name:
            return NO
        if any(node.labels.get(key) != value for key, value in self._node_selector.items()):
            return NO
        if self._terms is not None and not any(_matches(term, node) for term in self._terms):
            return NO
        untolerated = [taint for taint in node.taints if not is_tolerated(self._tolerations, taint)]
        if any(taint.effect == NO_EXECUTE for taint in untolerated):
            return NO
        return Verdict(not any(taint.effect == NO_SCHEDULE for taint in untolerated), True)


class _Term(NamedTuple):
    labels: tuple[Requirement, ...]
    names: tuple[tuple[bool, frozenset[str]], ...]  # (whether the name has to be among these)


def _term(term: Mapping[str, Any]) -> _Term | None:
    """None for a term that selects nothing: an empty one, or one that cannot be read."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return None
    try:
        labels = tuple(
            requirement(one["key"], _OPERATORS[one["operator"]], one.get("values") or ()) for one in expressions
        )
    except (SelectorError, KeyError):
        return None
    names = []
    for field in fields:
        if field.get("key") != "metadata.name" or field.get("operator") not in ("In", "NotIn"):
            return None
        names.append((field["operator"] == "In", frozenset(field.get("values") or ())))
    return _Term(labels, tuple(names))


def _matches(term: _Term, node: NodeFacts) -> bool:
    return all(one.matches(node.labels) for one in term.labels) and all(
        (node.name in names) is is_in for is_in, names in term.names
    )


class Verdicts:
    """The nodes there are, and for each DaemonSet in its generation the verdict about each."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeFacts] = {}
        self._known: dict[str, tuple[int, Demand, dict[str, Verdict]]] = {}

    def _of(self, daemon_set: Object) -> tuple[Demand, dict[str, Verdict]]:
        generation = int(daemon_set["metadata"].get("generation") or 0)
        known = self._known.get(uid_of(daemon_set))
        if known is None or known[0] != generation:
            demand = Demand(daemon_set)
            verdicts = {name: demand.judge(node) for name, node in self.nodes.items()}
            known = self._known[uid_of(daemon_set)] = (generation, demand, verdicts)
        return known[1], known[2]

    def of(self, daemon_set: Object) -> Mapping[str, Verdict]:
        """Node name -> verdict, in the order in which nodes were first seen."""
        return self._of(daemon_set)[1]

    def forget(self, daemon_set: Object) -> None:
        self._known.pop(uid_of(daemon_set), None)

    def put_node(self, node: Object, daemon_sets: Iterable[Object]) -> list[Object]:
        """Take in a node as it is now. Returns the DaemonSets whose verdict about it has changed."""
        facts = NodeFacts.of(node)
        is_new = facts.name not in self.nodes
        if self.nodes.get(facts.name) == facts:
            return []
        self.nodes[facts.name] = facts
        changed = []
        for one in daemon_sets:
            demand, verdicts = self._of(one)
            verdict = demand.judge(facts)
            if is_new or verdicts.get(facts.name) != verdict:
                changed.append(one)
            verdicts[facts.name] = verdict
        return changed

    def remove_node(self, name: str, daemon_sets: Iterable[Object]) -> list[Object]:
        self.nodes.pop(name, None)
        affected = []
        for one in daemon_sets:
            verdict = self._of(one)[1].pop(name, NO)
            if verdict != NO:
                affected.append(one)
        return affected
