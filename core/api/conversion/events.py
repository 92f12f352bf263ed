"""events.k8s.io/v1 and the core group's Event are one object under two sets of names."""

from __future__ import annotations

from collections.abc import Mapping

from cybernetes.core.objects import Object

#: events.k8s.io -> core. Fields that are not named here are called the same in both.
_NAMES: Mapping[str, str] = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_BACK: Mapping[str, str] = {core: new for new, core in _NAMES.items()}

#: Field selectors: events.k8s.io -> core.
FIELDS: Mapping[str, str] = {
    "reportingController": "reportingComponent",
    **{
        f"regarding.{name}": f"involvedObject.{name}"
        for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    },
}


def to_core(event: Object) -> Object:
    """An events.k8s.io/v1 Event as the core group names it."""
    converted = {_NAMES.get(key, key): value for key, value in event.items()}
    converted["apiVersion"] = "v1"
    # What the core type always has and the other only when it is set, and the other way round.
    converted.setdefault("reportingInstance", "")
    converted.setdefault("reportingComponent", "")
    series = converted.get("series")
    if series and not series.get("count"):
        converted["series"] = {key: value for key, value in series.items() if key != "count"}
    return converted


def from_core(event: Object) -> Object:
    """A core Event as events.k8s.io/v1 names it."""
    converted = {_BACK.get(key, key): value for key, value in event.items()}
    converted["apiVersion"] = "events.k8s.io/v1"
    for key in ("reportingController", "reportingInstance"):
        if converted.get(key) == "":
            del converted[key]
    if converted.get("series") is not None:
        converted["series"] = {"count": 0, **converted["series"]}
    return converted
