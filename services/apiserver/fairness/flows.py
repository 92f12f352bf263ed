"""The two collections of flow control, and what a FlowSchema says of its level."""

from __future__ import annotations

from cybernetes.core.objects import Gvr

FLOW_SCHEMAS = Gvr("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
PRIORITY_LEVELS = Gvr("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations")


def dangling(level: str, exists: bool) -> dict[str, str]:
    """The condition of a FlowSchema, without its time."""
    said = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    return {
        "type": "Dangling",
        "status": "False" if exists else "True",
        "reason": "Found" if exists else "NotFound",
        "message": f"{said} and it exists" if exists else f"{said} but there is no such object",
    }


def with_time(condition: dict[str, str], now: str) -> dict[str, str]:
    return {**condition, "lastTransitionTime": now}
