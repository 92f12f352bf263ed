"""How long kubelets may use what they have read of ConfigMaps and Secrets, written on each node by cluster size.

Annotation ``node.alpha.kubernetes.io/ttl``, in seconds. The bounds overlap, so that a cluster at one of them does not
change back and forth. A node is told with its next heartbeat. Upstream: pkg/controller/ttl.
"""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.controllers.interface import Patch, Steps, View, Watch
from cybernetes.core.objects import NODES, Object, annotations_of

ANNOTATION = "node.alpha.kubernetes.io/ttl"
#: (fewest nodes, most nodes, seconds)
BOUNDS = ((0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, 2**31, 300))


class NodeTtl:
    name = "ttl-controller"
    service_account = "ttl-controller"
    workers = 5

    def __init__(self) -> None:
        self.watches = (Watch(NODES, self._keys),)
        self._step = 0

    def _wanted(self, view: View) -> str:
        count = view.count(NODES, "")
        while count > BOUNDS[self._step][1]:
            self._step += 1
        while count < BOUNDS[self._step][0]:
            self._step -= 1
        return str(BOUNDS[self._step][2])

    def _keys(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        if new is None or annotations_of(new).get(ANNOTATION) == self._wanted(view):
            return ()
        return (new["metadata"]["name"],)

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        node = view.get(NODES, "", key)
        wanted = self._wanted(view)
        if node is None or annotations_of(node).get(ANNOTATION) == wanted:
            return
        yield Patch(NODES, key, {"metadata": {"uid": node["metadata"]["uid"], "annotations": {ANNOTATION: wanted}}})
