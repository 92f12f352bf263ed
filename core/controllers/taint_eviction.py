"""NoExecute taints: pods that do not tolerate one leave the node, those that do for a while leave after it.

A key is a pod. The time that a toleration allows counts from when the taint was added (its timeAdded, or when it was
first seen), or from the pod's creation if that is later; so a restart does not begin to count anew. Of several
tolerations the shortest counts. Upstream: pkg/controller/tainteviction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.controllers import conditions
from cybernetes.core.controllers.interface import Again, Delete, Emit, Patch, Steps, View, Watch
from cybernetes.core.controllers.node_health import taint_key
from cybernetes.core.controllers.pods import created_at, is_terminal, node_of, time_of
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import NODES, PODS, Object, is_deleting, key_of, split_key, uid_of
from cybernetes.core.scheduling.taints import Taint, tolerates


def execute_taints(node: Object) -> list[Mapping[str, Any]]:
    return [taint for taint in (node.get("spec") or {}).get("taints") or () if taint.get("effect") == "NoExecute"]


class TaintEviction:
    name = "taint-eviction-controller"
    service_account = "node-controller"
    workers = 8

    def __init__(self) -> None:
        #: Tainted nodes, and when each of their taints was first seen.
        self._tainted: dict[str, dict[tuple[str, str], float]] = {}
        #: Pods (by uid) whose eviction has been scheduled.
        self._scheduled: dict[str, None] = {}
        self.watches = (Watch(NODES, self._keys_of_node), Watch(PODS, self._keys_of_pod))

    def _keys_of_node(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        node = new if new is not None else old
        assert node is not None
        name = node["metadata"]["name"]
        taints = execute_taints(new) if new is not None else []
        known = self._tainted.get(name, {})
        seen = {taint_key(taint): known.get(taint_key(taint), view.now) for taint in taints}
        if seen.keys() == known.keys():
            return ()
        if seen:
            self._tainted[name] = seen
        else:
            self._tainted.pop(name, None)
        return [key_of(pod) for pod in view.by_index(PODS, "node", name)]

    def _keys_of_pod(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        if new is None:
            if old is not None:
                self._scheduled.pop(uid_of(old), None)
            return ()
        return (key_of(new),) if node_of(new) in self._tainted else ()

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        namespace, name = split_key(key)
        pod = view.get(PODS, namespace, name)
        if pod is None or is_deleting(pod) or is_terminal(pod) or not node_of(pod):
            return
        node = view.get(NODES, "", node_of(pod))
        taints = execute_taints(node) if node is not None else []
        due_s = self._due(pod, taints, now)
        reference = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": uid_of(pod)}
        if due_s is None:
            if self._scheduled.pop(uid_of(pod), "none") is None:
                yield Emit(reference, "Normal", "TaintManagerEviction", f"Cancelling deletion of Pod {key}")
            return
        if due_s > now:
            self._scheduled[uid_of(pod)] = None
            yield Again(due_s - now)
            return
        self._scheduled.pop(uid_of(pod), None)
        yield Emit(reference, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
        try:
            yield disruption_target(
                pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", now
            )
        except ApiError as error:
            if is_not_found(error):
                return
            raise
        yield Delete(PODS, name, namespace, uid_of(pod))

    def _due(self, pod: Object, taints: Sequence[Mapping[str, Any]], now: float) -> float | None:
        """When the pod has to go; None for never."""
        due_s: float | None = None
        seen = self._tainted.get(node_of(pod), {})
        born_s = created_at(pod) or now
        for taint in taints:
            matching = [one for one in (pod["spec"].get("tolerations") or ()) if tolerates(one, Taint.of(taint))]
            if not matching:
                return now
            limits = [int(one["tolerationSeconds"]) for one in matching if one.get("tolerationSeconds") is not None]
            if not limits:
                continue
            added_s = time_of(taint, "timeAdded") or seen.get(taint_key(taint), now)
            until_s = max(added_s, born_s) + max(0, min(limits))
            due_s = until_s if due_s is None else min(due_s, until_s)
        return due_s


def disruption_target(pod: Object, reason: str, message: str, now: float) -> Patch:
    """Say in the pod's conditions why it is disrupted; Jobs tell that from a failure of its own."""
    metadata = pod["metadata"]
    found = (pod.get("status") or {}).get("conditions") or []
    made = conditions.set_meta_condition(
        found, "DisruptionTarget", "True", reason, message, now, metadata.get("generation")
    )
    precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    patch = {"metadata": precondition, "status": {"conditions": made}}
    return Patch(PODS, metadata["name"], patch, metadata["namespace"], subresource="status")
