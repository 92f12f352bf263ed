"""Garbage collection: what is owned goes with its owners, in the background, the foreground, or not at all.

    an owner is deleted      dependents
    Background               the owner goes at once; each dependent that is left without any owner is deleted
    Foreground               the owner stays, with finalizer foregroundDeletion, until every dependent that blocks it
                             (blockOwnerDeletion) has gone; dependents are deleted in the foreground too
    Orphan                   the owner stays, with finalizer orphan, until no dependent names it any more

Rules:

1. Only metadata is observed, of every resource that can be listed and deleted (events aside).
2. Nothing is deleted because an owner is not in the view: an owner that was never seen is asked of the server, under
   the coordinates of the reference, and must have the uid. Only a deletion that was observed needs no asking.
3. Every deletion and patch carries uid and resourceVersion, so it acts on what was decided on, or not at all.
4. An owner in another namespace does not exist for its dependent; a namespaced owner of a cluster object is invalid.
   In the first case the dependent is collected, in the second left alone; both are told in an event.

Upstream: pkg/controller/garbagecollector; "Garbage Collection" in the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Literal

from cybernetes.core.controllers.interface import Action, Again, Delete, Emit, Get, Patch, Settings, Steps, View, Watch
from cybernetes.core.controllers.owner_graph import FOREGROUND, ORPHAN, OwnerGraph, deletion_policy
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import Gvr, Object, is_deleting, key_of, split_key, uid_of

_IGNORED = frozenset({("", "events"), ("events.k8s.io", "events")})
#: When to look again at an object whose owner is of a kind that nobody serves.
_UNKNOWN_KIND_S = 300.0

Verdict = Literal["solid", "dangling", "waiting", "invalid", "unknown"]


def gc_key(gvr: Gvr, key: str) -> str:
    return f"{gvr.group}|{gvr.version}|{gvr.resource}|{key}"


class GarbageCollector:
    name = "garbage-collector-controller"
    service_account = "generic-garbage-collector"
    workers = 20

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.graph = OwnerGraph()

    @property
    def watches(self) -> Sequence[Watch]:
        return [
            Watch(gvr, self._observer(gvr), metadata_only=True)
            for gvr, _, _ in self._settings.resources()
            if (gvr.group, gvr.resource) not in _IGNORED
        ]

    def _observer(self, gvr: Gvr) -> Any:
        def observe(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
            return self._observe(gvr, old, new)

        return observe

    def _observe(self, gvr: Gvr, old: Object | None, new: Object | None) -> Iterable[str]:
        graph = self.graph
        if new is None:
            assert old is not None
            uid = uid_of(old)
            node = graph.nodes.get(uid)
            dependents = [gc_key(dependent.gvr, dependent.key) for _, dependent in graph.dependents(uid)]
            owners = node.owners if node is not None else ()
            graph.remove(uid)
            return [*dependents, *self._waiting_owners(owners)]
        node = graph.nodes.get(uid_of(new))
        owners_before = node.owners if node is not None else ()
        node, is_changed = graph.put(gvr, new)
        if not is_changed:
            return ()
        keys = self._waiting_owners([*owners_before, *node.owners])
        if node.policy or any(self._is_questionable(owner, node.namespace) for owner in node.owners):
            keys.append(gc_key(gvr, key_of(new)))
        return keys

    def _is_questionable(self, owner: str, namespace: str) -> bool:
        """Whether an owner might not be a solid one: unknown, elsewhere, or waiting for its dependents to go."""
        node = self.graph.nodes.get(owner)
        return node is None or node.policy == FOREGROUND or node.namespace not in ("", namespace)

    def _waiting_owners(self, owners: Iterable[str]) -> list[str]:
        nodes = (self.graph.nodes.get(owner) for owner in owners)
        return [gc_key(node.gvr, node.key) for node in nodes if node is not None and node.policy == FOREGROUND]

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        group, version, resource, object_key = key.split("|", 3)
        gvr = Gvr(group, version, resource)
        namespace, name = split_key(object_key)
        try:
            obj = view.get(gvr, namespace, name)
        except LookupError:
            return  # the resource is no longer served
        if obj is None:
            return
        policy = deletion_policy(obj)
        if policy == ORPHAN:
            yield from self._orphan(gvr, obj, view)
        elif policy == FOREGROUND:
            yield from self._foreground(gvr, obj)
        elif not is_deleting(obj):
            yield from self._collect(gvr, obj)

    # The owner's side.

    def _orphan(self, gvr: Gvr, owner: Object, view: View) -> Steps:
        uid = uid_of(owner)
        for _, node in list(self.graph.dependents(uid)):
            dependent = view.get(node.gvr, *split_key(node.key))
            if dependent is not None:
                yield from _drop_references(node.gvr, dependent, {uid})
        yield from _drop_finalizer(gvr, owner, ORPHAN)

    def _foreground(self, gvr: Gvr, owner: Object) -> Steps:
        uid = uid_of(owner)
        is_blocked = False
        for _, node in list(self.graph.dependents(uid)):
            is_blocked |= uid in node.blocks
            yield Again(0.0, gc_key(node.gvr, node.key))
        if not is_blocked:
            yield from _drop_finalizer(gvr, owner, FOREGROUND)

    # The dependent's side.

    def _collect(self, gvr: Gvr, obj: Object) -> Steps:
        references = obj["metadata"].get("ownerReferences") or ()
        if not references:
            return
        verdicts: dict[str, Verdict] = {}
        for reference in references:
            verdicts[reference["uid"]] = yield from self._judge(gvr, obj, reference)
        if "unknown" in verdicts.values():
            yield Again(_UNKNOWN_KIND_S)
            return
        if "invalid" in verdicts.values():
            return
        lost = {uid for uid, verdict in verdicts.items() if verdict != "solid"}
        if not lost:
            return
        if len(lost) < len(verdicts):
            yield from _drop_references(gvr, obj, lost)
            return
        propagation = "Background"
        own_finalizers = obj["metadata"].get("finalizers") or ()
        dependents = [node for _, node in self.graph.dependents(uid_of(obj))]
        if "waiting" in verdicts.values() and dependents:
            if any(node.policy == FOREGROUND for node in dependents):
                # A cycle of objects that wait for each other: no longer hold up our owners.
                yield from _unblock(gvr, obj)
                return
            propagation = "Foreground"
        elif ORPHAN in own_finalizers:
            propagation = "Orphan"
        elif FOREGROUND in own_finalizers:
            propagation = "Foreground"
        metadata = obj["metadata"]
        yield Delete(
            gvr,
            metadata["name"],
            metadata.get("namespace", ""),
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            propagation=propagation,
        )

    def _judge(self, gvr: Gvr, obj: Object, reference: Mapping[str, Any]) -> Generator[Action, Any, Verdict]:
        uid = reference["uid"]
        namespace = obj["metadata"].get("namespace", "")
        node = self.graph.nodes.get(uid)
        if node is not None and node.namespace in ("", namespace):
            return "waiting" if node.policy == FOREGROUND else "solid"
        if node is not None:
            yield self._invalid_namespace(gvr, obj, reference)
            if not namespace:
                return "invalid"
        elif self.graph.is_known_gone(uid):
            return "dangling"
        found = self._resource_of(reference)
        if found is None:
            return "unknown"
        owner_gvr, is_namespaced = found
        if is_namespaced and not namespace:
            yield self._invalid_namespace(gvr, obj, reference)
            return "invalid"
        try:
            owner = yield Get(owner_gvr, reference["name"], namespace if is_namespaced else "")
        except ApiError as error:
            if not is_not_found(error):
                raise
            owner = None
        if owner is None or uid_of(owner) != uid:
            if node is None:
                self.graph.note_gone(uid)
            return "dangling"
        return "waiting" if deletion_policy(owner) == FOREGROUND else "solid"

    def _resource_of(self, reference: Mapping[str, Any]) -> tuple[Gvr, bool] | None:
        group, _, _ = str(reference["apiVersion"]).rpartition("/")
        for gvr, kind, is_namespaced in self._settings.resources():
            if kind == reference["kind"] and gvr.group == group:
                return gvr, is_namespaced
        return None

    def _invalid_namespace(self, gvr: Gvr, obj: Object, reference: Mapping[str, Any]) -> Emit:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        kind = next((kind for other, kind, _ in self._settings.resources() if other == gvr), "")
        involved = {"apiVersion": gvr.api_version, "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}
        if namespace:
            involved["namespace"] = namespace
        kind_of_owner = f"{reference['apiVersion']}/{reference['kind']}"
        owner = f"[{kind_of_owner}, namespace: {namespace}, name: {reference['name']}, uid: {reference['uid']}]"
        message = f'ownerRef {owner} does not exist in namespace "{namespace}"'
        return Emit(involved, "Warning", "OwnerRefInvalidNamespace", message)


def _patch(gvr: Gvr, obj: Object, changes: Mapping[str, Any]) -> Patch:
    metadata = obj["metadata"]
    precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    return Patch(gvr, metadata["name"], {"metadata": {**precondition, **changes}}, metadata.get("namespace", ""))


def _drop_references(gvr: Gvr, obj: Object, uids: Iterable[str]) -> Steps:
    references = obj["metadata"].get("ownerReferences") or ()
    lost = set(uids)
    kept = [reference for reference in references if reference["uid"] not in lost]
    if len(kept) == len(references):
        return
    try:
        yield _patch(gvr, obj, {"ownerReferences": kept or None})
    except ApiError as error:
        if not is_not_found(error):
            raise


def _drop_finalizer(gvr: Gvr, obj: Object, finalizer: str) -> Steps:
    kept = [name for name in obj["metadata"].get("finalizers") or () if name != finalizer]
    try:
        yield _patch(gvr, obj, {"finalizers": kept or None})
    except ApiError as error:
        if not is_not_found(error):
            raise


def _unblock(gvr: Gvr, obj: Object) -> Steps:
    references = obj["metadata"].get("ownerReferences") or ()
    changed = [
        {**reference, "blockOwnerDeletion": False} if reference.get("blockOwnerDeletion") else reference
        for reference in references
    ]
    if changed != list(references):
        yield _patch(gvr, obj, {"ownerReferences": changed})
