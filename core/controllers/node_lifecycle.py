"""Nodes that fall silent: told by their Lease, marked Unknown, tainted, zone by zone at a bounded rate.

Keys are node names, and ``zone NAME`` for a zone's eviction queue (no node's name has a space).

    Lease renewed or Ready posted    noted, with the time of seeing it; no work
    nothing for 50 s                 conditions Unknown, pods on it not ready, NoSchedule taint, queued in its zone
    its turn in the zone             NoExecute taint: the taint-eviction controller does the rest
    heard of again                   taints removed, out of the queue

A node is looked at when it changes and when its grace would end, so a quiet cluster costs one look a node and grace
period. What is remembered is only when a node was last heard of and who waits in which zone: after a restart every node
gets a whole grace period, as upstream.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cybernetes.core.clock import format_time
from cybernetes.core.controllers import node_health as health
from cybernetes.core.controllers.interface import Again, Emit, Patch, Settings, Steps, View, Watch, own_key
from cybernetes.core.controllers.pods import created_at, node_of
from cybernetes.core.errors import ApiError, is_conflict, is_not_found
from cybernetes.core.objects import LEASES, NODES, PODS, Object

LEASE_NAMESPACE = "kube-node-lease"
_ZONE = "zone "


class _Node:
    """What is remembered of one node."""

    __slots__ = ("heard_s", "heartbeat", "is_excluded", "ready", "renewal", "uid", "zone")

    def __init__(self, uid: str, heard_s: float) -> None:
        self.uid = uid
        self.heard_s = heard_s
        self.heartbeat = ""
        self.renewal = ""
        self.ready = ""
        self.zone = ""
        self.is_excluded = False


class NodeLifecycle:
    name = "node-lifecycle-controller"
    service_account = "node-controller"
    workers = 8

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        #: How long a node may be silent.
        self.grace_s = settings.node_monitor_grace_period_s
        self._nodes: dict[str, _Node] = {}
        #: zone -> the nodes that wait for their NoExecute taint, in order.
        self._waiting: dict[str, dict[str, None]] = {}
        self._last_taint_s: dict[str, float] = {}
        self._was_dark = False
        self.watches = (
            Watch(NODES, own_key),
            Watch(LEASES, self._note_lease),
            Watch(PODS, self._keys_of_pod),
        )

    def _note_lease(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        """A renewal is only noted, except when it ends a silence that has been acted on."""
        if new is None or new["metadata"].get("namespace") != LEASE_NAMESPACE:
            return ()
        name = new["metadata"]["name"]
        known = self._nodes.get(name)
        renewal = (new.get("spec") or {}).get("renewTime") or ""
        if known is not None and renewal > known.renewal:
            known.renewal = renewal
            known.heard_s = view.now
        return ()

    def _keys_of_pod(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        """A pod that is bound to a node that has been given up is not ready either."""
        if new is None or not node_of(new) or (old is not None and node_of(old) == node_of(new)):
            return ()
        known = self._nodes.get(node_of(new))
        return (node_of(new),) if known is not None and known.ready == "Unknown" else ()

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        if key.startswith(_ZONE):
            yield from self._drain(key.removeprefix(_ZONE), view, now)
            return
        node = view.get(NODES, "", key)
        if node is None:
            yield from self._forget(key, now)
            return
        known = self._nodes.get(key)
        if known is None or known.uid != node["metadata"]["uid"]:
            known = self._first_seen(node, view, now)
            yield _event(node, "RegisteredNode", f"Node {key} event: Registered Node {key} in Controller")
        self._note(known, node, now)
        due_s = known.heard_s + self._grace_s(node)
        if now >= due_s and known.ready != "Unknown":
            was_ready = known.ready == "True"
            node = yield from self._give_up(node, now)
            known.ready = "Unknown"
            if was_ready:
                yield _event(node, "NodeNotReady", f"Node {key} status is now: NodeNotReady")
        elif known.ready != "Unknown":
            yield Again(due_s - now)
        dark_before, self._was_dark = self._was_dark, self._is_dark()
        if known.ready == "Unknown":
            yield from self._mark_pods(key, view, now)
        yield from self._taint(key, node, known, now)
        if dark_before != self._was_dark:
            yield from self._changed_darkness(now)

    # Observation.

    def _first_seen(self, node: Object, view: View, now: float) -> _Node:
        name = node["metadata"]["name"]
        created_s = created_at(node)
        heard_s = now if health.ready_condition(node) is not None or created_s is None else created_s
        known = self._nodes[name] = _Node(node["metadata"]["uid"], heard_s)
        lease = view.get(LEASES, LEASE_NAMESPACE, name)
        if lease is not None:
            known.renewal = (lease.get("spec") or {}).get("renewTime") or ""
            known.heard_s = now
        return known

    def _note(self, known: _Node, node: Object, now: float) -> None:
        condition = health.ready_condition(node)
        heartbeat = str((condition or {}).get("lastHeartbeatTime") or "")
        if condition is not None and heartbeat != known.heartbeat:
            known.heartbeat = heartbeat
            if condition.get("status") != "Unknown":  # we wrote that ourselves
                known.heard_s = now
        known.ready = health.ready_status(node)
        known.is_excluded = health.EXCLUDED in (node["metadata"].get("labels") or {})
        zone = health.zone_of(node)
        if zone != known.zone:
            self._waiting.get(known.zone, {}).pop(node["metadata"]["name"], None)
            known.zone = zone

    def _grace_s(self, node: Object) -> float:
        if health.ready_condition(node) is None:
            return self._settings.node_startup_grace_period_s
        return self.grace_s

    def _forget(self, name: str, now: float) -> Steps:
        known = self._nodes.pop(name, None)
        if known is None:
            return
        self._waiting.get(known.zone, {}).pop(name, None)
        reference = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": known.uid, "namespace": ""}
        message = f"Node {name} event: Removing Node {name} from Controller"
        yield Emit(reference, "Normal", "RemovingNode", message)

    # A node that has fallen silent.

    def _give_up(self, node: Object, now: float) -> Any:
        patch = {
            "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
            "status": {"conditions": health.unknown_conditions(node, now)},
        }
        return (yield Patch(NODES, node["metadata"]["name"], patch, subresource="status"))

    def _mark_pods(self, node_name: str, view: View, now: float) -> Steps:
        """Its pods are no longer ready, whatever their last status says: Services must not send to them."""
        for pod in health.not_ready_pods(view.by_index(PODS, "node", node_name)):
            found = [
                {**condition, "status": "False", "lastTransitionTime": format_time(now)}
                if condition.get("type") == "Ready"
                else condition
                for condition in pod["status"]["conditions"]
            ]
            metadata = pod["metadata"]
            precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
            patch = {"metadata": precondition, "status": {"conditions": found}}
            try:
                yield Patch(PODS, metadata["name"], patch, metadata["namespace"], subresource="status")
            except ApiError as error:
                if is_not_found(error):
                    continue
                raise
            reference = {"apiVersion": "v1", "kind": "Pod"} | {
                name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")
            }
            yield Emit(reference, "Warning", "NodeNotReady", "Node is not ready")

    def _taint(self, name: str, node: Object, known: _Node, now: float) -> Steps:
        wanted = health.TAINT_OF["Ready"].get(known.ready)
        has_execute = any(health.has_taint(node, key, "NoExecute") for key in (health.NOT_READY, health.UNREACHABLE))
        execute = wanted if has_execute and not self._was_dark else None
        queue = self._waiting.setdefault(known.zone, {})
        if wanted is None or self._was_dark or has_execute:
            queue.pop(name, None)
        elif name not in queue:
            queue[name] = None
            yield Again(0.0, _ZONE + known.zone)
        yield from self._write(node, execute, now)

    def _write(self, node: Object, execute: str | None, now: float) -> Steps:
        taints = health.wanted_taints(node, execute, now)
        labels = health.stale_labels(node)
        patch: dict[str, Any] = {}
        if taints != ((node.get("spec") or {}).get("taints") or []):
            patch["spec"] = {"taints": taints or None}
        if labels:
            patch.setdefault("metadata", {})["labels"] = labels
        if patch:
            patch.setdefault("metadata", {})["resourceVersion"] = node["metadata"]["resourceVersion"]
            yield Patch(NODES, node["metadata"]["name"], patch)

    # Zones.

    def _count(self, zone: str) -> tuple[int, int]:
        counted = [known for known in self._nodes.values() if known.zone == zone and not known.is_excluded]
        ready = sum(known.ready == "True" for known in counted)
        return ready, len(counted) - ready

    def _is_dark(self) -> bool:
        """No node anywhere is ready: more likely we are cut off than all of them. Nothing is evicted."""
        counted = [known for known in self._nodes.values() if not known.is_excluded]
        return bool(counted) and not any(known.ready == "True" for known in counted)

    def _changed_darkness(self, now: float) -> Steps:
        """Entering: every NoExecute taint is taken back. Leaving: every node gets a new grace period."""
        for name, known in list(self._nodes.items()):
            if not self._was_dark:
                known.heard_s = max(known.heard_s, now)
            yield Again(0.0, name)

    def _drain(self, zone: str, view: View, now: float) -> Steps:
        """Give the next node of the zone its NoExecute taint, if the rate allows."""
        queue = self._waiting.get(zone)
        if not queue or self._was_dark:
            return
        ready, not_ready = self._count(zone)
        state = health.zone_state(ready, not_ready, self._settings.unhealthy_zone_threshold)
        rate = health.eviction_rate(state, ready + not_ready, self._settings)
        if rate <= 0:
            # Looked at again when a node of the zone changes, and now and then.
            yield Again(self.grace_s, _ZONE + zone)
            return
        wait_s = self._last_taint_s.get(zone, float("-inf")) + 1.0 / rate - now
        if wait_s > 0:
            yield Again(wait_s, _ZONE + zone)
            return
        name = next(iter(queue))
        node = view.get(NODES, "", name)
        wanted = health.TAINT_OF["Ready"].get(health.ready_status(node)) if node is not None else None
        if node is not None and wanted is not None:
            self._last_taint_s[zone] = now
            try:
                yield from self._write(node, wanted, now)
            except ApiError as error:
                if not (is_conflict(error) or is_not_found(error)):
                    raise
                yield Again(1.0, _ZONE + zone)
                return
        queue.pop(name, None)
        if queue:
            yield Again(1.0 / rate, _ZONE + zone)


def _event(node: Object, reason: str, message: str) -> Emit:
    metadata = node["metadata"]
    # Upstream gives an event of a node the node's name as uid when it has none better; kubectl finds it by either.
    reference = {"apiVersion": "v1", "kind": "Node", "name": metadata["name"], "uid": metadata["uid"]}
    return Emit(reference, "Normal", reason, message)
