"""Priority: the number behind a pod's priority class."""

from __future__ import annotations

from cybernetes.core.admission.contract import Attributes, Reader, refused
from cybernetes.core.objects import PODS, PRIORITY_CLASSES, Object

#: Of pods without a class, when no class is the default.
DEFAULT_PRIORITY = 0


class Priority:
    """Pods get the priority and preemption policy of their class, or of the default class; there is but one default.

    Source: documentation "Pod Priority and Preemption".
    """

    name = "Priority"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        pod = attributes.obj
        if pod is None or not attributes.is_for(PODS):
            return
        if attributes.operation == "UPDATE" and attributes.old is not None:
            # Clients that do not know these fields send the pod back without them.
            for field in ("priority", "preemptionPolicy"):
                if pod["spec"].get(field) is None and attributes.old["spec"].get(field) is not None:
                    pod["spec"][field] = attributes.old["spec"][field]
        elif attributes.operation == "CREATE":
            _resolve(attributes, pod, cluster)

    def validate(self, attributes: Attributes, cluster: Reader) -> None:
        new = attributes.obj
        if new is None or attributes.operation not in ("CREATE", "UPDATE") or not attributes.is_for(PRIORITY_CLASSES):
            return
        if not new.get("globalDefault"):
            return
        default = _default_class(cluster)
        if default is None:
            return
        name = default["metadata"]["name"]
        if attributes.operation == "CREATE" or name != new["metadata"].get("name"):
            why = f"PriorityClass {name} is already marked as default. Only one default can exist"
            raise refused(attributes, why)


def _resolve(attributes: Attributes, pod: Object, cluster: Reader) -> None:
    spec = pod["spec"]
    name = spec.get("priorityClassName") or ""
    if name:
        found = cluster.get(PRIORITY_CLASSES, "", name)
        if found is None:
            raise refused(attributes, f"no PriorityClass with name {name} was found")
    else:
        found = _default_class(cluster)
    policy: str | None = "PreemptLowerPriority"
    if found is None:
        priority = DEFAULT_PRIORITY
    else:
        spec["priorityClassName"] = found["metadata"]["name"]
        priority, policy = found.get("value", 0), found.get("preemptionPolicy")
    given = spec.get("priority")
    if given is not None and given != priority:
        raise refused(
            attributes,
            f"the integer value of priority ({given}) must not be provided in pod spec; priority admission controller "
            f"computed {priority} from the given PriorityClass name",
        )
    spec["priority"] = priority
    if policy is None:
        return
    given = spec.get("preemptionPolicy")
    if given is not None and given != policy:
        raise refused(
            attributes,
            f"the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission "
            f"controller computed {policy} from the given PriorityClass name",
        )
    spec["preemptionPolicy"] = policy


def _default_class(cluster: Reader) -> Object | None:
    """Of several defaults, which only a race can make, the lowest."""
    defaults = [each for each in cluster.list(PRIORITY_CLASSES) if each.get("globalDefault")]
    return min(defaults, key=lambda each: each.get("value", 0), default=None)
