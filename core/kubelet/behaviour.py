"""How a simulated pod behaves: annotations on the pod, or rules in a file of stages, or nothing at all.

Without either, containers start at once and run until the pod is deleted; those of a Job's pod end after a second with
exit code 0. Annotations win over rules; the first rule that matches a pod counts. Durations are ``500ms``, ``2s``,
``1m30s``, or seconds as a number.

    annotation                        rule          meaning
    cybernetes.io/start-delay         startDelay    from the pod's arrival at the node until its containers start
    cybernetes.io/ready-delay         readyDelay    from a container's start until it is ready
    cybernetes.io/run-for             runFor        a container ends by itself after this
    cybernetes.io/exit-code           exitCode      … with this code (0)
    cybernetes.io/failures            failures      only the first so many runs end with that code, later ones with 0
    cybernetes.io/stop-delay          stopDelay     what a container takes to end once it is told to; at most the grace
    cybernetes.io/image-error         imageError    the image cannot be pulled: this is what the registry says
    cybernetes.io/cpu-usage           -             what each container uses of processors, a quantity (1m)
    cybernetes.io/memory-usage        -             … and of memory (16Mi)

``run-for.cybernetes.io/NAME``, ``exit-code.cybernetes.io/NAME``, ``failures.cybernetes.io/NAME``,
``ready-delay.cybernetes.io/NAME``, ``image-error.cybernetes.io/NAME``, ``cpu-usage.cybernetes.io/NAME`` and
``memory-usage.cybernetes.io/NAME`` are for the container NAME alone. In a rule, ``jitter`` stretches all of its
durations by up to that share, and ``failureRate`` is the share of runs that end with ``exitCode``:

    stages:
    - match: {namespace: batch, labels: {app: crawler}, ownerKind: Job, image: "crawler:*"}
      startDelay: 2s
      runFor: 30s
      jitter: 0.5
      exitCode: 1
      failureRate: 0.1
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import yaml

from cybernetes.core.clock import Random
from cybernetes.core.kubelet import spec
from cybernetes.core.objects import Object, annotations_of, labels_of

PREFIX = "cybernetes.io"
#: How long the containers of a Job's pod run when nothing else is said.
JOB_RUN_S = 1.0

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_DURATIONS = ("start-delay", "ready-delay", "run-for", "stop-delay")
_NUMBERS = ("exit-code", "failures")


class StagesError(ValueError):
    """A stages file or annotation that cannot be understood; the message says where and what is expected."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Of one container. None for ``run_for_s``: until it is stopped; for ``failures``: every run."""

    start_delay_s: float = 0.0
    ready_delay_s: float = 0.0
    run_for_s: float | None = None
    exit_code: int = 0
    failures: int | None = None
    failure_rate: float | None = None
    stop_delay_s: float = 0.0
    jitter: float = 0.0
    image_error: str = ""

    def ends_with(self, attempt: int, random: Random) -> int:
        """The exit code of the run number ``attempt``, from 0."""
        if self.failures is not None and attempt >= self.failures:
            return 0
        if self.failure_rate is not None and random.uniform() >= self.failure_rate:
            return 0
        return self.exit_code


DEFAULT = Behaviour()
#: What a Job's pod does: it ends, as an init container always does.
FINITE = Behaviour(run_for_s=JOB_RUN_S)


