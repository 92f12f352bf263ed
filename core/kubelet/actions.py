"""What a running pod needs next, from what the API wants and what the runtime has.

``pod_actions`` is called whenever something changed and answers with the whole step; carrying it out changes what the
runtime reports, which asks again. Rules (upstream: kuberuntime's computePodActions):

1. Without one ready sandbox that has an address, everything is killed and begun anew with the first init container;
   unless nothing would be run in it.
2. Init containers run one after the other, each until it succeeded; a sidecar counts as done once it has started, and
   goes on running. They are read from the last to the first, because the runtime may have forgotten finished ones.
3. Ordinary containers start together when all init containers are done, and are then looked after one by one: a probe
   that failed or a changed image has one killed, its restart policy says whether it runs again.
4. When nothing runs and nothing is to be started, the pod is over: kill what is left.
5. Ephemeral containers start whenever they are asked for and never again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.observed import ContainerState, ContainerStatus, PodObservation
from cybernetes.core.kubelet.probes import ProbeResults
from cybernetes.core.objects import Object


class Kill(NamedTuple):
    """``because`` is StartupProbe or LivenessProbe where such a probe demands it, else empty."""

    container_id: str
    name: str
    message: str
    because: str = ""


class Reset(NamedTuple):
    """A container that is removed so that the whole pod restarts in place."""

    container_id: str
    name: str
    is_running: bool


@dataclass(slots=True)
class PodActions:
    """One step. Indexes are places in the lists of the spec, in the order in which they are started."""

    kill_pod: bool = False
    create_sandbox: bool = False
    sandbox_id: str = ""
    sandbox_attempt: int = 0
    init_to_start: list[int] = field(default_factory=list)
    to_start: list[int] = field(default_factory=list)
    ephemeral_to_start: list[int] = field(default_factory=list)
    to_kill: dict[str, Kill] = field(default_factory=dict)
    to_reset: list[Reset] = field(default_factory=list)

    @property
    def is_nothing(self) -> bool:
        return not (
            self.kill_pod
            or self.create_sandbox
            or self.init_to_start
            or self.to_start
            or self.ephemeral_to_start
            or self.to_kill
            or self.to_reset
        )


def sandbox_changed(pod: Object, observed: PodObservation) -> tuple[bool, int, str]:
    """(a new sandbox is needed, its attempt, the id of the present one or "")."""
    if not observed.sandboxes:
        return True, 0, ""
    newest = observed.sandboxes[0]
    ready = sum(1 for sandbox in observed.sandboxes if sandbox.is_ready)
    if ready > 1 or not newest.is_ready:
        return True, newest.attempt + 1, newest.id
    if newest.host_network != spec.is_host_network(pod):
        return True, newest.attempt + 1, ""
    if not spec.is_host_network(pod) and not newest.addresses:
        return True, newest.attempt + 1, newest.id
    return False, newest.attempt, newest.id


def should_start(pod: Object, container: spec.Container, observed: PodObservation) -> bool:
    """Whether a container that does not run is to be started, by its history and restart policy."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    latest = observed.container(container["name"])
    if latest is None:
        return True
    if latest.state is ContainerState.RUNNING:
        return False
    if latest.state in (ContainerState.UNKNOWN, ContainerState.CREATED):
        return True
    return spec.restarts_after(pod, container, latest.exit_code)


def any_regular_created(pod: Object, observed: PodObservation) -> bool:
    """Whether an ordinary container ever existed, so that initialization must have been completed."""
    return any(
        latest is not None and latest.state is not ContainerState.UNKNOWN
        for latest in (observed.container(container["name"]) for container in spec.containers(pod))
    )


def init_failed(status: ContainerStatus) -> bool:
    return (
        status.reason == "OOMKilled"
        or status.state is ContainerState.UNKNOWN
        or (status.state is ContainerState.EXITED and status.exit_code != 0)
    )


