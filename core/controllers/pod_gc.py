"""Pods that nobody will clean up otherwise.

    key                  what
    pod ns/name          it is being deleted and was never bound, or its node is out of service: no kubelet will end it
    node NAME            pods on a node that does not exist, 40 s after that was noticed and asked of the server
    terminated           more than 12,500 finished pods: the oldest, evicted ones first

Each is marked Failed before it goes, if it has not finished. Upstream looks through all pods every 20 s; here a change
says which to look at. Upstream: pkg/controller/podgc.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cybernetes.core.controllers import conditions
from cybernetes.core.controllers.interface import Again, Delete, Get, Patch, Steps, View, Watch
from cybernetes.core.controllers.node_health import OUT_OF_SERVICE, ready_status
from cybernetes.core.controllers.pods import is_terminal, node_of
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import NODES, PODS, Object, is_deleting, key_of, split_key, uid_of

QUARANTINE_S = 40.0
_POD, _NODE, _TERMINATED = "pod ", "node ", "terminated"


class PodGarbageCollector:
    name = "pod-garbage-collector-controller"
    service_account = "pod-garbage-collector"
    workers = 4

    def __init__(self, terminated_max: int = 12500) -> None:
        self._terminated_max = terminated_max
        #: Nodes that are missing, and since when.
        self._missing: dict[str, float] = {}
        self.watches = (Watch(PODS, self._keys_of_pod), Watch(NODES, self._keys_of_node))

    def _keys_of_pod(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        if new is None:
            return ()
        keys = []
        if is_deleting(new) and (old is None or not is_deleting(old)):
            keys.append(_POD + key_of(new))
        if self._terminated_max > 0 and is_terminal(new) and (old is None or not is_terminal(old)):
            keys.append(_TERMINATED)
        name = node_of(new)
        if name and (old is None or node_of(old) != name) and view.get(NODES, "", name) is None:
            keys.append(_NODE + name)
        return keys

    def _keys_of_node(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        if new is None:
            return (_NODE + old["metadata"]["name"],) if old is not None else ()
        name = new["metadata"]["name"]
        self._missing.pop(name, None)
        if not _is_out_of_service(new) or (old is not None and _is_out_of_service(old)):
            return ()
        return [_POD + key_of(pod) for pod in view.by_index(PODS, "node", name) if is_deleting(pod)]

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        if key == _TERMINATED:
            yield from self._terminated(view, now)
        elif key.startswith(_NODE):
            yield from self._orphaned(key.removeprefix(_NODE), view, now)
        else:
            namespace, name = split_key(key.removeprefix(_POD))
            pod = view.get(PODS, namespace, name)
            if pod is None or not is_deleting(pod):
                return
            node = view.get(NODES, "", node_of(pod)) if node_of(pod) else None
            if not node_of(pod) or (node is not None and _is_out_of_service(node)):
                yield from _remove(pod, now)

    def _terminated(self, view: View, now: float) -> Steps:
        pods = [*view.by_index(PODS, "phase", "Succeeded"), *view.by_index(PODS, "phase", "Failed")]
        excess = len(pods) - self._terminated_max
        if self._terminated_max <= 0 or excess <= 0:
            return
        pods.sort(key=_collection_order)
        for pod in pods[:excess]:
            yield from _remove(pod, now)

    def _orphaned(self, name: str, view: View, now: float) -> Steps:
        if view.get(NODES, "", name) is not None or not view.by_index(PODS, "node", name):
            self._missing.pop(name, None)
            return
        since_s = self._missing.setdefault(name, now)
        if now < since_s + QUARANTINE_S:
            yield Again(since_s + QUARANTINE_S - now)
            return
        try:
            yield Get(NODES, name)
            return  # it exists; our view will tell
        except ApiError as error:
            if not is_not_found(error):
                raise
        for pod in view.by_index(PODS, "node", name):
            yield from _remove(pod, now, "PodGC: node no longer exists")
        self._missing.pop(name, None)


def _is_out_of_service(node: Object) -> bool:
    """Somebody says that the node is gone for good, and it is not ready."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return ready_status(node) != "True" and any(taint.get("key") == OUT_OF_SERVICE for taint in taints)


def _collection_order(pod: Object) -> tuple[bool, str, str]:
    status = pod.get("status") or {}
    is_evicted = status.get("phase") == "Failed" and status.get("reason") == "Evicted"
    metadata = pod["metadata"]
    return not is_evicted, metadata.get("creationTimestamp") or "", metadata["name"]


def _remove(pod: Object, now: float, why: str = "") -> Steps:
    """Mark the pod as failed if it has not finished, then delete it without grace."""
    metadata = pod["metadata"]
    if not is_terminal(pod):
        status: dict[str, Any] = {"phase": "Failed"}
        if why:
            found = (pod.get("status") or {}).get("conditions") or []
            generation = metadata.get("generation")
            status["conditions"] = conditions.set_meta_condition(
                found, "DisruptionTarget", "True", "DeletionByPodGC", why, now, generation
            )
        precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        patch = {"metadata": precondition, "status": status}
        try:
            yield Patch(PODS, metadata["name"], patch, metadata["namespace"], subresource="status")
        except ApiError as error:
            if is_not_found(error):
                return
            raise
    yield Delete(PODS, metadata["name"], metadata["namespace"], uid_of(pod), grace_period_s=0)
