"""How what keeps pods running is shown: apps, batch, autoscaling and policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.api.table.cells import (
    NONE,
    UNKNOWN,
    UNSET,
    Printer,
    age,
    containers_of,
    human_duration,
    labels_text,
    name,
    printer,
    selector_text,
    since,
    yes_or_no,
)
from cybernetes.core.clock import parse_time
from cybernetes.core.objects import Object, controller_of, is_condition_true

#: The conditions of a Job from the one that outweighs all to the weakest; deletion stands between.
_JOB_ENDED = (("Complete", "Complete"), ("Failed", "Failed"))
_JOB_STATES = (
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


def _parts(obj: Object) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return obj.get("spec") or {}, obj.get("status") or {}


def _replication_controller(obj: Object) -> list[Any]:
    spec, status = _parts(obj)
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [name(obj), *counts, age(obj), *containers_of(spec.get("template")), labels_text(spec.get("selector"))]


def _replica_set(obj: Object) -> list[Any]:
    spec, status = _parts(obj)
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [name(obj), *counts, age(obj), *containers_of(spec.get("template")), selector_text(spec.get("selector"))]


def _deployment(obj: Object) -> list[Any]:
    spec, status = _parts(obj)
    return [
        name(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj),
        *containers_of(spec.get("template")),
        selector_text(spec.get("selector"), empty="", wrong="<invalid>"),
    ]


def _stateful_set(obj: Object) -> list[Any]:
    spec, status = _parts(obj)
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [name(obj), ready, age(obj), *containers_of(spec.get("template"))]


def _daemon_set(obj: Object) -> list[Any]:
    spec, status = _parts(obj)
    counts = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    template = spec.get("template") or {}
    return [
        name(obj),
        *(status.get(count, 0) for count in counts),
        labels_text((template.get("spec") or {}).get("nodeSelector")),
        age(obj),
        *containers_of(template),
        selector_text(spec.get("selector")),
    ]


def _controller_revision(obj: Object) -> list[Any]:
    controller = controller_of(obj)
    text = NONE
    if controller is not None:
        group = controller.get("apiVersion", "").rpartition("/")[0]
        kind = f"{controller['kind']}.{group}" if group else controller["kind"]
        text = f"{kind.lower()}/{controller['name']}"
    return [name(obj), text, obj.get("revision", 0), age(obj)]


def _job(obj: Object) -> list[Any]:
    spec, status = _parts(obj)
    succeeded = status.get("succeeded", 0)
    parallelism = spec.get("parallelism") or 0
    if spec.get("completions") is not None:
        completions = f"{succeeded}/{spec['completions']}"
    elif parallelism > 1:
        completions = f"{succeeded}/1 of {parallelism}"
    else:
        completions = f"{succeeded}/1"
    started, ended = status.get("startTime"), status.get("completionTime")
    duration: Any = ""
    if started:
        duration = human_duration(parse_time(ended) - parse_time(started)) if ended else since(started)
    return [
        name(obj),
        _job_state(obj),
        completions,
        duration,
        age(obj),
        *containers_of(spec.get("template")),
        selector_text(spec.get("selector")),
    ]


def _job_state(obj: Object) -> str:
    for kind, text in _JOB_ENDED:
        if is_condition_true(obj, kind):
            return text
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for kind, text in _JOB_STATES:
        if is_condition_true(obj, kind):
            return text
    return "Running"


def _cron_job(obj: Object) -> list[Any]:
    spec, status = _parts(obj)
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        name(obj),
        spec.get("schedule", ""),
        NONE if spec.get("timeZone") is None else spec["timeZone"],
        yes_or_no(spec.get("suspend")),
        len(status.get("active") or ()),
        since(last) if last else NONE,
        age(obj),
        *containers_of(job.get("template")),
        selector_text(job.get("selector")),
    ]


def _disruption_budget(obj: Object) -> list[Any]:
    spec, status = _parts(obj)
    bounds = [str(spec.get(key)) if spec.get(key) is not None else "N/A" for key in ("minAvailable", "maxUnavailable")]
    return [name(obj), *bounds, status.get("disruptionsAllowed", 0), age(obj)]


def _autoscaler(obj: Object) -> list[Any]:
    spec, status = _parts(obj)
    target = spec.get("scaleTargetRef") or {}
    return [
        name(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _metrics(spec.get("metrics") or (), status.get("currentMetrics") or ()),
        str(spec["minReplicas"]) if spec.get("minReplicas") is not None else UNSET,
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age(obj),
    ]


def _metrics(specs: Any, statuses: Any) -> str:
    if not specs:
        return NONE
    listed = [_metric(spec, statuses[index] if index < len(statuses) else {}) for index, spec in enumerate(specs)]
    text = ", ".join(listed[:2])
    return f"{text} + {len(listed) - 2} more..." if len(listed) > 2 else text


def _metric(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """``current/target`` of one metric; what is not known yet is <unknown>."""
    kind = spec.get("type", "")
    field = kind[:1].lower() + kind[1:]
    source = spec.get(field)
    if source is None:
        return "<unknown type>"
    target, current = source.get("target") or {}, (status.get(field) or {}).get("current") or {}
    if field in ("resource", "containerResource"):
        prefix = f"{source.get('name', '')}: "
        if target.get("averageValue") is not None:
            return f"{prefix}{current.get('averageValue', UNKNOWN)}/{target['averageValue']}"
        used, wanted = current.get("averageUtilization"), target.get("averageUtilization")
        shown = UNKNOWN if used is None else f"{used}%"
        return f"{prefix}{shown}/{'<auto>' if wanted is None else f'{wanted}%'}"
    if field == "pods":
        return f"{current.get('averageValue', UNKNOWN)}/{target.get('averageValue', '')}"
    if target.get("averageValue") is not None:
        return f"{current.get('averageValue', UNKNOWN)}/{target['averageValue']} (avg)"
    return f"{current.get('value', UNKNOWN)}/{target.get('value', '')}"


def _scale(obj: Object) -> list[Any]:
    spec, status = _parts(obj)
    return [name(obj), spec.get("replicas", 0), status.get("replicas", 0), age(obj)]


#: Of the scale subresource, whatever it scales.
SCALE = printer("Name, Desired#, Available#, Age", _scale)

PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("", "replicationcontrollers"): printer(
        "Name!, Desired#, Current#, Ready#, Age, Containers*, Images*, Selector*", _replication_controller
    ),
    ("apps", "replicasets"): printer(
        "Name!, Desired#, Current#, Ready#, Age, Containers*, Images*, Selector*", _replica_set
    ),
    ("apps", "deployments"): printer(
        "Name!, Ready, Up-to-date, Available, Age, Containers*, Images*, Selector*", _deployment
    ),
    ("apps", "statefulsets"): printer("Name!, Ready, Age, Containers*, Images*", _stateful_set),
    ("apps", "daemonsets"): printer(
        "Name!, Desired#, Current#, Ready#, Up-to-date#, Available#, Node Selector, Age, Containers*, Images*, "
        "Selector*",
        _daemon_set,
    ),
    ("apps", "controllerrevisions"): printer("Name!, Controller, Revision, Age", _controller_revision),
    ("batch", "jobs"): printer("Name!, Status, Completions, Duration, Age, Containers*, Images*, Selector*", _job),
    ("batch", "cronjobs"): printer(
        "Name!, Schedule, Timezone, Suspend?, Active#, Last Schedule, Age, Containers*, Images*, Selector*", _cron_job
    ),
    ("policy", "poddisruptionbudgets"): printer(
        "Name!, Min Available, Max Unavailable, Allowed Disruptions#, Age", _disruption_budget
    ),
    ("autoscaling", "horizontalpodautoscalers"): printer(
        "Name!, Reference, Targets, MinPods, MaxPods, Replicas, Age", _autoscaler
    ),
}