def parse_duration(text: Any, where: str) -> float:
    """Seconds. Raises StagesError."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return float(text)
    if isinstance(text, str):
        try:
            return float(text)
        except ValueError:
            parts = _DURATION.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            return sum(float(number) * _UNITS[unit] for number, unit in parts)
    raise StagesError(f"{where}: expected a duration such as 500ms, 2s or 1m30s, got {text!r}")


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a stages file: the pods it is for, and what it says."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    owner_kind: str = ""
    image: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, pod: Object) -> bool:
        metadata = pod["metadata"]
        if self.namespace and self.namespace != metadata.get("namespace"):
            return False
        labels = labels_of(pod)
        if any(labels.get(key) != value for key, value in self.labels.items()):
            return False
        owners = metadata.get("ownerReferences") or ()
        if self.owner_kind and all(owner.get("kind") != self.owner_kind for owner in owners):
            return False
        images = (container.get("image", "") for container in spec.containers(pod))
        return not self.image or any(fnmatchcase(image, self.image) for image in images)


_FIELDS = {
    "startDelay": "start-delay",
    "readyDelay": "ready-delay",
    "runFor": "run-for",
    "stopDelay": "stop-delay",
    "exitCode": "exit-code",
    "failures": "failures",
    "imageError": "image-error",
    "jitter": "jitter",
    "failureRate": "failure-rate",
}
_MATCH = {"namespace", "labels", "ownerKind", "image"}


def read_stages(text: str) -> list[Rule]:
    """The rules of a stages file. Raises StagesError with the place of what is wrong."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StagesError(f"stages: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("stages"), list):
        raise StagesError("stages: expected a mapping with a list `stages`")
    rules = []
    for index, entry in enumerate(document["stages"]):
        where = f"stages[{index}]"
        if not isinstance(entry, dict):
            raise StagesError(f"{where}: expected a mapping")
        match = entry.get("match") or {}
        unknown = [*(set(entry) - set(_FIELDS) - {"match"}), *(set(match) - _MATCH)]
        if unknown:
            raise StagesError(f"{where}: unknown field {sorted(unknown)[0]!r}")
        settings = {_FIELDS[key]: value for key, value in entry.items() if key in _FIELDS}
        _behaviour(settings, DEFAULT, where)
        labels = {str(key): str(value) for key, value in (match.get("labels") or {}).items()}
        rules.append(
            Rule(match.get("namespace", ""), labels, match.get("ownerKind", ""), match.get("image", ""), settings)
        )
    return rules


def behaviour_of(pod: Object, container: spec.Container, rules: Sequence[Rule] = ()) -> Behaviour:
    """How one container of ``pod`` behaves. What an annotation says wrongly is ignored."""
    name = container["name"]
    is_init = any(init["name"] == name for init in spec.init_containers(pod)) and not spec.is_sidecar(container)
    owners = pod["metadata"].get("ownerReferences") or ()
    is_job = any(owner.get("kind") == "Job" for owner in owners)
    result = FINITE if (is_job and not spec.is_sidecar(container)) or is_init else DEFAULT
    if not is_init:  # an init container only does what its name is given for
        for rule in rules:
            if rule.matches(pod):
                result = _behaviour(rule.settings, result, "stages")
                break
    annotations = annotations_of(pod)
    settings: dict[str, Any] = {}
    for key in (*_DURATIONS, *_NUMBERS, "image-error") if annotations else ():
        own, common = f"{key}.{PREFIX}/{name}", f"{PREFIX}/{key}"
        if own in annotations:
            settings[key] = annotations[own]
        elif common in annotations and (not is_init or key == "start-delay"):
            settings[key] = annotations[common]
    if not settings:
        return result
    try:
        return _behaviour(settings, result, "annotation")
    except StagesError:
        return result


def _behaviour(settings: Mapping[str, Any], base: Behaviour, where: str) -> Behaviour:
    values: dict[str, Any] = {name: getattr(base, name) for name in Behaviour.__dataclass_fields__}
    for key, value in settings.items():
        at = f"{where}.{key}"
        if key in _DURATIONS:
            values[key.replace("-", "_") + "_s"] = parse_duration(value, at)
        elif key in _NUMBERS:
            values[key.replace("-", "_")] = _number(value, at, int)
        elif key in ("jitter", "failure-rate"):
            values[key.replace("-", "_")] = _number(value, at, float)
        else:
            values["image_error"] = str(value)
    return Behaviour(**values)


def _number(value: Any, where: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise StagesError(f"{where}: expected a number, got {value!r}") from None


def is_finite(pod: Object, rules: Sequence[Rule] = ()) -> bool:
    """Whether some container of the pod ends by itself or is not ready at once, so that more will happen to it."""
    metadata = pod["metadata"]
    annotations = metadata.get("annotations")
    if not rules and not metadata.get("ownerReferences") and not annotations:
        return False
    for container in spec.containers(pod):
        behaviour = behaviour_of(pod, container, rules)
        if behaviour.run_for_s is not None:
            return True
    return False
