"""PodResizeValidator: a running pod may not be made larger than its node."""

from __future__ import annotations

from cybernetes.core.admission.amounts import pod_amounts, read
from cybernetes.core.admission.contract import Attributes, Reader, refused
from cybernetes.core.errors import ApiError, quoted
from cybernetes.core.objects import NODES, PODS
from cybernetes.core.quantity import ZERO

__all__ = ["PodResizeValidator"]

_OS_LABEL = "kubernetes.io/os"


class PodResizeValidator:
    """Refuses what the node's kubelet could only ever defer.

    Source: documentation "Resize CPU and Memory Resources assigned to Containers".
    """

    name = "PodResizeValidator"

    def validate(self, attributes: Attributes, cluster: Reader) -> None:
        """Raises ApiError 403."""
        pod, old = attributes.obj, attributes.old
        if attributes.operation != "UPDATE" or not attributes.is_for(PODS, "resize") or pod is None or old is None:
            return
        node_name = pod["spec"].get("nodeName")
        if not node_name or pod["spec"] == old["spec"]:
            return
        node = cluster.get(NODES, "", node_name)
        if node is None:
            raise refused(attributes, f"node {quoted(node_name)} not found")
        system = (node["metadata"].get("labels") or {}).get(_OS_LABEL, "linux")
        if system != "linux":
            why = f"pod resize is only supported on linux nodes, node {quoted(node_name)} is {quoted(system)}"
            raise _because(refused(attributes, why), "UnsupportedPlatform")
        allocatable = read((node.get("status") or {}).get("allocatable"))
        requests = pod_amounts(pod, "requests")
        missing = []
        for resource in ("cpu", "memory"):
            wanted, there = requests.get(resource, ZERO), allocatable.get(resource, ZERO)
            if wanted > there:
                numbers = (each.milli_value if resource == "cpu" else each.value for each in (wanted, there))
                missing.append("{}, requested: {}, allocatable: {}".format(resource, *numbers))
        if missing:
            why = f"node didn't have enough allocatable resources: {'; '.join(missing)}"
            raise _because(refused(attributes, why), "NodeCapacity")


def _because(error: ApiError, reason: str) -> ApiError:
    error.status.setdefault("details", {}).setdefault("causes", []).append({"reason": reason})
    return error
