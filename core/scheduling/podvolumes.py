"""The claims that a pod uses, and what is assumed of claims and volumes until the cluster shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cybernetes.core.objects import Gvr, Object, labels_of, name_of, namespace_of, uid_of
from cybernetes.core.scheduling.cluster import Cluster


class PodClaim(NamedTuple):
    """``is_ephemeral``: made for the pod, from the template in its volume."""

    name: str
    is_ephemeral: bool


def claims_of(pod: Object) -> Iterator[PodClaim]:
    """In the order of the pod's volumes."""
    for volume in pod["spec"].get("volumes") or ():
        source = volume.get("persistentVolumeClaim")
        if source is not None:
            yield PodClaim(source.get("claimName") or "", False)
        elif volume.get("ephemeral") is not None:
            yield PodClaim(f"{name_of(pod)}-{volume['name']}", True)


def uses_claim(pod: Object, claim: Object) -> bool:
    return namespace_of(pod) == namespace_of(claim) and any(c.name == name_of(claim) for c in claims_of(pod))


def not_owned(pod: Object, claim: Object) -> str:
    """Why an ephemeral volume's claim is not the pod's; empty when it is."""
    owners = claim["metadata"].get("ownerReferences") or ()
    if any(owner.get("controller") and owner.get("uid") == uid_of(pod) for owner in owners):
        return ""
    of_claim, of_pod = (f"{namespace_of(obj)}/{name_of(obj)}" for obj in (claim, pod))
    return f"PVC {of_claim} was not created for pod {of_pod} (pod is not owner)"


class Assumptions:
    """Objects of one kind as they will be once what was decided is written.

    An assumption holds as long as the cluster shows the object that it was based on.
    """

    def __init__(self, cluster: Cluster, gvr: Gvr) -> None:
        self._cluster = cluster
        self._gvr = gvr
        self._assumed: dict[tuple[str, str], tuple[Object, Object]] = {}

    def get(self, namespace: str, name: str) -> Object | None:
        seen = self._cluster.get(self._gvr, namespace, name)
        return seen if seen is None or not self._assumed else self.current(seen)

    def current(self, seen: Object) -> Object:
        """What is assumed of an object that the cluster shows."""
        key = (namespace_of(seen), name_of(seen))
        assumed = self._assumed.get(key)
        if assumed is None:
            return seen
        base, changed = assumed
        if base is seen:
            return changed
        del self._assumed[key]
        return seen

    def assume(self, changed: Object) -> None:
        """From now on this is what the object is like. It must be one that the cluster shows."""
        key = (namespace_of(changed), name_of(changed))
        seen = self._cluster.get(self._gvr, *key)
        if seen is not None:
            self._assumed[key] = (seen, changed)

    def forget(self, namespace: str, name: str) -> None:
        self._assumed.pop((namespace, name), None)


def zone_values(volume: Object, key: str) -> frozenset[str] | None:
    """The zones that a volume's label names (several are joined by ``__``); None: it has no such label."""
    text = labels_of(volume).get(key)
    if text is None:
        return None
    values = frozenset(part.strip() for part in text.split("__"))
    return None if "" in values else values