def should_restart_all(pod: Object, observed: PodObservation | None, api_status: Object | None) -> bool:
    """Whether some container's rule asks for all containers to be restarted, or that is already under way."""
    statuses: dict[str, Object] = {}
    if api_status:
        for condition in api_status.get("conditions") or ():
            if condition["type"] == "AllContainersRestarting" and condition["status"] == "True":
                return True
        for kind in ("initContainerStatuses", "containerStatuses"):
            statuses.update((status["name"], status) for status in api_status.get(kind) or ())
    for container in [*spec.init_containers(pod), *spec.containers(pod)]:
        if not container.get("restartPolicyRules"):
            continue
        if observed is not None:
            latest = observed.container(container["name"])
            if latest is None or latest.state is not ContainerState.EXITED:
                continue
            rule = spec.matching_rule(container, latest.exit_code)
            if rule is not None and rule.get("action") == "RestartAllContainers":
                return True
        terminated = (statuses.get(container["name"]) or {}).get("state", {}).get("terminated")
        if terminated is not None:
            rule = spec.matching_rule(container, terminated["exitCode"])
            if rule is not None and rule.get("action") == "RestartAllContainers":
                return True
    return False


def pod_actions(
    pod: Object, observed: PodObservation, probes: ProbeResults, *, restart_all: bool = False
) -> PodActions:
    """The next step of a pod that is to run. ``restart_all`` has its containers removed first, the cause last."""
    create, attempt, sandbox_id = sandbox_changed(pod, observed)
    actions = PodActions(kill_pod=create, create_sandbox=create, sandbox_id=sandbox_id, sandbox_attempt=attempt)
    if restart_all:
        actions.kill_pod = actions.create_sandbox = False
        actions.to_reset = _resets(pod, observed)
        return actions
    if create:
        return _begin_anew(pod, observed, actions)
    for index, container in enumerate(spec.ephemeral_containers(pod)):
        if observed.container(container["name"]) is None:
            actions.ephemeral_to_start.append(index)
    initialized = _init_actions(pod, observed, probes, actions)
    if actions.kill_pod or not initialized:
        return actions
    kept = 0
    for index, container in enumerate(spec.containers(pod)):
        latest = observed.container(container["name"])
        if latest is None or latest.state is not ContainerState.RUNNING:
            if should_start(pod, container, observed):
                actions.to_start.append(index)
                if latest is not None and latest.state is ContainerState.UNKNOWN:
                    _kill(actions, latest, 'Container is in "unknown" state, try killing it before restart')
            continue
        restart = spec.restarts_after_probe(pod, container)
        because = ""
        if latest.image != container["image"]:
            message = f"Container {container['name']} definition changed"
            restart = True
        elif probes.liveness(latest.id) is False:
            message = f"Container {container['name']} failed liveness probe"
            because = "LivenessProbe"
        elif probes.startup(latest.id) is False:
            message = f"Container {container['name']} failed startup probe"
            because = "StartupProbe"
        else:
            kept += 1
            continue
        if restart:
            message += ", will be restarted"
            actions.to_start.append(index)
        _kill(actions, latest, message, because)
    if kept == 0 and not actions.to_start:
        actions.kill_pod = True
        actions.init_to_start.clear()  # a sidecar alone does not keep a pod alive
    return actions


def _kill(actions: PodActions, status: ContainerStatus, message: str, because: str = "") -> None:
    actions.to_kill[status.id] = Kill(status.id, status.name, message, because)


def _begin_anew(pod: Object, observed: PodObservation, actions: PodActions) -> PodActions:
    if spec.restart_policy(pod) == "Never" and actions.sandbox_attempt != 0 and observed.containers:
        actions.create_sandbox = False
        return actions
    for index, container in enumerate(spec.containers(pod)):
        latest = observed.container(container["name"])
        succeeded = latest is not None and latest.state is ContainerState.EXITED and latest.exit_code == 0
        if succeeded and (container.get("restartPolicy") or spec.restart_policy(pod)) == "OnFailure":
            continue
        actions.to_start.append(index)
    if not actions.to_start and any_regular_created(pod, observed):
        actions.create_sandbox = False
        return actions
    if spec.init_containers(pod):
        actions.init_to_start = [0]
        actions.to_start = []
    return actions


