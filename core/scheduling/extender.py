"""Scheduler extenders: services that are asked over HTTP what the plugins here cannot know.

    filter       these nodes are left: which of them?         ExtenderArgs -> ExtenderFilterResult
    prioritize   how good is each, 0 to 10?                   ExtenderArgs -> HostPriorityList
    preempt      room could be made so: does it help?         ExtenderPreemptionArgs -> ExtenderPreemptionResult
    bind         bind the pod in our place                    ExtenderBindingArgs -> ExtenderBindingResult

Here are the questions and how answers are read; asking is the service's part. An extender that is ``ignorable`` and
fails is left out; any other's failure ends the pod's attempt with an error. Source: the Kubernetes documentation of
scheduler extenders, and ``k8s.io/kube-scheduler/extender/v1``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cybernetes.core.objects import Object, name_of, namespace_of, uid_of
from cybernetes.core.scheduling.interface import SCORE_MAX, Status, unresolvable, unschedulable

#: An extender's scores go from 0 to this.
PRIORITY_MAX = 10
DEFAULT_TIMEOUT_S = 5.0

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_FIELDS = frozenset(
    {
        "urlPrefix",
        "filterVerb",
        "preemptVerb",
        "prioritizeVerb",
        "weight",
        "bindVerb",
        "enableHTTPS",
        "tlsConfig",
        "httpTimeout",
        "nodeCacheCapable",
        "managedResources",
        "ignorable",
    }
)
_TLS_FIELDS = frozenset({"insecure", "serverName", "certFile", "keyFile", "caFile", "certData", "keyData", "caData"})
_RESOURCE = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class ExtenderError(ValueError):
    """An extender that is described wrongly; each problem begins with the path below the extender."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(", ".join(problems))
        self.problems = tuple(problems)


class ManagedResource(NamedTuple):
    name: str
    is_ignored_by_scheduler: bool


