"""Namespaces that are being deleted: everything in them goes, pods first, and then they do.

One pass: mark it Terminating; if there are pods, delete them and wait until none is left; delete all else; tell in five
conditions what remains and why; when nothing does, take our finalizer away (the ``finalize`` subresource). Passes are
repeated when the last pod has gone, and after a while. Lists are read from the server, not from the view: admission
refuses creations in a terminating namespace, so what a list does not show will not come.

Upstream: pkg/controller/namespace/deletion; KEP-5080 (ordered deletion).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from typing import Any

from cybernetes.core.controllers import conditions
from cybernetes.core.controllers.interface import (
    Action,
    Again,
    DeleteCollection,
    List,
    Settings,
    Steps,
    Update,
    View,
    Watch,
    own_key,
)
from cybernetes.core.controllers.pods import is_terminal, time_of
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import NAMESPACES, PODS, Gvr, Object, is_deleting

FINALIZER = "kubernetes"
#: How long something with a finalizer is thought to take.
_FINALIZER_ESTIMATE_S = 15
_PAGE = 500

#: condition -> (reason, message) when all is well
_FINE = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}


class _Remains:
    """What a pass found left over."""

    def __init__(self) -> None:
        self.counts: dict[Gvr, int] = {}
        self.finalizers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.estimate_s = 0

    def verdicts(self) -> dict[str, tuple[str, str, str]]:
        """condition -> (status, reason, message)"""
        result = {kind: ("False", *fine) for kind, fine in _FINE.items()}
        if self.failures:
            text = ", ".join(sorted(self.failures))
            message = f"Failed to delete all resource types, {len(self.failures)} remaining: {text}"
            result["NamespaceDeletionContentFailure"] = ("True", "ContentDeletionFailed", message)
        if self.counts:
            texts = sorted(
                f"{gvr.resource}.{gvr.group} has {count} resource instances" for gvr, count in self.counts.items()
            )
            message = f"Some resources are remaining: {', '.join(texts)}"
            result["NamespaceContentRemaining"] = ("True", "SomeResourcesRemain", message)
        if self.finalizers:
            texts = sorted(f"{name} in {count} resource instances" for name, count in self.finalizers.items())
            message = f"Some content in the namespace has finalizers remaining: {', '.join(texts)}"
            result["NamespaceFinalizersRemaining"] = ("True", "SomeFinalizersRemain", message)
        return result


class Namespaces:
    name = "namespace-controller"
    service_account = "namespace-controller"
    workers = 10

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.watches = (Watch(NAMESPACES, self._keys_of_namespace), Watch(PODS, self._keys_of_pod))

    @staticmethod
    def _keys_of_namespace(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        return own_key(old, new, view) if new is not None and is_deleting(new) else ()

    @staticmethod
    def _keys_of_pod(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        """The last pod has gone: on to the rest."""
        if new is not None or old is None or view.count(PODS, old["metadata"]["namespace"]):
            return ()
        namespace = view.get(NAMESPACES, "", old["metadata"]["namespace"])
        return (namespace["metadata"]["name"],) if namespace is not None and is_deleting(namespace) else ()

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        namespace = view.get(NAMESPACES, "", key)
        if namespace is None or not is_deleting(namespace):
            return
        finalizers = (namespace.get("spec") or {}).get("finalizers") or ()
        if FINALIZER not in finalizers:
            return
        namespace = {**namespace, "apiVersion": "v1", "kind": "Namespace"}
        if (namespace.get("status") or {}).get("phase") != "Terminating":
            status = {**(namespace.get("status") or {}), "phase": "Terminating"}
            namespace = yield Update(NAMESPACES, {**namespace, "status": status}, "status")
        deleted_s = time_of(namespace["metadata"], "deletionTimestamp") or now
        wait_s = deleted_s + self._settings.namespace_deletion_delay_s - now
        if 0 < wait_s <= self._settings.namespace_deletion_delay_s:
            yield Again(wait_s)
            return
        remains = _Remains()
        resources = [gvr for gvr, _, is_namespaced in self._settings.resources() if is_namespaced]
        if PODS in resources:
            yield from self._empty(PODS, key, deleted_s, now, remains)
        if PODS not in remains.counts:
            for gvr in resources:
                if gvr != PODS:
                    yield from self._empty(gvr, key, deleted_s, now, remains)
        namespace = yield from self._report(namespace, remains, now)
        if remains.counts or remains.failures:
            since_s = now - deleted_s
            yield Again(min(max(since_s / 2, 0.5), remains.estimate_s / 2 + 1))
            return
        spec = {**(namespace.get("spec") or {}), "finalizers": [name for name in finalizers if name != FINALIZER]}
        try:
            yield Update(NAMESPACES, {**namespace, "spec": spec}, "finalize")
        except ApiError as error:
            if not is_not_found(error):
                raise

    def _empty(self, gvr: Gvr, name: str, deleted_s: float, now: float, remains: _Remains) -> Steps:
        """Delete all of one resource and note what is left of it."""
        try:
            page = yield List(gvr, name, limit=1)
            if not page.items:
                return
            yield DeleteCollection(gvr, name, propagation="Background")
            left = yield from _list_all(gvr, name)
        except ApiError as error:
            if error.code in (404, 405):
                return  # the resource is no longer served
            remains.failures.append(str(error))
            return
        if not left:
            return
        remains.counts[gvr] = len(left)
        found = Counter(finalizer for obj in left for finalizer in obj["metadata"].get("finalizers") or ())
        remains.finalizers += found
        estimate_s = _grace_estimate(left) if gvr == PODS else 0
        if now - deleted_s >= estimate_s:
            estimate_s = 0
        if not estimate_s and not found:
            group_version = f"{gvr.group}/{gvr.version}, Resource={gvr.resource}"
            remains.failures.append(f"unexpected items still remain in namespace: {name} for gvr: {group_version}")
        remains.estimate_s = max(remains.estimate_s, estimate_s or _FINALIZER_ESTIMATE_S)

    def _report(self, namespace: Object, remains: _Remains, now: float) -> Generator[Action, Any, Object]:
        old = (namespace.get("status") or {}).get("conditions") or []
        found = list(old)
        for kind, (status, reason, message) in remains.verdicts().items():
            found = conditions.set_meta_condition(found, kind, status, reason, message, now)
        if found == old:
            return namespace
        changed = {**namespace, "status": {**(namespace.get("status") or {}), "conditions": found}}
        written: Object = yield Update(NAMESPACES, changed, "status")
        return {**written, "apiVersion": "v1", "kind": "Namespace"}


def _list_all(gvr: Gvr, namespace: str) -> Generator[Action, Any, Sequence[Object]]:
    found: list[Object] = []
    token = ""
    while True:
        page = yield List(gvr, namespace, limit=_PAGE, continue_token=token)
        found += page.items
        token = page.continue_token
        if not token:
            return found


def _grace_estimate(pods: Iterable[Object]) -> int:
    graces = [
        int((pod.get("spec") or {}).get("terminationGracePeriodSeconds") or 0) for pod in pods if not is_terminal(pod)
    ]
    return max(graces, default=0)
