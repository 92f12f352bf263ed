"""What a failed test is told about its cluster: the cluster's own events, what was written, what faults struck."""

from __future__ import annotations

from typing import Any

import orjson

from cybernetes.core.store.interface import Event
from cybernetes.services.testing.settling import describe

#: So many of each are shown, the last ones.
SHOWN_MAX = 40


def report(cluster: Any, after_revision: int = 0) -> str:
    """What happened after ``after_revision``, oldest first; "" when nothing did."""
    activity = cluster.activity
    parts = []
    diary = [_told(event) for _, event in activity.diary if event.record.mod_revision > after_revision]
    changes = [
        f"{seconds:10.3f} s  {describe(event)}"
        for seconds, event in activity.recent
        if event.record.mod_revision > after_revision
    ]
    struck = [f"{seconds:10.3f} s  {text}" for seconds, text in cluster.faults.struck]
    for title, lines in (("events", [line for line in diary if line]), ("written", changes), ("faults", struck)):
        if lines:
            left_out = len(lines) - SHOWN_MAX
            first = [f"  … {left_out} before"] if left_out > 0 else []
            parts.append("\n".join([f"{title}:", *first, *(f"  {line}" for line in lines[-SHOWN_MAX:])]))
    return "\n".join(parts)


def _told(event: Event) -> str:
    """``Warning FailedScheduling pod default/web: 0/3 nodes are available …``"""
    if not event.record.value:
        return ""
    obj = orjson.loads(event.record.value)
    about = obj.get("regarding") or obj.get("involvedObject") or {}
    what = f"{about.get('kind', '').lower()} {about.get('namespace', '')}/{about.get('name', '')}"
    note = obj.get("note") or obj.get("message") or ""
    return f"{obj.get('type', ''):7} {obj.get('reason', '')} {what}: {note}"