def _resets(pod: Object, observed: PodObservation) -> list[Reset]:
    """Victims first, those whose end asked for it last; within each, ordinary containers before init containers."""
    sources: list[Reset] = []
    targets: list[Reset] = []
    for group in (spec.containers(pod), spec.init_containers(pod)):
        for container in group:
            for status in observed.attempts(container["name"]):
                exited = status.state is ContainerState.EXITED
                rule = spec.matching_rule(container, status.exit_code) if exited else None
                is_source = rule is not None and rule.get("action") == "RestartAllContainers"
                (sources if is_source else targets).append(Reset(status.id, status.name, not exited))
    return targets + sources


def _init_actions(pod: Object, observed: PodObservation, probes: ProbeResults, actions: PodActions) -> bool:
    """Add what init containers need; whether the pod is initialized."""
    inits = spec.init_containers(pod)
    if not inits:
        return True
    # A container that exists proves it, whatever became of the records of the init containers. One that exited does
    # not: it may belong to the sandbox before this one.
    initialized = any(
        latest is not None and latest.state in (ContainerState.CREATED, ContainerState.RUNNING)
        for latest in (observed.container(container["name"]) for container in spec.containers(pod))
    )
    passed = initialized  # this init container was completed at some time, for a later one has been seen
    starts: list[int] = []
    for index in range(len(inits) - 1, -1, -1):
        container = inits[index]
        latest = observed.container(container["name"])
        if latest is None:
            if passed and spec.is_sidecar(container):
                starts.append(index)
            continue
        if passed and not spec.is_sidecar(container):
            continue
        if spec.is_sidecar(container):
            step = _sidecar_step
        else:
            step = _init_step
        done = step(pod, container, index, latest, probes, actions, starts)
        if done is None:
            return False  # failed for good: actions.kill_pod is set
        if done:
            if index == len(inits) - 1:
                initialized = True
            elif not passed:
                starts.append(index + 1)
        passed = True
    if not passed:
        starts.append(0)
    actions.init_to_start = sorted(set(starts))
    return initialized


_Step = Callable[[Object, spec.Container, int, ContainerStatus, ProbeResults, PodActions, list[int]], bool | None]


def _init_step(
    pod: Object,
    container: spec.Container,
    index: int,
    latest: ContainerStatus,
    probes: ProbeResults,
    actions: PodActions,
    starts: list[int],
) -> bool | None:
    """True when done, False when not yet, None when the pod has failed."""
    if latest.state is ContainerState.RUNNING:
        return False
    if latest.state is ContainerState.CREATED:
        starts.append(index)  # the runtime could not start it: again, lest it stays so
        return False
    if latest.state is ContainerState.EXITED and not init_failed(latest):
        return True
    if latest.state is ContainerState.EXITED:
        restart = should_start(pod, container, observed=PodObservation((), (latest,)))
    else:
        restart = spec.restarts_after_probe(pod, container)
    if not restart:
        actions.kill_pod = True
        actions.init_to_start.clear()
        return None
    if latest.state is ContainerState.UNKNOWN:
        _kill(actions, latest, 'Init container is in "unknown" state, try killing it before restart')
    starts.append(index)
    return False


def _sidecar_step(
    pod: Object,
    container: spec.Container,
    index: int,
    latest: ContainerStatus,
    probes: ProbeResults,
    actions: PodActions,
    starts: list[int],
) -> bool | None:
    """True when it has started, so that the next init container may."""
    if latest.state is ContainerState.UNKNOWN:
        _kill(actions, latest, 'Init container is in "unknown" state, try killing it before restart')
    if latest.state is not ContainerState.RUNNING:
        starts.append(index)
        return False
    name = container["name"]
    if container.get("startupProbe"):
        startup = probes.startup(latest.id)
        if startup is False:
            _kill(actions, latest, f"Init container {name} failed startup probe", "StartupProbe")
            starts.append(index)
        if startup is not True:
            return False
    if latest.image != container["image"]:
        _kill(actions, latest, f"Init container {name} definition changed")
        starts.append(index)
    elif container.get("livenessProbe") and probes.liveness(latest.id) is False:
        _kill(actions, latest, f"Init container {name} failed liveness probe", "LivenessProbe")
        starts.append(index)
    return True
