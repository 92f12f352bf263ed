"""Pods and observations for the tests of decisions, in as few words as possible."""

from cybernetes.core.kubelet.observed import ContainerState, ContainerStatus, PodObservation, SandboxStatus
from cybernetes.core.kubelet.probes import ProbeKind, ResultTable

NOW = 1_700_000_000.0


def container(name="c", image="i:1", **fields):
    return {"name": name, "image": image, **fields}


def pod(*containers, policy="Always", inits=(), metadata=None, status=None, **spec):
    return {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 1, **(metadata or {})},
        "spec": {
            "restartPolicy": policy,
            "containers": list(containers) or [container()],
            **({"initContainers": list(inits)} if inits else {}),
            **spec,
        },
        "status": status or {},
    }


def sandbox(attempt=0, ready=True, addresses=("10.0.0.5",), host=False):
    return SandboxStatus(f"s{attempt}", "u", "p", "ns", attempt, ready, NOW + attempt, addresses, host)


def ran(name="c", state="running", code=0, attempt=0, image="i:1", reason=None, sandbox_id="s0", message=""):
    """A container as the runtime reports it. ``state``: running, exited, created, unknown."""
    kind = ContainerState(state)
    ended = kind is ContainerState.EXITED
    if reason is None:
        reason = ("Completed" if code == 0 else "Error") if ended else ""
    return ContainerStatus(
        id=f"{name}-{attempt}",
        sandbox_id=sandbox_id,
        pod_uid="u",
        name=name,
        attempt=attempt,
        state=kind,
        image=image,
        image_id="sha256:1",
        created_at=NOW + attempt,
        started_at=0.0 if kind is ContainerState.CREATED else NOW + attempt,
        finished_at=NOW + attempt + 5 if ended else 0.0,
        exit_code=code,
        reason=reason,
        message=message,
        log_path="",
    )


def seen(*containers, sandboxes=None):
    return PodObservation.of([sandbox()] if sandboxes is None else sandboxes, containers)


def results(**by_kind):
    """``results(liveness={"c-0": False})``."""
    table = ResultTable()
    for kind, values in by_kind.items():
        for container_id, value in values.items():
            table.set(ProbeKind(kind.capitalize()), container_id, value)
    return table