@dataclass(frozen=True, slots=True)
class Extender:
    url_prefix: str
    filter_verb: str = ""
    prioritize_verb: str = ""
    bind_verb: str = ""
    preempt_verb: str = ""
    weight: int = 0
    timeout_s: float = DEFAULT_TIMEOUT_S
    #: It knows the nodes: names are enough.
    knows_nodes: bool = False
    managed: tuple[ManagedResource, ...] = ()
    is_ignorable: bool = False
    tls: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_object(cls, value: Any) -> Extender:
        """From an entry of ``extenders`` of a KubeSchedulerConfiguration. Raises ExtenderError."""
        if not isinstance(value, dict):
            raise ExtenderError([": expected an object"])
        problems = [f': unknown field "{name}"' for name in sorted(value.keys() - _FIELDS)]
        texts = {}
        for name in ("urlPrefix", "filterVerb", "prioritizeVerb", "bindVerb", "preemptVerb"):
            texts[name] = value.get(name) or ""
            if not isinstance(texts[name], str):
                problems.append(f".{name}: expected a string")
        weight = value.get("weight") or 0
        if not isinstance(weight, int) or (texts["prioritizeVerb"] and weight <= 0):
            problems.append(f".weight: Invalid value: {weight}: must have a positive weight applied to it")
        timeout_s = _seconds(value.get("httpTimeout"), problems)
        tls = value.get("tlsConfig") or {}
        if not isinstance(tls, dict) or tls.keys() - _TLS_FIELDS:
            problems.append(".tlsConfig: expected an object with " + ", ".join(sorted(_TLS_FIELDS)))
        managed = _managed(value.get("managedResources") or (), problems)
        if problems:
            raise ExtenderError(problems)
        prefix = texts["urlPrefix"].rstrip("/")
        if value.get("enableHTTPS") and prefix.startswith("http://"):
            prefix = "https://" + prefix.removeprefix("http://")
        return cls(
            prefix,
            texts["filterVerb"],
            texts["prioritizeVerb"],
            texts["bindVerb"],
            texts["preemptVerb"],
            weight,
            timeout_s,
            bool(value.get("nodeCacheCapable")),
            managed,
            bool(value.get("ignorable")),
            tls,
        )

    def is_interested(self, pod: Object) -> bool:
        """Whether it is asked about the pod: always, or when a container asks for a resource that it manages."""
        if not self.managed:
            return True
        names = {resource.name for resource in self.managed}
        spec = pod["spec"]
        for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
            resources = container.get("resources") or {}
            if not names.isdisjoint(resources.get("requests") or ()) or not names.isdisjoint(
                resources.get("limits") or ()
            ):
                return True
        return False

    @property
    def is_consulted(self) -> bool:
        """Whether it has a say in where a pod goes."""
        return bool(self.filter_verb or self.prioritize_verb)

    # ---- questions and answers

    def question(self, pod: Object, nodes: Sequence[Object]) -> dict[str, Any]:
        """ExtenderArgs."""
        if self.knows_nodes:
            return {"Pod": pod, "Nodes": None, "NodeNames": [name_of(node) for node in nodes]}
        items = [{**node, "apiVersion": "v1", "kind": "Node"} for node in nodes]
        listed = {"apiVersion": "v1", "kind": "NodeList", "metadata": {}, "items": items}
        return {"Pod": pod, "Nodes": listed, "NodeNames": None}

    def read_filtered(self, answer: Any, names: Sequence[str]) -> dict[str, Status]:
        """Name -> why it is refused, from an ExtenderFilterResult about these nodes. Raises ExtenderError."""
        fields = _fields(answer)
        if fields.get("error"):
            raise ExtenderError([str(fields["error"])])
        kept: set[str] = set()
        listed, nodes = fields.get("nodenames"), fields.get("nodes")
        if self.knows_nodes and listed is not None:
            kept.update(_texts(listed))
        elif nodes is not None:
            items = _fields(nodes).get("items") or ()
            kept.update(name_of(node) for node in items if isinstance(node, dict) and "metadata" in node)
        known = set(names)
        if kept - known:
            raise ExtenderError([f"extender {self.url_prefix} claims a filtered node {min(kept - known)} not found"])
        failed = {**_fields(fields.get("failednodes")), **_fields(fields.get("failedandunresolvablenodes"))}
        final = _fields(fields.get("failedandunresolvablenodes"))
        refused = {}
        for name in names:
            if name in kept:
                continue
            reason = str(failed.get(name.lower(), "")) or f"node(s) didn't pass extender {self.url_prefix}"
            refused[name] = unresolvable(reason) if name.lower() in final else unschedulable(reason)
        return refused

    def read_priorities(self, answer: Any) -> dict[str, int]:
        """Name -> what is added to the node's score, from a HostPriorityList. Raises ExtenderError."""
        scores: dict[str, int] = {}
        if not isinstance(answer, list):
            raise ExtenderError(["expected a list of priorities"])
        for entry in answer:
            fields = _fields(entry)
            score = fields.get("score") or 0
            if not isinstance(score, int):
                raise ExtenderError([f"score {score!r} is not an integer"])
            scores[str(fields.get("host"))] = score * self.weight * (SCORE_MAX // PRIORITY_MAX)
        return scores

    def victims_question(
        self, pod: Object, victims: Mapping[str, Sequence[Object]], violations: Mapping[str, int]
    ) -> Any:
        """ExtenderPreemptionArgs: node -> the pods that would have to leave it."""
        if self.knows_nodes:
            meta = {
                name: {"Pods": [{"UID": uid_of(each)} for each in pods], "NumPDBViolations": violations.get(name, 0)}
                for name, pods in victims.items()
            }
            return {"Pod": pod, "NodeNameToVictims": None, "NodeNameToMetaVictims": meta}
        whole = {
            name: {"Pods": list(pods), "NumPDBViolations": violations.get(name, 0)} for name, pods in victims.items()
        }
        return {"Pod": pod, "NodeNameToVictims": whole, "NodeNameToMetaVictims": None}

    def read_victims(self, answer: Any) -> tuple[dict[str, list[str]], dict[str, int]]:
        """Node -> uids of the pods to evict, and how many budgets that violates. Raises ExtenderError.

        A node without victims is no way out: an ignorable extender's is left out.
        """
        found = _fields(answer).get("nodenametometavictims") or {}
        victims: dict[str, list[str]] = {}
        violations: dict[str, int] = {}
        for name, entry in (found if isinstance(found, dict) else {}).items():
            fields = _fields(entry)
            pods = fields.get("pods")
            uids = [str(_fields(each).get("uid") or "") for each in pods] if isinstance(pods, list) else []
            if not uids:
                if self.is_ignorable:
                    continue
                raise ExtenderError([f'expected at least one victim pod on node "{name}"'])
            victims[name] = uids
            violations[name] = int(fields.get("numpdbviolations") or 0)
        return victims, violations

    @staticmethod
    def binding(pod: Object, node_name: str) -> dict[str, Any]:
        """ExtenderBindingArgs."""
        return {"PodName": name_of(pod), "PodNamespace": namespace_of(pod), "PodUID": uid_of(pod), "Node": node_name}

    @staticmethod
    def read_bound(answer: Any) -> str:
        """The error of an ExtenderBindingResult, or an empty text."""
        return str(_fields(answer).get("error") or "")


class Advice(NamedTuple):
    """What all extenders said about the nodes where a pod fits."""

    refusals: Mapping[str, Status] = {}
    scores: Mapping[str, int] = {}
    #: An extender that may not be ignored failed.
    error: str = ""


class Review(NamedTuple):
    """What all extenders left of the nodes where room could be made: node -> uids of the victims."""

    victims: Mapping[str, Sequence[str]] = {}
    violations: Mapping[str, int] = {}
    error: str = ""


def _fields(value: Any) -> dict[str, Any]:
    """By lower-case name: Go reads JSON without regard to case, and extenders rely on it."""
    return {str(name).lower(): each for name, each in value.items()} if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def duration_s(value: Any) -> float | None:
    """Seconds of a Go duration (``1m30s``, ``500ms``); None for what is none."""
    if value == "0":
        return 0.0
    parts = _DURATION.findall(value) if isinstance(value, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != value:
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _seconds(value: Any, problems: list[str]) -> float:
    found = None if value is None else duration_s(value)
    if value is not None and found is None:
        problems.append(f'.httpTimeout: time: invalid duration "{value}"')
    return found or DEFAULT_TIMEOUT_S


def _managed(value: Any, problems: list[str]) -> tuple[ManagedResource, ...]:
    result = []
    for position, entry in enumerate(value if isinstance(value, list) else ()):
        name = entry.get("name") if isinstance(entry, dict) else None
        is_own = isinstance(name, str) and (
            name.split("/")[0].endswith("kubernetes.io") or name.startswith("requests.")
        )
        if not isinstance(name, str) or not _RESOURCE.fullmatch(name) or is_own:
            where = f".managedResources[{position}].name"
            problems.append(f'{where}: Invalid value: "{name}": is an invalid extended resource name')
            continue
        result.append(ManagedResource(name, bool(entry.get("ignoredByScheduler"))))
    return tuple(result)
