"""From what the engine reports to what the kubelet is told. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from cybernetes.core.clock import parse_time
from cybernetes.core.kubelet.observed import ContainerState, ContainerStatus, ContainerUser, SandboxStatus
from cybernetes.services.kubelet.runtimes.docker import configs
from cybernetes.services.kubelet.runtimes.interface import Image

#: Python reads six digits after the second, the engine writes nine; its zero time is in the year 1.
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")
_NEVER = "0001-01-01"

_STATES = {
    "created": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "paused": ContainerState.RUNNING,
    "restarting": ContainerState.RUNNING,
    "removing": ContainerState.EXITED,
    "exited": ContainerState.EXITED,
    "dead": ContainerState.EXITED,
}


def seconds(text: str) -> float:
    """Seconds since the epoch of one of the engine's times, 0.0 for its zero time."""
    if not text or text.startswith(_NEVER):
        return 0.0
    return parse_time(_NANOSECONDS.sub(r"\1", text))


def sandbox_status(found: dict[str, Any], addresses: Sequence[str]) -> SandboxStatus:
    labels = found["Config"]["Labels"]
    return SandboxStatus(
        id=found["Id"],
        uid=labels[configs.POD_UID],
        name=labels[configs.POD_NAME],
        namespace=labels[configs.POD_NAMESPACE],
        attempt=int(labels[configs.ATTEMPT]),
        is_ready=bool(found["State"]["Running"]),
        created_at=seconds(found["Created"]),
        addresses=tuple(addresses),
        host_network=labels[configs.HOST_NETWORK] == "True",
    )


def container_status(found: dict[str, Any], user: ContainerUser | None = None) -> ContainerStatus:
    labels, state = found["Config"]["Labels"], found["State"]
    what = _STATES.get(state["Status"], ContainerState.UNKNOWN)
    code, message = int(state["ExitCode"]), str(state.get("Error") or "")
    finished_at = seconds(state["FinishedAt"])
    if what is ContainerState.CREATED and message:
        # The engine could not start it and leaves it "created": for the kubelet it has ended.
        what, finished_at = ContainerState.EXITED, finished_at or seconds(found["Created"])
        reason = "ContainerCannotRun"
    elif what is not ContainerState.EXITED:
        reason = ""
    elif state.get("OOMKilled"):
        reason = "OOMKilled"
    else:
        reason = "Error" if code else "Completed"
    return ContainerStatus(
        id=found["Id"],
        sandbox_id=labels[configs.SANDBOX],
        pod_uid=labels[configs.POD_UID],
        name=labels[configs.NAME],
        attempt=int(labels[configs.ATTEMPT]),
        state=what,
        image=labels[configs.IMAGE],
        image_id=found["Image"],
        created_at=seconds(found["Created"]),
        started_at=seconds(state["StartedAt"]) or (finished_at if what is ContainerState.EXITED else 0.0),
        finished_at=finished_at if what is ContainerState.EXITED else 0.0,
        exit_code=code if what is ContainerState.EXITED else 0,
        reason=reason,
        message=message,
        log_path=labels[configs.LOG_PATH],
        signal=code - 128 if what is ContainerState.EXITED and 128 < code < 160 else 0,
        user=user,
    )


def image(found: dict[str, Any]) -> Image:
    return Image(
        id=found["Id"],
        tags=tuple(tag for tag in found.get("RepoTags") or () if tag != "<none>:<none>"),
        digests=tuple(found.get("RepoDigests") or ()),
        size=int(found.get("Size", 0)),
        user=str((found.get("Config") or {}).get("User", "")),
    )
