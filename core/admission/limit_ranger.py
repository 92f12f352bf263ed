"""LimitRanger: the least, the most and the usual that a namespace's containers, pods and claims ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cybernetes.core.admission.amounts import Amounts, pod_amounts, read
from cybernetes.core.admission.contract import Attributes, Reader, refused
from cybernetes.core.objects import LIMIT_RANGES, PERSISTENT_VOLUME_CLAIMS, PODS, Object
from cybernetes.core.quantity import ZERO, Quantity

ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger:
    """Containers that say nothing get the defaults; then everything must be within the bounds of every LimitRange.

    Source: documentation "Limit Ranges".
    """

    name = "LimitRanger"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        if attributes.obj is not None and _is_pod(attributes):
            for limit_range in self._ranges(attributes, cluster):
                _set_defaults(attributes.obj, limit_range)

    def validate(self, attributes: Attributes, cluster: Reader) -> None:
        obj = attributes.obj
        if obj is None:
            return
        check: Callable[[Object, Object], Iterator[str]]
        if _is_pod(attributes):
            check = _pod_problems
        elif attributes.operation in ("CREATE", "UPDATE") and attributes.is_for(PERSISTENT_VOLUME_CLAIMS):
            check = _claim_problems
        else:
            return
        for limit_range in self._ranges(attributes, cluster):
            problems = list(dict.fromkeys(check(obj, limit_range)))
            if problems:
                raise refused(attributes, problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")

    @staticmethod
    def _ranges(attributes: Attributes, cluster: Reader) -> list[Object]:
        if attributes.old is not None and attributes.old["metadata"].get("deletionTimestamp"):
            return []
        return sorted(cluster.list(LIMIT_RANGES, attributes.namespace), key=lambda each: str(each["metadata"]["name"]))


def _is_pod(attributes: Attributes) -> bool:
    if attributes.is_for(PODS):
        return attributes.operation == "CREATE"
    return attributes.operation == "UPDATE" and attributes.is_for(PODS, "resize")


def _limits(limit_range: Object) -> Iterator[Mapping[str, Any]]:
    yield from (limit_range.get("spec") or {}).get("limits") or ()


def _set_defaults(pod: Object, limit_range: Object) -> None:
    """Fill in what containers leave out, and say so in an annotation."""
    defaults: dict[str, dict[str, Any]] = {"requests": {}, "limits": {}}
    for limit in _limits(limit_range):
        if limit.get("type") == "Container":
            defaults["requests"] |= limit.get("defaultRequest") or {}
            defaults["limits"] |= limit.get("default") or {}
    notes = []
    for part, title in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(part) or ():
            for side, word in (("requests", "request"), ("limits", "limit")):
                own = (container.get("resources") or {}).get(side) or {}
                missing = {name: value for name, value in defaults[side].items() if name not in own}
                if missing:
                    container.setdefault("resources", {})[side] = {**own, **missing}
                    notes.append(f"{', '.join(sorted(missing))} {word} for {title} {container.get('name', '')}")
    if notes:
        metadata = pod["metadata"]
        text = "LimitRanger plugin set: " + "; ".join(notes)
        metadata["annotations"] = {**(metadata.get("annotations") or {}), ANNOTATION: text}


def _pod_problems(pod: Object, limit_range: Object) -> Iterator[str]:
    for limit in _limits(limit_range):
        if limit.get("type") == "Container":
            for part in ("containers", "initContainers"):
                for container in pod["spec"].get(part) or ():
                    resources = container.get("resources") or {}
                    yield from _problems(limit, read(resources.get("requests")), read(resources.get("limits")))
        elif limit.get("type") == "Pod":
            requests = pod_amounts(pod, "requests", with_overhead=False)
            yield from _problems(limit, requests, pod_amounts(pod, "limits", with_overhead=False))


def _problems(limit: Mapping[str, Any], requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = limit.get("type", "")
    for name, enforced in sorted(read(limit.get("min")).items()):
        yield from _minimum(f"minimum {name} usage per {kind} is {enforced}", name, enforced, requests, limits)
    for name, enforced in sorted(read(limit.get("max")).items()):
        text = f"maximum {name} usage per {kind} is {enforced}"
        if name not in limits:
            yield f"{text}.  No limit is specified"
        elif limits[name] > enforced:
            yield f"{text}, but limit is {limits[name]}"
        elif name in requests and requests[name] > enforced:
            yield f"{text}, but request is {requests[name]}"
    for name, enforced in sorted(read(limit.get("maxLimitRequestRatio")).items()):
        text = f"{name} max limit to request ratio per {kind} is {enforced}"
        if not requests.get(name):
            yield f"{text}, but no request is specified or request is 0"
        elif not limits.get(name):
            yield f"{text}, but no limit is specified or limit is 0"
        else:
            ratio = limits[name].milli_value / requests[name].milli_value
            if ratio * 1000 > enforced.milli_value:
                yield f"{text}, but provided ratio is {ratio:f}"


def _minimum(text: str, name: str, enforced: Quantity, requests: Amounts, limits: Amounts) -> Iterator[str]:
    if name not in requests:
        yield f"{text}.  No request is specified"
    elif requests[name] < enforced:
        yield f"{text}, but request is {requests[name]}"
    elif name in limits and limits[name] < enforced:
        yield f"{text}, but limit is {limits[name]}"


def _claim_problems(claim: Object, limit_range: Object) -> Iterator[str]:
    requests = read((claim["spec"].get("resources") or {}).get("requests"))
    for limit in _limits(limit_range):
        kind = limit.get("type", "")
        if kind != "PersistentVolumeClaim":
            continue
        for name, enforced in sorted(read(limit.get("min")).items()):
            yield from _minimum(f"minimum {name} usage per {kind} is {enforced}", name, enforced, requests, {})
        for name, enforced in sorted(read(limit.get("max")).items()):
            text = f"maximum {name} usage per {kind} is {enforced}"
            if name not in requests:
                yield f"{text}.  No request is specified"
            elif requests.get(name, ZERO) > enforced:
                yield f"{text}, but request is {requests[name]}"
