"""What the pods of each node name: the relations by which a node may read a Secret and may not read another.

Everything leads to a node, and only so far is anything kept as it takes to answer in a few look-ups:

    node <- pod <- ServiceAccount, Secret, ConfigMap, claim, device claim     counted by object and node
    node <- pod <- claim <- volume <- Secret                                  two steps more, by name
    node <- attachment, slice                                                 the node itself

Mirror pods lead nowhere: a node makes them itself, and would give itself what they name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from cybernetes.core.auth.podreferences import claim_names, config_map_names, resource_claim_names, secret_names
from cybernetes.core.objects import PERSISTENT_VOLUMES, PODS, VOLUME_ATTACHMENTS, Gvr, Object

RESOURCE_SLICES = Gvr("resource.k8s.io", "v1", "resourceslices")

#: The collections to be told of.
GVRS = (PODS, PERSISTENT_VOLUMES, VOLUME_ATTACHMENTS, RESOURCE_SLICES)

_MIRROR = "kubernetes.io/config.mirror"
#: Sources of a volume whose Secret a node reads, in the namespace that they name or that of the claim.
_SECRET_SOURCES = ("cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")
_CSI_SECRETS = ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef")
#: These never had a namespace of their own to fall back to.
_EXPLICIT = frozenset({"cinder", "storageos"})

#: (resource, namespace, name)
_Key = tuple[str, str, str]


class _Named:
    """An object that pods name: how many pods of each node do. It need not exist."""

    __slots__ = ("key", "nodes")

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.nodes: dict[str, int] = {}


class _Pod(NamedTuple):
    #: What a pod's references depend on; the rest of its spec cannot change.
    version: tuple[Any, ...]
    node: str
    named: tuple[_Named, ...]


class _Volume(NamedTuple):
    claim: _Key
    secrets: tuple[_Key, ...]


class Graph:
    """Kept up to date by ``put`` and ``discard``."""

    def __init__(self) -> None:
        self._named: dict[_Key, _Named] = {}
        self._pods: dict[tuple[str, str], _Pod] = {}
        self._volumes: dict[str, _Volume] = {}
        #: Secret -> the volumes that need it.
        self._secrets: dict[_Key, set[str]] = {}
        #: Attachments and slices -> their node.
        self._direct: dict[tuple[str, str], str] = {}
        #: One string for each node's name.
        self._nodes: dict[str, str] = {}

    def put(self, gvr: Gvr, obj: Object) -> None:
        """An object of ``GVRS`` as it is now. Of ``obj`` nothing is kept but names. 2 µs for a known pod."""
        metadata = obj["metadata"]
        name = metadata["name"]
        if gvr == PODS:
            self._put_pod(metadata.get("namespace", ""), name, obj)
        elif gvr == PERSISTENT_VOLUMES:
            self._put_volume(name, obj.get("spec") or {})
        elif gvr in GVRS:
            node = (obj.get("spec") or {}).get("nodeName")
            if node:
                self._direct[gvr.resource, name] = self._nodes.setdefault(node, node)
            else:
                self._direct.pop((gvr.resource, name), None)
        else:
            raise ValueError(f"nodes are not related to {gvr.qualified}")

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        """An object is gone. Unknown ones are ignored."""
        if gvr == PODS:
            self._drop_pod((namespace, name))
        elif gvr == PERSISTENT_VOLUMES:
            self._drop_volume(name)
        else:
            self._direct.pop((gvr.resource, name), None)

    def replace(self, gvr: Gvr, objects: Iterable[Object]) -> None:
        """All objects of a collection as they are now: others are gone."""
        kept = set()
        for obj in objects:
            kept.add((obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
            self.put(gvr, obj)
        if gvr == PODS:
            known = list(self._pods)
        elif gvr == PERSISTENT_VOLUMES:
            known = [("", name) for name in self._volumes]
        else:
            known = [("", name) for resource, name in self._direct if resource == gvr.resource]
        for namespace, name in known:
            if (namespace, name) not in kept:
                self.discard(gvr, namespace, name)

    def leads_to(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether the object is one that ``node`` has to do with."""
        if resource == "pods":
            pod = self._pods.get((namespace, name))
            return pod is not None and pod.node == node
        if resource == "persistentvolumes":
            return self._volume_leads_to(node, name)
        if resource in ("volumeattachments", "resourceslices"):
            return self._direct.get((resource, name)) == node
        key = (resource, namespace, name)
        if self._is_named(node, key):
            return True
        return any(self._volume_leads_to(node, volume) for volume in self._secrets.get(key, ()))

    def _is_named(self, node: str, key: _Key) -> bool:
        named = self._named.get(key)
        return named is not None and node in named.nodes

    def _volume_leads_to(self, node: str, name: str) -> bool:
        volume = self._volumes.get(name)
        return volume is not None and self._is_named(node, volume.claim)

    def _put_pod(self, namespace: str, name: str, pod: Object) -> None:
        key = (namespace, name)
        known = self._pods.get(key)
        spec, status = pod.get("spec") or {}, pod.get("status") or {}
        node = spec.get("nodeName")
        if not node:
            if known is not None:
                self._drop_pod(key)
            return
        version = (
            pod["metadata"].get("uid"),
            len(spec.get("ephemeralContainers") or ()),
            _made(status) if spec.get("resourceClaims") or "extendedResourceClaimStatus" in status else None,
        )
        if known is not None:
            if known.version == version and known.node == node:
                return
            self._drop_pod(key)
        node = self._nodes.setdefault(node, node)
        named = []
        for reference in _references(namespace, name, pod):
            one = self._named.get(reference)
            if one is None:
                one = self._named[reference] = _Named(reference)
            one.nodes[node] = one.nodes.get(node, 0) + 1
            named.append(one)
        self._pods[key] = _Pod(version, node, tuple(named))

    def _drop_pod(self, key: tuple[str, str]) -> None:
        pod = self._pods.pop(key, None)
        if pod is None:
            return
        for one in pod.named:
            left = one.nodes[pod.node] - 1
            if left:
                one.nodes[pod.node] = left
                continue
            del one.nodes[pod.node]
            if not one.nodes:
                del self._named[one.key]

    def _put_volume(self, name: str, spec: Mapping[str, Any]) -> None:
        self._drop_volume(name)
        claim = spec.get("claimRef")
        if not claim:
            return
        home = claim.get("namespace", "")
        secrets = tuple({("secrets", *where) for where in _volume_secrets(spec, home)})
        self._volumes[name] = _Volume(("persistentvolumeclaims", home, claim.get("name", "")), secrets)
        for secret in secrets:
            self._secrets.setdefault(secret, set()).add(name)

    def _drop_volume(self, name: str) -> None:
        volume = self._volumes.pop(name, None)
        for secret in volume.secrets if volume is not None else ():
            volumes = self._secrets[secret]
            volumes.discard(name)
            if not volumes:
                del self._secrets[secret]


