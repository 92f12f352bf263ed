"""PodDisruptionBudgets: how many more pods of an application may be evicted now.

    expected   what the pods' controllers are meant to have (each controller once), or for a number as minAvailable the
               pods that are there
    desired    minAvailable, or expected less maxUnavailable
    healthy    ready pods that are neither being deleted nor about to be, because an eviction of the last two minutes
               announced them in ``status.disruptedPods``
    allowed    healthy - desired, never below 0

The eviction API counts ``disruptionsAllowed`` down and announces the pod; this controller counts anew. When it cannot
count, nothing may be disrupted. Keys are ``namespace/name`` of a budget, and ``pod/namespace/name`` for a pod whose
condition DisruptionTarget is taken back when nobody deleted the pod within two minutes.

Upstream: pkg/controller/disruption.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.clock import format_time
from cybernetes.core.controllers.conditions import set_meta_condition
from cybernetes.core.controllers.deployment_math import replicas, scaled
from cybernetes.core.controllers.gotext import selector_text
from cybernetes.core.controllers.interface import Action, Again, Emit, Get, Patch, Steps, Update, View, Watch, own_key
from cybernetes.core.controllers.pods import is_ready, is_terminal, matching_pods, pod_condition, time_of
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.labels import Selector, SelectorError
from cybernetes.core.objects import (
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    Gvr,
    Object,
    controller_of,
    is_deleting,
    labels_of,
    object_reference,
    uid_of,
)

#: How long an announced eviction may take to delete its pod.
DELETION_TIMEOUT_S = 120.0
#: After which a pod that was not deleted is no target of a disruption any more.
STALE_TARGET_S = 120.0
TERMINATION_BY_KUBELET = "TerminationByKubelet"

_POD_KEY = "pod/"
_READERS: Mapping[tuple[str, str], Gvr] = {
    ("", "ReplicationController"): REPLICATION_CONTROLLERS,
    ("apps", "ReplicaSet"): REPLICA_SETS,
    ("extensions", "ReplicaSet"): REPLICA_SETS,
    ("apps", "StatefulSet"): STATEFUL_SETS,
}

Served = tuple[Gvr, str, bool]


class _Uncountable(Exception):
    """The number of pods that there should be cannot be told; the message says why."""


def selector_of(budget: Object) -> Selector:
    """No selector matches nothing, an empty one the whole namespace."""
    try:
        return Selector.from_object((budget.get("spec") or {}).get("selector"))
    except SelectorError:
        return Selector.nothing()


class Disruptions:
    """``resources`` tells every resource of the API: owners of pods may be custom resources with a scale."""

    name = "disruption-controller"
    service_account = "disruption-controller"
    workers = 1

    def __init__(self, resources: Callable[[], Sequence[Served]] = lambda: ()) -> None:
        self._resources = resources
        self.watches = (
            Watch(POD_DISRUPTION_BUDGETS, own_key),
            Watch(PODS, _keys_of_pod),
            Watch(REPLICATION_CONTROLLERS),
            Watch(REPLICA_SETS),
            Watch(DEPLOYMENTS),
            Watch(STATEFUL_SETS),
        )

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        if key.startswith(_POD_KEY):
            namespace, _, name = key.removeprefix(_POD_KEY).partition("/")
            yield from self._sync_pod(view.get(PODS, namespace, name), view, now)
            return
        namespace, _, name = key.partition("/")
        budget = view.get(POD_DISRUPTION_BUDGETS, namespace, name)
        if budget is not None:
            yield from self._sync(budget, view, now)

    # Budgets.

    def _sync(self, budget: Object, view: View, now: float) -> Steps:
        pods = matching_pods(view, budget["metadata"]["namespace"], selector_of(budget))
        if not pods:
            yield _event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            expected, desired = yield from self._expectations(budget, pods, view)
        except _Uncountable as error:
            message = f"Failed to calculate the number of expected pods: {error}"
            yield _event(budget, "Warning", "CalculateExpectedPodCountFailed", message)
            status = dict(budget.get("status") or {})
            for field in ("currentHealthy", "desiredHealthy", "expectedPods"):
                status.setdefault(field, 0)
            yield from _write(budget, {**status, "disruptionsAllowed": 0}, "False", "SyncFailed", str(error), now)
            return
        disrupted, recheck_s = yield from self._still_disrupted(budget, pods, now)
        healthy = sum(
            is_ready(pod) and not is_deleting(pod) and pod["metadata"]["name"] not in disrupted for pod in pods
        )
        # Without expected pods nothing is allowed: the first ones may be there before the next count.
        allowed = max(0, healthy - desired) if expected > 0 else 0
        status = {
            **{name: value for name, value in (budget.get("status") or {}).items() if name == "conditions"},
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "disruptionsAllowed": allowed,
            "expectedPods": expected,
            **({"disruptedPods": disrupted} if disrupted else {}),
        }
        generation = budget["metadata"].get("generation")
        if generation:
            status["observedGeneration"] = generation
        kind, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        yield from _write(budget, status, kind, reason, "", now)
        if recheck_s is not None:
            yield Again(recheck_s)

    def _expectations(
        self, budget: Object, pods: Sequence[Object], view: View
    ) -> Generator[Action, Any, tuple[int, int]]:
        """(how many pods there should be, how many of them healthy)."""
        spec = budget.get("spec") or {}
        most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
        if most is None and isinstance(least, int):
            return len(pods), least
        if most is None and least is None:
            return 0, 0
        total, has_unmanaged = yield from self._total_scale(pods, view)
        if has_unmanaged:
            message = (
                f"Pods selected by this PodDisruptionBudget (selector: {selector_text(spec.get('selector'))}) were "
                "found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may "
                'result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the '
                "PDB to an integer value."
            )
            yield _event(budget, "Warning", "UnmanagedPods", message)
        if most is not None:
            return total, max(0, total - scaled(most, total, round_up=True))
        return total, scaled(least, total, round_up=True)

    def _total_scale(self, pods: Sequence[Object], view: View) -> Generator[Action, Any, tuple[int, bool]]:
        scales: dict[str, int] = {}
        has_unmanaged = False
        seen: set[str] = set()  # asked for membership only
        for pod in pods:
            reference = controller_of(pod)
            if reference is None:
                has_unmanaged = True
                continue
            if reference["uid"] in seen:
                continue
            seen.add(reference["uid"])
            found = yield from self._scale(reference, pod["metadata"]["namespace"], view)
            if found is None:
                raise _Uncountable(f'found no controllers for pod "{pod["metadata"]["name"]}"')
            scales[found[0]] = found[1]
        return sum(scales.values()), has_unmanaged

    def _scale(
        self, reference: Mapping[str, Any], namespace: str, view: View
    ) -> Generator[Action, Any, tuple[str, int] | None]:
        """(uid, replicas) of what owns a pod: the Deployment for a ReplicaSet that has one."""
        group = str(reference["apiVersion"]).rpartition("/")[0]
        gvr = _READERS.get((group, reference["kind"]))
        if gvr is None:
            return (yield from self._scale_by_subresource(reference, group, namespace))
        owner = view.get(gvr, namespace, reference["name"])
        if owner is None or uid_of(owner) != reference["uid"]:
            return None
        above = controller_of(owner)
        if gvr == REPLICA_SETS and above is not None and above.get("kind") == "Deployment":
            deployment = view.get(DEPLOYMENTS, namespace, above["name"])
            if deployment is None or uid_of(deployment) != above["uid"]:
                return None
            owner = deployment
        return uid_of(owner), replicas(owner)

    def _scale_by_subresource(
        self, reference: Mapping[str, Any], group: str, namespace: str
    ) -> Generator[Action, Any, tuple[str, int] | None]:
        kind = reference["kind"]
        gvr = next((gvr for gvr, known, _ in self._resources() if known == kind and gvr.group == group), None)
        if gvr is None:
            version = str(reference["apiVersion"]).rpartition("/")[2]
            raise _Uncountable(f'no matches for kind "{kind}" in version "{group + "/" if group else ""}{version}"')
        try:
            scale = yield Get(gvr, reference["name"], namespace, "scale")
        except ApiError as error:
            if not is_not_found(error):
                raise _Uncountable(str(error)) from error
            # A resource without a scale has no such path; one with a scale names the object that is missing.
            if not (error.status.get("details") or {}).get("name"):
                raise _Uncountable(f"{gvr.qualified} does not implement the scale subresource") from error
            return None
        if uid_of(scale) != reference["uid"]:
            return None
        return uid_of(scale), int((scale.get("spec") or {}).get("replicas") or 0)

    def _still_disrupted(
        self, budget: Object, pods: Sequence[Object], now: float
    ) -> Generator[Action, Any, tuple[dict[str, str], float | None]]:
        """The announced pods whose deletion is still to come, and in how many seconds the first of them is late."""
        announced = (budget.get("status") or {}).get("disruptedPods") or {}
        kept: dict[str, str] = {}
        first: float | None = None
        for pod in pods:
            name = pod["metadata"]["name"]
            at_s = time_of(announced, name)
            if at_s is None or is_deleting(pod):
                continue
            wait_s = at_s + DELETION_TIMEOUT_S - now
            if wait_s < 0:
                metadata = budget["metadata"]
                message = (
                    f"Pod was expected by PDB {metadata['namespace']}/{metadata['name']} to be deleted but it wasn't"
                )
                yield Emit(object_reference(pod, "v1", "Pod"), "Warning", "NotDeleted", message)
                continue
            kept[name] = announced[name]
            # A moment later than the limit, at which the entry still counts.
            first = min(wait_s + 0.001, first) if first is not None else wait_s + 0.001
        return kept, first

    # Pods.

    def _sync_pod(self, pod: Object | None, view: View, now: float) -> Steps:
        if pod is None:
            return
        budgets = _budgets_of(pod, view)
        if len(budgets) > 1:
            metadata = pod["metadata"]
            message = (
                f'Pod "{metadata["namespace"]}"/"{metadata["name"]}" matches multiple PodDisruptionBudgets.  '
                f'Chose "{budgets[0]["metadata"]["name"]}" arbitrarily.'
            )
            yield Emit(object_reference(pod, "v1", "Pod"), "Warning", "MultiplePodDisruptionBudgets", message)
        target = _disruption_target(pod)
        if target is None:
            return
        since = time_of(target, "lastTransitionTime")
        wait_s = (since if since is not None else now) + STALE_TARGET_S - now
        if wait_s > 0:
            yield Again(wait_s)
            return
        conditions = [
            {"type": "DisruptionTarget", "status": "False", "lastTransitionTime": format_time(now)}
            if condition.get("type") == "DisruptionTarget"
            else condition
            for condition in (pod.get("status") or {}).get("conditions") or ()
        ]
        metadata = pod["metadata"]
        patch = {
            "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
            "status": {"conditions": conditions},
        }
        yield Patch(PODS, metadata["name"], patch, metadata["namespace"], subresource="status")


def _disruption_target(pod: Object) -> Mapping[str, Any] | None:
    """The condition that may go stale: not on a pod that is ending, nor when its kubelet ends it."""
    if is_deleting(pod) or is_terminal(pod):
        return None
    found = pod_condition(pod, "DisruptionTarget")
    if found is None or found.get("status") != "True" or found.get("reason") == TERMINATION_BY_KUBELET:
        return None
    return found


def _budgets_of(pod: Object, view: View) -> list[Object]:
    namespace = pod["metadata"]["namespace"]
    labels = labels_of(pod)
    return [found for found in view.list(POD_DISRUPTION_BUDGETS, namespace) if selector_of(found).matches(labels)]


def _relevant(pod: Object) -> tuple[Any, ...]:
    owner = controller_of(pod)
    return is_ready(pod), is_deleting(pod), labels_of(pod), owner and owner["uid"]


def _keys_of_pod(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    keys: dict[str, None] = {}
    if old is None or new is None or _relevant(old) != _relevant(new):
        for pod in (old, new):
            if pod is None or not view.count(POD_DISRUPTION_BUDGETS, pod["metadata"]["namespace"]):
                continue
            budgets = _budgets_of(pod, view)
            keys.update({f"{one['metadata']['namespace']}/{one['metadata']['name']}": None for one in budgets})
            if len(budgets) > 1 and new is not None:
                keys[f"{_POD_KEY}{pod['metadata']['namespace']}/{pod['metadata']['name']}"] = None
    if new is not None and _disruption_target(new) is not None:
        keys[f"{_POD_KEY}{new['metadata']['namespace']}/{new['metadata']['name']}"] = None
    return keys


def _event(budget: Object, kind: Any, reason: str, message: str) -> Emit:
    return Emit(object_reference(budget, "policy/v1", "PodDisruptionBudget"), kind, reason, message)


def _write(budget: Object, status: Mapping[str, Any], state: str, reason: str, message: str, now: float) -> Steps:
    conditions = set_meta_condition(
        status.get("conditions") or [],
        "DisruptionAllowed",
        state,
        reason,
        message,
        now,
        int(status.get("observedGeneration") or 0),
    )
    wanted = {**status, "conditions": conditions}
    if wanted == (budget.get("status") or {}):
        return
    made = {**budget, "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "status": wanted}
    yield Update(POD_DISRUPTION_BUDGETS, made, "status")
