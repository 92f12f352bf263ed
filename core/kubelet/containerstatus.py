"""From what the runtime reports to the ``containerStatuses`` of the API.

The newest attempt of a container is its ``state``, the one before it ``lastState``. What the runtime has forgotten is
taken from the status that was published before, so that a record that was cleaned up does not look like a container
that never ran (https://issues.k8s.io/116484). A container that is to be started and could not be is *waiting*, with
the reason and message of the last try: ``CrashLoopBackOff``, ``ErrImagePull``, ``CreateContainerConfigError``, …

    ran and ended, restart due, back-off    waiting CrashLoopBackOff, lastState terminated
    ran, the runtime has no record          waiting, lastState terminated ContainerStatusUnknown 137
    never tried                             waiting ContainerCreating, or with init containers PodInitializing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.clock import format_time
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.actions import any_regular_created, should_start
from cybernetes.core.kubelet.observed import ContainerState, ContainerStatus, PodObservation
from cybernetes.core.objects import Object, clone

#: Of one pod's termination messages together; each container has an equal share.
POD_MESSAGE_BYTES_MAX = 12 * 1024

_GONE_MESSAGE = "The container could not be located when the pod was terminated"
_GONE_RUNNING_MESSAGE = "The container could not be located when the pod was deleted.  The container used to be Running"
_INIT_GONE_MESSAGE = (
    "Unable to get init container status from container runtime and pod has been initialized, "
    "treat it as exited normally"
)
_RESTART_ALL_MESSAGE = "The container is removed because RestartAllContainers in place"


class StartFailure(NamedTuple):
    """Why a container could not be started at the last try."""

    reason: str
    message: str


def container_statuses(
    pod: Object,
    observed: PodObservation,
    previous: Sequence[Object],
    containers: Sequence[Any],
    *,
    runtime_name: str,
    failures: Mapping[str, StartFailure],
    is_init: bool = False,
    restarting_all: bool = False,
) -> list[Object]:
    """One list of statuses: of the init, the ordinary or the ephemeral containers, as ``containers`` says.

    ``previous`` is that list as it was published last. ``ready`` and ``started`` are the probes' business
    (``probes.apply_results``); here they are kept for a container that goes on running.
    """
    if not containers:
        return []
    old_by_name = {status["name"]: status for status in previous}
    has_init = bool(spec.init_containers(pod))
    reason = "PodInitializing" if has_init else "ContainerCreating"
    statuses: dict[str, Object] = {}
    for container in containers:
        name = container["name"]
        old = old_by_name.get(name)
        attempts = observed.attempts(name)[:2]
        if attempts:
            status = _converted(container, attempts[0], old, runtime_name)
            if len(attempts) > 1:
                status["lastState"] = _state(attempts[1], runtime_name)
        else:
            status = _unseen(pod, container, old, reason, restarting_all)
        statuses[name] = status
    for container in containers:
        _hold_back(pod, observed, container, statuses[container["name"]], failures, is_init)
    ordered = [statuses[container["name"]] for container in containers]
    if not is_init:
        ordered.sort(key=lambda status: status["name"])
    return ordered


def _base(container: spec.Container, restart_count: int) -> Object:
    status: Object = {
        "name": container["name"],
        "state": {},
        "lastState": {},
        "ready": False,
        "restartCount": restart_count,
        "image": container["image"],
        "imageID": "",
    }
    mounts = volume_mounts(container)
    if mounts:
        status["volumeMounts"] = mounts
    return status


def volume_mounts(container: spec.Container) -> list[Object]:
    mounts: list[Object] = []
    for mount in container.get("volumeMounts") or ():
        status: Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
        if mount.get("readOnly"):
            status["readOnly"] = True
            wanted = mount.get("recursiveReadOnly") or "Disabled"
            status["recursiveReadOnly"] = "Enabled" if wanted in ("Enabled", "IfPossible") else "Disabled"
        mounts.append(status)
    return mounts


def _converted(container: spec.Container, latest: ContainerStatus, old: Object | None, runtime_name: str) -> Object:
    status = _base(container, latest.attempt)
    container_id = f"{runtime_name}://{latest.id}"
    status["image"] = latest.image
    status["imageID"] = latest.image_id
    status["containerID"] = container_id
    status["state"] = _state(latest, runtime_name)
    if latest.user is not None:
        linux: Object = {"uid": latest.user.uid, "gid": latest.user.gid}
        if latest.user.groups:
            linux["supplementalGroups"] = list(latest.user.groups)
        status["user"] = {"linux": linux}
    resources = container.get("resources") or {}
    status["resources"] = clone(resources)
    if resources.get("requests"):
        status["allocatedResources"] = dict(resources["requests"])
    if old is None:
        return status
    if old["restartCount"] > latest.attempt:
        status["restartCount"] = old["restartCount"]
    if old.get("volumeMounts"):
        status["volumeMounts"] = clone(old["volumeMounts"])
    old_terminated = (old.get("state") or {}).get("terminated")
    old_last = (old.get("lastState") or {}).get("terminated")
    is_same = old.get("containerID") == container_id
    if not is_same and old_terminated is not None:
        status["lastState"] = {"terminated": clone(old_terminated)}
    elif old_last is not None:
        status["lastState"] = {"terminated": clone(old_last)}
    if latest.state is ContainerState.RUNNING:
        if is_same:
            status["ready"] = bool(old.get("ready"))
            status["started"] = bool(old.get("started"))
        if not is_same and old_terminated is not None and old["restartCount"] >= latest.attempt:
            status["restartCount"] = old["restartCount"] + 1
    elif latest.state is ContainerState.UNKNOWN and "running" in (old.get("state") or {}):
        status["state"] = {"terminated": _lost(_GONE_MESSAGE)}
        status["restartCount"] = old["restartCount"] + 1
    return status


def _state(status: ContainerStatus, runtime_name: str) -> Object:
    if status.state is ContainerState.RUNNING:
        return {"running": {"startedAt": format_time(status.started_at)}}
    if status.state is not ContainerState.EXITED:
        return {"waiting": {}}
    terminated: Object = {"exitCode": status.exit_code}
    if status.reason:
        terminated["reason"] = status.reason
    if status.message:
        terminated["message"] = status.message
    if status.started_at:
        terminated["startedAt"] = format_time(status.started_at)
    if status.finished_at:
        terminated["finishedAt"] = format_time(status.finished_at)
    terminated["containerID"] = f"{runtime_name}://{status.id}"
    return {"terminated": terminated}


def _lost(message: str, reason: str = "ContainerStatusUnknown") -> Object:
    return {"exitCode": 137, "reason": reason, "message": message}


def _unseen(pod: Object, container: spec.Container, old: Object | None, waiting: str, restarting_all: bool) -> Object:
    """The status of a container that the runtime knows nothing of."""
    if old is None:
        status = _base(container, 0)
        status["state"] = {"waiting": {"reason": waiting}}
        return status
    old_state = old.get("state") or {}
    if restarting_all and "waiting" not in old_state:
        status = _base(container, old["restartCount"] + 1)
        status["state"] = {"waiting": {"reason": "RestartingAllContainers", "message": _RESTART_ALL_MESSAGE}}
        status["lastState"] = {"terminated": _lost(_RESTART_ALL_MESSAGE, "RestartingAllContainers")}
        return status
    if "terminated" in old_state:
        return clone(old)
    status = _base(container, old["restartCount"])
    status["state"] = {"waiting": {"reason": waiting}}
    status["lastState"] = clone(old.get("lastState") or {})
    if "running" in old_state and "terminated" not in status["lastState"]:
        # Shown as stopped, not as waiting: else a pod that ran would fall back to Pending.
        status["lastState"] = {"terminated": _lost(_GONE_RUNNING_MESSAGE)}
        if not pod["metadata"].get("deletionTimestamp"):
            status["restartCount"] += 1
    return status


def _hold_back(
    pod: Object,
    observed: PodObservation,
    container: spec.Container,
    status: Object,
    failures: Mapping[str, StartFailure],
    is_init: bool,
) -> None:
    """Make a container that should run and could not be started a waiting one."""
    name = container["name"]
    latest = observed.container(name)
    if is_init:
        if latest is not None and latest.state is ContainerState.EXITED and latest.exit_code == 0:
            return
        is_forgotten = latest is None and not spec.is_sidecar(container) and "waiting" in status["state"]
        if is_forgotten and any_regular_created(pod, observed):
            terminated = {"exitCode": 0, "reason": "Completed", "message": _INIT_GONE_MESSAGE}
            status["state"] = {"terminated": terminated}
            return
    failure = failures.get(name)
    if failure is None or not should_start(pod, container, observed):
        return
    if "terminated" in status["state"]:
        status["lastState"] = status["state"]
    waiting: Object = {"reason": failure.reason}
    if failure.message:
        waiting["message"] = failure.message
    status["state"] = {"waiting": waiting}


def shorten_messages(pod: Object, status: Object) -> None:
    """Cut termination messages so that one pod's stay within 12 KiB, in place."""
    count = sum(1 for _ in spec.all_containers(pod))
    share = POD_MESSAGE_BYTES_MAX // max(1, count)
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for container_status in status.get(kind) or ():
            for state in (container_status.get("state"), container_status.get("lastState")):
                terminated = (state or {}).get("terminated") or {}
                message = terminated.get("message", "")
                if len(message) > share // 4 and len(message.encode()) > share:
                    terminated["message"] = message.encode()[:share].decode(errors="ignore")


def mark_lost(pod: Object, status: Object, initialized: bool) -> None:
    """At the end of a pod: a container whose end was not seen has failed, not succeeded. In place."""
    if initialized:
        for container_status in status.get("containerStatuses") or ():
            if "terminated" not in container_status["state"]:
                container_status["state"] = {"terminated": _lost(_GONE_MESSAGE)}
    inits = status.get("initContainerStatuses") or []
    tried = 0
    for index, container_status in enumerate(inits):
        if "waiting" not in container_status["state"] or "terminated" in (container_status.get("lastState") or {}):
            tried = index + 1
    for container_status in inits[: max(tried, 1)]:
        if "terminated" not in container_status["state"]:
            container_status["state"] = {"terminated": _lost(_GONE_MESSAGE)}
