"""TaintNodesByCondition: no pod is put on a new node before it has said that it is ready."""

from __future__ import annotations

from cybernetes.core.admission.contract import Attributes, Reader
from cybernetes.core.objects import NODES

_NOT_READY = "node.kubernetes.io/not-ready"


class TaintNodesByCondition:
    """New nodes are tainted not-ready; the node lifecycle controller takes the taint away.

    Source: documentation "Taints and Tolerations", taint nodes by condition.
    """

    name = "TaintNodesByCondition"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        node = attributes.obj
        if node is None or attributes.operation != "CREATE" or not attributes.is_for(NODES):
            return
        spec = node.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(each.get("key") == _NOT_READY and each.get("effect") == "NoSchedule" for each in taints):
            spec["taints"] = [*taints, {"key": _NOT_READY, "effect": "NoSchedule"}]
