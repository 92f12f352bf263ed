"""Static pods: pods that a node has from files of its own, and their mirrors in the API (upstream: pkg/kubelet/config).

A file holds one pod in YAML or JSON. What it becomes on node N:

    name         NAME-N              so that the same file on two nodes makes two pods
    uid          a hash of the node, the file's name and the pod: a changed file is another pod
    annotations  kubernetes.io/config.source: file, kubernetes.io/config.hash: the uid

Its mirror is what the API shows of it: the same pod with ``kubernetes.io/config.mirror: HASH``, owned by the Node. A
mirror is only looked at; deleting one does nothing but have it made again.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from cybernetes.core.api import codec
from cybernetes.core.api.registry import builtin
from cybernetes.core.clock import format_time
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import PODS, Object, annotations_of, clone, is_deleting, name_of, namespace_of, uid_of

SOURCE = "kubernetes.io/config.source"
HASH = "kubernetes.io/config.hash"
SEEN = "kubernetes.io/config.seen"
MIRROR = "kubernetes.io/config.mirror"

#: A static pod stays on its node whatever taints that has.
_TOLERATION = {"operator": "Exists", "effect": "NoExecute"}
#: What only the API could give, and a static pod therefore cannot use.
_API_VOLUMES = ("configMap", "secret", "persistentVolumeClaim", "projected", "ephemeral")
_API_VARIABLES = ("configMapKeyRef", "secretKeyRef")


class ManifestError(ValueError):
    """A file that is no pod for this node; the message says why."""


@cache
def _pods() -> Any:
    return builtin().get(PODS)


def read_manifest(data: bytes, file_name: str, node_name: str, now: float) -> Object:
    """The static pod of one file, with defaults. Raises ManifestError."""
    pods = _pods()
    content_type = codec.JSON if codec.is_json(data) else "application/yaml"
    try:
        pod = codec.decode(data, content_type)
        if (pod.get("apiVersion"), pod.get("kind")) != ("v1", "Pod"):
            raise ManifestError(f"expected a v1 Pod, got {pod.get('apiVersion')} {pod.get('kind')}")
        codec.check(pods, pod, data, "Strict")
    except ApiError as error:
        raise ManifestError(error.message) from error
    pod.pop("status", None)
    metadata = pod.setdefault("metadata", {})
    if not metadata.get("name"):
        raise ManifestError("metadata.name: Required value")
    digest = hashlib.sha256(f"{node_name}\0{file_name}\0".encode() + codec.encode(pod)).hexdigest()[:32]
    metadata["name"] = f"{metadata['name']}-{node_name}"
    metadata.setdefault("namespace", "default")
    metadata.update(uid=digest, creationTimestamp=format_time(now), generation=1)
    metadata.setdefault("annotations", {}).update({SOURCE: "file", HASH: digest, SEEN: format_time(now)})
    spec = pod.setdefault("spec", {})
    spec["nodeName"] = node_name
    if _TOLERATION not in spec.setdefault("tolerations", []):
        spec["tolerations"].append(dict(_TOLERATION))
    pods.strategy.default(pod)
    errors = pods.strategy.validate_create(pod)
    if errors:
        raise ManifestError("; ".join(str(error) for error in errors))
    _refuse_references(spec)
    pod["status"] = {"phase": "Pending"}
    return pod


def _refuse_references(spec: Object) -> None:
    """A static pod must not depend on objects of the API: the mirror would be refused."""
    for volume in spec.get("volumes") or ():
        for kind in _API_VOLUMES:
            if kind in volume and not (kind == "projected" and _is_downward(volume[kind])):
                raise ManifestError(f"can not mirror pod: a static pod may not reference {kind}")
    if spec.get("serviceAccountName"):
        raise ManifestError("can not mirror pod: a static pod may not reference serviceaccounts")
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        sources = [variable.get("valueFrom") or {} for variable in container.get("env") or ()]
        if container.get("envFrom") or any(kind in source for source in sources for kind in _API_VARIABLES):
            raise ManifestError("can not mirror pod: a static pod may not reference configmaps or secrets")


def _is_downward(projected: Object) -> bool:
    return all("downwardAPI" in source for source in projected.get("sources") or ())


def mirror_of(pod: Object, node: Object) -> Object:
    """The pod to create in the API for a static pod on ``node``."""
    annotations = {**annotations_of(pod), MIRROR: annotations_of(pod)[HASH]}
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": name_of(node),
        "uid": uid_of(node),
        "controller": True,
    }
    metadata = {
        "name": name_of(pod),
        "namespace": namespace_of(pod),
        "annotations": annotations,
        "ownerReferences": [owner],
    }
    labels = pod["metadata"].get("labels")
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": clone(pod["spec"])}


def mirrors(mirror: Object, pod: Object) -> bool:
    """Whether ``mirror`` shows ``pod`` as it is, and is not on its way out."""
    return annotations_of(mirror).get(MIRROR) == uid_of(pod) and not is_deleting(mirror)
