"""In-place resize: what a pod asks for now, what the node has given it, and what its containers really have.

    desired     the spec in the API, changed through the ``resize`` subresource
    allocated   what the node has agreed to; kept on disk, and what every other decision goes by
    actuated    what the runtime was last told of each running container

The node agrees when the pod still fits beside the others, else the resize waits (``PodResizePending``). Agreed changes
are carried out in running containers, or by a restart where the container's resize policy asks for one; until all are,
``PodResizeInProgress`` stands. Source: https://kep.k8s.io/1287, pkg/kubelet/allocation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.observed import ContainerState, PodObservation
from cybernetes.core.kubelet.resources import amounts
from cybernetes.core.objects import Object

#: Container name -> its resources; "" for the pod's own.
Allocation = dict[str, Any]
#: What a running container can be resized in.
_RESIZABLE = ("cpu", "memory")


class Pending(NamedTuple):
    """The node has not agreed: ``Deferred`` or ``Infeasible``, of which generation of the pod, and why."""

    reason: str
    message: str
    generation: int


class Progress(NamedTuple):
    """Agreed to and not yet carried out; ``message`` is why that failed."""

    generation: int
    message: str = ""


class Resize(NamedTuple):
    """For the pod's conditions."""

    pending: Pending | None = None
    progress: Progress | None = None


NO_RESIZE = Resize()


class Step(NamedTuple):
    """A running container to be told its resources, or restarted to get them."""

    container: spec.Container
    container_id: str
    restarts: bool


def allocation_of(pod: Object) -> Allocation:
    found: Allocation = {
        container["name"]: container.get("resources") or {}
        for container in [*spec.init_containers(pod), *spec.containers(pod)]
    }
    if pod["spec"].get("resources"):
        found[""] = pod["spec"]["resources"]
    return found


def differs(pod: Object, allocation: Allocation) -> bool:
    """Whether the pod asks for anything else than it was given."""
    return allocation_of(pod) != allocation


def allocated(pod: Object, allocation: Allocation) -> Object:
    """The pod as the node runs it: its spec with what it was given. The pod itself where that is the same."""
    if not differs(pod, allocation):
        return pod
    changed = dict(pod["spec"])
    for kind in ("initContainers", "containers"):
        if changed.get(kind):
            changed[kind] = [
                {**container, "resources": allocation.get(container["name"], container.get("resources") or {})}
                for container in changed[kind]
            ]
    if allocation.get(""):
        changed["resources"] = allocation[""]
    return {**pod, "spec": changed}


def steps(pod: Object, observed: PodObservation, actuated: Mapping[str, Any]) -> list[Step]:
    """What is to be done in the running containers of an allocated pod. ``actuated``: by container id."""
    found = []
    for container in [*spec.containers(pod), *(c for c in spec.init_containers(pod) if spec.is_sidecar(c))]:
        status = observed.container(container["name"])
        if status is None or status.state is not ContainerState.RUNNING or status.id not in actuated:
            continue
        changed = _changed(actuated[status.id], container.get("resources") or {})
        if changed:
            found.append(Step(container, status.id, any(_restarts(container, resource) for resource in changed)))
    return found


def _changed(before: Object, after: Object) -> set[str]:
    found = set()
    for kind in ("requests", "limits"):
        old, new = amounts(before.get(kind)), amounts(after.get(kind))
        found |= {resource for resource in _RESIZABLE if old.get(resource) != new.get(resource)}
    return found


def _restarts(container: spec.Container, resource: str) -> bool:
    policies = container.get("resizePolicy") or ()
    return any(p["resourceName"] == resource and p["restartPolicy"] == "RestartContainer" for p in policies)


def describe(pod: Object, what: str, error: str = "") -> str:
    """The text of an event about a resize, which carries the pod's resources as JSON."""
    summary: dict[str, Any] = {}
    for kind in ("initContainers", "containers"):
        entries = [
            {"name": container["name"], "resources": container.get("resources") or {}}
            for container in pod["spec"].get(kind) or ()
        ]
        if entries:
            summary[kind] = entries
    summary["generation"] = pod["metadata"].get("generation") or 0
    if error:
        summary["error"] = error
    return f"{what}: {json.dumps(summary, separators=(',', ':'))}"
