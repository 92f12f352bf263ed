"""A pod that only pretends to run: the kubelet's own decisions on containers that are made of times.

``SimulatedRun`` stands where a runtime would: it holds what it would report (a ``PodObservation``), and carries out
``pod_actions`` at once by writing down when a container started and when it will end. So a simulated pod goes through
the same phases, conditions, restarts and back-offs as a real one, on whatever clock the caller has.

A run exists only while something is still to happen. A pod whose containers run until they are told otherwise is
forgotten, and rebuilt from the status that it has in the API (``adopt``) when it is deleted or the process restarts:

    bound        run made, starts, status published        run dropped: nothing more will happen
    deleted      run adopted from the status, stops        last status, run dropped
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cybernetes.core.clock import Random, parse_time
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.actions import pod_actions
from cybernetes.core.kubelet.backoff import Backoff, format_duration
from cybernetes.core.kubelet.behaviour import Behaviour, Rule, behaviour_of
from cybernetes.core.kubelet.containerstatus import StartFailure
from cybernetes.core.kubelet.observed import ContainerState, ContainerStatus, PodObservation, SandboxStatus
from cybernetes.core.kubelet.podstatus import DEADLINE_EXCEEDED, Eviction, finish, pod_status
from cybernetes.core.kubelet.probes import ProbeKind, bare_id
from cybernetes.core.objects import Object, uid_of

RUNTIME_NAME = "simulated"
#: Steps a pod may take in one moment; more would mean that its containers end as fast as they start.
_STEPS_MAX = 32
_NEVER = float("inf")


class Noted(NamedTuple):
    """Something worth an event about a container: (type, reason, message, container's name)."""

    kind: str
    reason: str
    message: str
    container: str


class SimulatedProbes:
    """Every probe succeeds once its container is as old as its ready delay."""

    __slots__ = ("_now", "_run")

    def __init__(self, run: SimulatedRun, now: float) -> None:
        self._run = run
        self._now = now

    def knows(self, kind: ProbeKind, container_id: str) -> bool:
        return True

    def liveness(self, container_id: str) -> bool | None:
        return True

    def startup(self, container_id: str) -> bool | None:
        return True

    def readiness(self, container_id: str) -> bool | None:
        return self._now >= self._run.ready_at.get(container_id, 0.0)


class SimulatedRun:
    """One pod's containers while something is still to happen to them."""

    __slots__ = (
        "address",
        "backoff",
        "began_at",
        "containers",
        "ends_at",
        "eviction",
        "failures",
        "is_adopted",
        "noted",
        "ready_at",
        "sandbox",
        "starts_at",
    )

    def __init__(self, address: str) -> None:
        self.address = address
        self.sandbox: SandboxStatus | None = None
        self.containers: list[ContainerStatus] = []
        #: container id -> (when, exit code)
        self.ends_at: dict[str, tuple[float, int]] = {}
        self.ready_at: dict[str, float] = {}
        self.failures: dict[str, StartFailure] = {}
        self.backoff = Backoff(10.0, 300.0, 600.0)
        #: When the pod's containers may start, None before the first step.
        self.starts_at: float | None = None
        self.began_at = 0.0
        self.noted: list[Noted] = []
        self.is_adopted = False
        self.eviction: Eviction | None = None

    @classmethod
    def adopt(cls, pod: Object) -> SimulatedRun:
        """The run behind a status that was published before."""
        status = pod.get("status") or {}
        run = cls(status.get("podIP", ""))
        run.is_adopted = True
        uid = uid_of(pod)
        if status.get("startTime"):
            run.began_at = run.starts_at = parse_time(status["startTime"])
        for kind in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
            for entry in status.get(kind) or ():
                restored = _restored(uid, entry)
                if restored is not None:
                    run.containers.append(restored)
                    run.ready_at[restored.id] = 0.0 if entry.get("ready") else _NEVER
        if run.containers:
            run.sandbox = _sandbox(pod, 0, run.containers[0].created_at, run.address)
        return run

    def observation(self) -> PodObservation:
        return PodObservation.of([self.sandbox] if self.sandbox else [], self.containers)

    def step(self, pod: Object, rules: Sequence[Rule], random: Random, now: float) -> float:
        """Bring the run to ``now``. Returns when the next thing will happen, infinity for nothing."""
        if self.starts_at is None:
            self.began_at = now
            first = behaviour_of(pod, spec.containers(pod)[0], rules)
            self.starts_at = now + random.jitter(first.start_delay_s, first.jitter)
        self._end_due(now)
        if pod["metadata"].get("deletionTimestamp"):
            return self._terminate(pod, rules, now)
        if self.is_adopted:
            self._resume(pod, rules, random)
            self._end_due(now)
        if now < self.starts_at:
            return self.starts_at
        deadline: float = self.began_at + pod["spec"].get("activeDeadlineSeconds", _NEVER)
        if now >= deadline:
            self.eviction = DEADLINE_EXCEEDED
            self._stop_all(now)
            return _NEVER
        wake_at = deadline
        for _ in range(_STEPS_MAX):
            actions = pod_actions(pod, self.observation(), SimulatedProbes(self, now))
            if actions.kill_pod:
                self._stop_all(now)
            if actions.create_sandbox:
                self.sandbox = _sandbox(pod, actions.sandbox_attempt, now, self.address)
            for reset in actions.to_reset:
                self.containers = [status for status in self.containers if status.id != reset.container_id]
            starting = [
                *(spec.init_containers(pod)[index] for index in actions.init_to_start),
                *(spec.containers(pod)[index] for index in actions.to_start),
                *(spec.ephemeral_containers(pod)[index] for index in actions.ephemeral_to_start),
            ]
            started = False
            for container in starting:
                retry_at = self._start(pod, container, behaviour_of(pod, container, rules), random, now)
                started = started or retry_at is None
                wake_at = min(wake_at, retry_at if retry_at is not None else _NEVER)
            if not started:
                break
            self._end_due(now)
        due = [at for at, _ in self.ends_at.values()]
        due.extend(at for at in self.ready_at.values() if now < at < _NEVER)
        return min([wake_at, *due])

    def _resume(self, pod: Object, rules: Sequence[Rule], random: Random) -> None:
        """Say again of adopted containers when they end and when they are ready."""
        self.is_adopted = False
        for status in self.containers:
            container = spec.find_container(pod, status.name)
            if status.state is not ContainerState.RUNNING or container is None:
                continue
            behaviour = behaviour_of(pod, container, rules)
            if behaviour.run_for_s is not None:
                exit_code = behaviour.ends_with(status.attempt, random)
                self.ends_at[status.id] = (status.started_at + behaviour.run_for_s, exit_code)
            if self.ready_at.get(status.id) == _NEVER:
                self.ready_at[status.id] = status.started_at + behaviour.ready_delay_s

    def _end_due(self, now: float) -> None:
        for index, status in enumerate(self.containers):
            end = self.ends_at.get(status.id)
            if end is not None and end[0] <= now:
                del self.ends_at[status.id]
                self.containers[index] = _ended(status, *end)

    def _start(
        self, pod: Object, container: spec.Container, behaviour: Behaviour, random: Random, now: float
    ) -> float | None:
        """Start a container; when it may not yet, the time of the next try."""
        name = container["name"]
        previous = self.observation().container(name)
        key = f"{name}/{container['image']}"
        if behaviour.image_error:
            return self._refuse_image(container, behaviour, key, now)
        if previous is not None and previous.state is ContainerState.EXITED:
            wait_s = self.backoff.remaining_since(key, previous.finished_at, now)
            if wait_s > 0:
                delay = format_duration(self.backoff.get(key))
                message = f"back-off {delay} restarting failed container={name} pod={spec.describe(pod)}"
                self.failures[name] = StartFailure("CrashLoopBackOff", message)
                text = f"Back-off restarting failed container {name} in pod {spec.describe(pod)}"
                self.noted.append(Noted("Warning", "BackOff", text, name))
                return now + wait_s
            self.backoff.next(key, previous.finished_at, now)
        self.failures.pop(name, None)
        attempt = previous.attempt + 1 if previous is not None else 0
        container_id = f"{uid_of(pod)}-{name}-{attempt}"
        text = f'Container image "{container["image"]}" already present on machine and can be accessed by the pod'
        self.noted.append(Noted("Normal", "Pulled", text, name))
        self.noted.append(Noted("Normal", "Created", "Container created", name))
        self.noted.append(Noted("Normal", "Started", "Container started", name))
        sandbox_id = self.sandbox.id if self.sandbox else ""
        status = _status(container_id, sandbox_id, uid_of(pod), name, attempt, container["image"], now)
        # Of each container the last two attempts are kept, as a runtime is told to.
        older = [known for known in self.containers if known.name == name][:-1]
        self.containers = [known for known in self.containers if known not in older]
        self.containers.append(status)
        if behaviour.run_for_s is not None:
            ends_at = now + random.jitter(behaviour.run_for_s, behaviour.jitter)
            self.ends_at[container_id] = (ends_at, behaviour.ends_with(attempt, random))
        self.ready_at[container_id] = now + random.jitter(behaviour.ready_delay_s, behaviour.jitter)
        return None

    def _refuse_image(self, container: spec.Container, behaviour: Behaviour, key: str, now: float) -> float:
        name, image = container["name"], container["image"]
        wait_s = self.backoff.remaining(f"image {key}", now)
        if wait_s > 0:
            message = f'Back-off pulling image "{image}": ErrImagePull: {behaviour.image_error}'
            self.failures[name] = StartFailure("ImagePullBackOff", message)
            self.noted.append(Noted("Normal", "BackOff", f'Back-off pulling image "{image}"', name))
            return now + wait_s
        self.backoff.next(f"image {key}", now, now)
        self.failures[name] = StartFailure("ErrImagePull", behaviour.image_error)
        self.noted.append(Noted("Normal", "Pulling", f'Pulling image "{image}"', name))
        text = f'Failed to pull image "{image}": {behaviour.image_error}'
        self.noted.append(Noted("Warning", "Failed", text, name))
        self.noted.append(Noted("Warning", "Failed", "Error: ErrImagePull", name))
        return now + min(1.0, self.backoff.get(f"image {key}"))  # then it is told that it backs off

    def _terminate(self, pod: Object, rules: Sequence[Rule], now: float) -> float:
        grace_s = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        for status in self.containers:
            if status.state is not ContainerState.RUNNING:
                continue
            container = spec.find_container(pod, status.name)
            behaviour = behaviour_of(pod, container, rules) if container is not None else Behaviour()
            stop_s = min(behaviour.stop_delay_s, grace_s)
            known = self.ends_at.get(status.id)
            is_told = status.id in self.ready_at and self.ready_at[status.id] == -1.0
            if not is_told:
                self.noted.append(Noted("Normal", "Killing", f"Stopping container {status.name}", status.name))
                self.ready_at[status.id] = -1.0
            if known is None or known[0] > now + stop_s:
                self.ends_at[status.id] = (now + stop_s, 137 if behaviour.stop_delay_s > grace_s else 0)
        self._end_due(now)
        return min([_NEVER, *(at for at, _ in self.ends_at.values())])

    def _stop_all(self, now: float) -> None:
        self.ends_at.clear()
        self.containers = [
            _ended(status, now, 0) if status.state is ContainerState.RUNNING else status for status in self.containers
        ]
        if self.sandbox is not None:
            self.sandbox = self.sandbox._replace(is_ready=False)

    @property
    def is_over(self) -> bool:
        """Nothing runs any more."""
        return all(status.state is not ContainerState.RUNNING for status in self.containers)

    def status(self, pod: Object, host_addresses: Sequence[str], now: float) -> Object:
        """What a kubelet would publish now."""
        is_deleting = bool(pod["metadata"].get("deletionTimestamp"))
        result = pod_status(
            pod,
            self.observation(),
            pod.get("status") or {},
            probes=SimulatedProbes(self, now),
            failures=self.failures,
            runtime_name=RUNTIME_NAME,
            host_addresses=host_addresses,
            now=now,
            is_terminal=(is_deleting or self.eviction is not None) and self.is_over,
            eviction=self.eviction,
        )
        return finish(pod, result, now) if is_deleting and self.is_over else result


def _sandbox(pod: Object, attempt: int, created_at: float, address: str) -> SandboxStatus:
    metadata = pod["metadata"]
    host_network = spec.is_host_network(pod)
    return SandboxStatus(
        id=f"{metadata['uid']}-{attempt}",
        uid=metadata["uid"],
        name=metadata["name"],
        namespace=metadata.get("namespace", ""),
        attempt=attempt,
        is_ready=True,
        created_at=created_at,
        addresses=() if host_network else (address,),
        host_network=host_network,
    )


def _status(
    container_id: str, sandbox_id: str, uid: str, name: str, attempt: int, image: str, now: float
) -> ContainerStatus:
    return ContainerStatus(
        id=container_id,
        sandbox_id=sandbox_id,
        pod_uid=uid,
        name=name,
        attempt=attempt,
        state=ContainerState.RUNNING,
        image=image,
        image_id=image,
        created_at=now,
        started_at=now,
        finished_at=0.0,
        exit_code=0,
        reason="",
        message="",
        log_path="",
    )


def _ended(status: ContainerStatus, at: float, exit_code: int) -> ContainerStatus:
    reason = "Completed" if exit_code == 0 else "Error"
    return status._replace(state=ContainerState.EXITED, finished_at=at, exit_code=exit_code, reason=reason)


def _restored(uid: str, entry: Object) -> ContainerStatus | None:
    """A container from its published status, None for one that had not started."""
    running = entry["state"].get("running")
    ended = entry["state"].get("terminated")
    if running is None and ended is None:
        return None
    started = (running or ended).get("startedAt")
    started_at = parse_time(started) if started else 0.0
    status = _status(
        bare_id(entry.get("containerID", "")) or f"{uid}-{entry['name']}-{entry['restartCount']}",
        f"{uid}-0",
        uid,
        entry["name"],
        entry["restartCount"],
        entry["image"],
        started_at,
    )
    if ended is None:
        return status
    finished = ended.get("finishedAt")
    return status._replace(
        state=ContainerState.EXITED,
        finished_at=parse_time(finished) if finished else started_at,
        exit_code=ended["exitCode"],
        reason=ended.get("reason", ""),
        message=ended.get("message", ""),
    )
