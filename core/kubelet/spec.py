"""Questions to a pod's spec that several decisions ask: which containers, which restart policy, which grace period.

A container may carry a restart policy of its own, which wins over the pod's, and rules by exit code, which win over
both. An init container with the policy ``Always`` is a sidecar: it starts in the order of the init containers and
goes on running beside the others (https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cybernetes.core.objects import Object

Container = Mapping[str, Any]

#: What a container that is killed is always given, so that a SIGTERM is seen before the SIGKILL.
MINIMUM_GRACE_S = 2


def init_containers(pod: Object) -> list[Any]:
    return pod["spec"].get("initContainers") or []


def containers(pod: Object) -> list[Any]:
    return pod["spec"].get("containers") or []


def ephemeral_containers(pod: Object) -> list[Any]:
    return pod["spec"].get("ephemeralContainers") or []


def all_containers(pod: Object) -> Iterator[Any]:
    """Init, ordinary and ephemeral containers, in that order."""
    yield from init_containers(pod)
    yield from containers(pod)
    yield from ephemeral_containers(pod)


def find_container(pod: Object, name: str) -> Container | None:
    for container in all_containers(pod):
        if container["name"] == name:
            return container  # type: ignore[no-any-return]
    return None


def restart_policy(pod: Object) -> str:
    return pod["spec"].get("restartPolicy") or "Always"


def is_sidecar(init_container: Container) -> bool:
    return init_container.get("restartPolicy") == "Always"


def has_sidecars(pod: Object) -> bool:
    return any(is_sidecar(container) for container in init_containers(pod))


def matching_rule(container: Container, exit_code: int) -> Mapping[str, Any] | None:
    """The first of the container's restart rules that its exit code satisfies."""
    for rule in container.get("restartPolicyRules") or ():
        condition = rule.get("exitCodes")
        if condition is None:
            continue
        is_listed = exit_code in (condition.get("values") or ())
        if is_listed == (condition.get("operator") == "In"):
            return rule  # type: ignore[no-any-return]
    return None


def restarts_after(pod: Object, container: Container, exit_code: int) -> bool:
    """Whether a container that ended with ``exit_code`` is run again."""
    policy = container.get("restartPolicy")
    if policy is not None:
        rule = matching_rule(container, exit_code)
        if rule is not None and rule.get("action") in ("Restart", "RestartAllContainers"):
            return True
    policy = policy or restart_policy(pod)
    if policy == "OnFailure":
        return exit_code != 0
    return bool(policy != "Never")


def restarts_after_probe(pod: Object, container: Container) -> bool:
    """Whether a container that a probe had killed is run again. It has no exit code yet, so rules do not count."""
    return (container.get("restartPolicy") or restart_policy(pod)) != "Never"


def may_restart_all(pod: Object) -> bool:
    """Whether some container has a rule by which its end restarts the whole pod in place."""
    return any(
        rule.get("action") == "RestartAllContainers"
        for container in [*init_containers(pod), *containers(pod)]
        for rule in container.get("restartPolicyRules") or ()
    )


def is_static(pod: Object) -> bool:
    """From a file on the node rather than from the API."""
    source = (pod["metadata"].get("annotations") or {}).get("kubernetes.io/config.source")
    return source is not None and source != "api"


def is_mirror(pod: Object) -> bool:
    """The API's image of a static pod."""
    return "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})


def is_host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def is_terminal_phase(phase: str | None) -> bool:
    return phase in ("Succeeded", "Failed")


def describe(pod: Object) -> str:
    """``name_namespace(uid)``: how upstream's texts name a pod."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata.get('namespace', '')}({metadata.get('uid', '')})"


def container_field_path(pod: Object, name: str) -> str:
    """What an event about a container has in ``involvedObject.fieldPath``."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod["spec"].get(kind) or ():
            if container["name"] == name:
                return f"spec.{kind}{{{name}}}"
    return ""


def grace_period_s(pod: Object, container: Container | None, because: str = "") -> int:
    """Seconds between the stop signal and the kill.

    ``because`` is ``StartupProbe`` or ``LivenessProbe`` when such a probe has it killed: a probe may have its own.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    if metadata.get("deletionGracePeriodSeconds") is not None:
        return int(metadata["deletionGracePeriodSeconds"])
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        return MINIMUM_GRACE_S
    field = {"StartupProbe": "startupProbe", "LivenessProbe": "livenessProbe"}.get(because)
    if field and container is not None:
        own = (container.get(field) or {}).get("terminationGracePeriodSeconds")
        if own is not None:
            return int(own)
    return int(grace)
