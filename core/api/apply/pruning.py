"""Abandoned fields: what a manager applied before and does not apply any more goes, unless somebody else manages it.

    merged     what the configuration makes of the object, with everything that was there
    pruned     merged without what the manager applied last time …
               … with what any manager (this one included) owns put back
               … with what the manager did not apply itself put back: a default beside a field of its own

Each step works in the version in which the fields it looks at were written. Source: structured-merge-diff,
``merge.Updater.prune``.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.apply.extraction import to_set
from cybernetes.core.api.apply.fieldset import FieldSet, difference, intersection, union
from cybernetes.core.api.apply.managers import Entry, Identity, Managers
from cybernetes.core.api.apply.removal import remove, with_named_fields
from cybernetes.core.api.apply.versions import Version, Versions


def prune(merged: Any, version: Version, versions: Versions, managers: Managers, who: Identity, last: Entry) -> Any:
    """``merged`` (of ``version``) without what ``who`` has abandoned.

    ``managers`` have the new fields of ``who``, ``last`` its old ones. Shares parts with ``merged``.
    """
    applied: FieldSet = last["fieldsV1"]
    if not applied:
        return merged
    if last["apiVersion"] == version.api_version and not difference(applied, managers[who]["fieldsV1"]):
        return merged  # nothing was abandoned: every step below would put back what the one before took
    spoken = versions(last["apiVersion"])
    if spoken is None:
        return merged
    whole = spoken.of(merged, version.api_version)
    rest = remove(spoken.type, whole, with_named_fields(spoken.type, applied))
    rest = _with_owned(whole, rest, spoken, versions, managers)
    rest = _with_unapplied(whole, rest, spoken, applied)
    return version.of(rest, spoken.api_version)


def _with_owned(whole: Any, rest: Any, spoken: Version, versions: Versions, managers: Managers) -> Any:
    """``rest`` with what any manager owns of ``whole``; both are and stay in the version ``spoken``."""
    owned: dict[str, FieldSet] = {}
    for entry in managers.values():
        api_version = entry["apiVersion"]
        owned[api_version] = union(owned.get(api_version, {}), entry["fieldsV1"])
    # First in the version that things were taken away in: to convert may need what is missing.
    first = spoken.api_version
    current = spoken
    for api_version in sorted(owned, key=lambda name: name != first):
        target = versions(api_version)
        if target is None:
            continue
        whole = target.of(whole, current.api_version)
        rest = target.of(rest, current.api_version)
        current = target
        type_ = target.type
        kept = union(
            with_named_fields(type_, to_set(type_, rest)),
            with_named_fields(type_, owned[api_version]),
        )
        rest = remove(type_, whole, difference(with_named_fields(type_, to_set(type_, whole)), kept))
    return spoken.of(rest, current.api_version)


def _with_unapplied(whole: Any, rest: Any, spoken: Version, applied: FieldSet) -> Any:
    """What of ``whole`` is in ``rest``, or was not applied by the manager."""
    type_ = spoken.type
    gone = difference(
        with_named_fields(type_, to_set(type_, whole)),
        with_named_fields(type_, to_set(type_, rest)),
    )
    return remove(type_, whole, intersection(gone, with_named_fields(type_, applied)))
