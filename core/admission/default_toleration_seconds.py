"""DefaultTolerationSeconds: how long a pod stays on a node that is gone."""

from __future__ import annotations

from cybernetes.core.admission.contract import Attributes, Reader
from cybernetes.core.objects import PODS

TOLERATION_SECONDS = 300
_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds:
    """A pod that says nothing else tolerates a node that is not ready or unreachable for five minutes.

    Source: documentation "Taints and Tolerations", taint based evictions.
    """

    name = "DefaultTolerationSeconds"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        pod = attributes.obj
        if pod is None or attributes.operation not in ("CREATE", "UPDATE") or not attributes.is_for(PODS):
            return
        tolerations = pod["spec"].get("tolerations") or []
        missing = []
        for taint in _TAINTS:
            is_tolerated = any(
                each.get("key", "") in (taint, "") and each.get("effect", "") in ("NoExecute", "")
                for each in tolerations
            )
            if not is_tolerated:
                missing.append(
                    {
                        "key": taint,
                        "operator": "Exists",
                        "effect": "NoExecute",
                        "tolerationSeconds": TOLERATION_SECONDS,
                    }
                )
        if missing:
            pod["spec"]["tolerations"] = tolerations + missing
