"""PodTopologyLabels: a pod carries the zone and region of its node."""

from __future__ import annotations

from cybernetes.core.admission.contract import Attributes, Reader
from cybernetes.core.objects import NODES, PODS, labels_of

LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels:
    """The labels go onto the Binding, from where they reach the pod, or onto a pod that is made for a node.

    Source: KEP-4742.
    """

    name = "PodTopologyLabels"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        obj = attributes.obj
        if obj is None or attributes.operation != "CREATE":
            return
        if attributes.is_for(PODS):
            node_name = obj["spec"].get("nodeName")
        elif attributes.is_for(PODS, "binding") and (obj.get("target") or {}).get("kind") == "Node":
            node_name = obj["target"].get("name")
        else:
            return
        node = cluster.get(NODES, "", node_name) if node_name else None
        found = {key: value for key, value in labels_of(node).items() if key in LABELS} if node is not None else {}
        if found:
            metadata = obj.setdefault("metadata", {})
            metadata["labels"] = {**(metadata.get("labels") or {}), **found}