def _references(namespace: str, name: str, pod: Object) -> set[_Key]:
    if _MIRROR in (pod["metadata"].get("annotations") or {}):
        return set()
    spec = pod["spec"]
    found = {("secrets", namespace, each) for each in secret_names(spec)}
    found |= {("configmaps", namespace, each) for each in config_map_names(spec)}
    found |= {("persistentvolumeclaims", namespace, each) for each in claim_names(spec, name)}
    found |= {("resourceclaims", namespace, each) for each in resource_claim_names(pod)}
    account = spec.get("serviceAccountName")
    if account:
        found.add(("serviceaccounts", namespace, account))
    return found


def _made(status: Mapping[str, Any]) -> tuple[str, ...]:
    """The device claims that were made for a pod."""
    return tuple(resource_claim_names({"status": status}))


def _volume_secrets(spec: Mapping[str, Any], home: str) -> Iterator[tuple[str, str]]:
    """(namespace, name) of the Secrets that a node needs in order to mount a volume."""
    azure = spec.get("azureFile") or {}
    if azure.get("secretName"):
        yield azure.get("secretNamespace") or home, azure["secretName"]
    for source in _SECRET_SOURCES:
        secret = (spec.get(source) or {}).get("secretRef") or {}
        if secret.get("name"):
            yield secret.get("namespace") or ("" if source in _EXPLICIT else home), secret["name"]
    csi = spec.get("csi") or {}
    for reference in _CSI_SECRETS:
        secret = csi.get(reference) or {}
        if secret.get("name"):
            yield secret.get("namespace", ""), secret["name"]
