"""RuntimeClass: what running in a class costs, and where it can be."""

from __future__ import annotations

from typing import Any

from cybernetes.core.admission.amounts import read
from cybernetes.core.admission.contract import Attributes, Reader, refused
from cybernetes.core.errors import quoted
from cybernetes.core.objects import PODS, Gvr, Object

_RUNTIME_CLASSES = Gvr("node.k8s.io", "v1", "runtimeclasses")

Toleration = dict[str, Any]


class RuntimeClass:
    """A pod gets the overhead, node selector and tolerations of its runtime class, and may not claim other overhead.

    Source: documentation "Runtime Class" and "Pod Overhead".
    """

    name = "RuntimeClass"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        pod = attributes.obj
        if pod is None or attributes.operation != "CREATE" or not attributes.is_for(PODS):
            return
        found = _class(attributes, pod, cluster)
        if found is None:
            return
        spec = pod["spec"]
        if found.get("overhead") is not None:
            fixed = found["overhead"].get("podFixed") or {}
            if spec.get("overhead") and read(spec["overhead"]) != read(fixed):
                raise refused(attributes, _MISMATCH)
            if fixed:
                spec["overhead"] = dict(fixed)
        if found.get("scheduling") is not None:
            _schedule(attributes, spec, found["scheduling"])

    def validate(self, attributes: Attributes, cluster: Reader) -> None:
        pod = attributes.obj
        if pod is None or attributes.operation != "CREATE" or not attributes.is_for(PODS):
            return
        found = _class(attributes, pod, cluster)
        overhead = pod["spec"].get("overhead")
        if found is not None and found.get("overhead") is not None:
            if read(overhead) != read(found["overhead"].get("podFixed")):
                raise refused(attributes, _MISMATCH)
        elif overhead is not None:
            why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            raise refused(attributes, why)


_MISMATCH = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"


def _class(attributes: Attributes, pod: Object, cluster: Reader) -> Object | None:
    name = pod["spec"].get("runtimeClassName")
    if name is None:
        return None
    found = cluster.get(_RUNTIME_CLASSES, "", name)
    if found is None:
        raise refused(attributes, f"pod rejected: RuntimeClass {quoted(name)} not found")
    return found


def _schedule(attributes: Attributes, spec: dict[str, Any], scheduling: dict[str, Any]) -> None:
    selector = dict(spec.get("nodeSelector") or {})
    for key, value in (scheduling.get("nodeSelector") or {}).items():
        own = selector.setdefault(key, value)
        if own != value:
            raise refused(
                attributes,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {own}",
            )
    if selector:
        spec["nodeSelector"] = selector
    tolerations = merged(spec.get("tolerations") or [], scheduling.get("tolerations") or [])
    if tolerations:
        spec["tolerations"] = tolerations


def merged(first: list[Toleration], second: list[Toleration]) -> list[Toleration]:
    """Both lists, without what another of them tolerates too."""
    everything = [*first, *second]
    result: list[Toleration] = []
    for index, toleration in enumerate(everything):
        later = everything[index + 1 :]
        is_redundant = any(_includes(kept, toleration) for kept in result) or any(
            other != toleration and _includes(other, toleration) for other in later
        )
        if not is_redundant:
            result.append(dict(toleration))
    return result


def _includes(wide: Toleration, narrow: Toleration) -> bool:
    if wide == narrow:
        return True
    operator = wide.get("operator", "")
    if wide.get("key", "") != narrow.get("key", "") and (wide.get("key") or operator != "Exists"):
        return False
    if wide.get("effect", "") not in (narrow.get("effect", ""), ""):
        return False
    seconds = wide.get("tolerationSeconds")
    if wide.get("effect") == "NoExecute" and seconds is not None:
        own = narrow.get("tolerationSeconds")
        if own is None or own > seconds:
            return False
    if operator == "Exists":
        return True
    return narrow.get("operator") == "Equal" and wide.get("value", "") == narrow.get("value", "")
