"""The entries of ``metadata.managedFields``: who manages which fields, since when, in the words of which version.

    {"manager": "kubectl", "operation": "Apply", "apiVersion": "apps/v1", "time": "2024-05-01T10:00:00Z",
     "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}, "subresource": "status"}

An entry here is that very dict, with a ``fieldsV1`` that is a ``FieldSet``. What tells entries apart is their identity:
manager, operation, subresource, and for updates the version (who applies has one entry whatever version it speaks).

1. What the server stored is canonical and trusted. What a client sends (it may send the list with its object) is read
   with ``read``, which refuses what upstream's decoder refuses.
2. Entries are sorted: Apply before Update, then by time, manager, version, subresource.
3. At most ten managers keep entries of updates; older ones become one, ``ancient-changes``, for each version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from cybernetes.core.api.apply import fieldset
from cybernetes.core.api.apply.fieldset import FieldsError, FieldSet
from cybernetes.core.errors import quoted

APPLY = "Apply"
UPDATE = "Update"
#: So many managers keep entries of updates.
UPDATE_MANAGERS_MAX = 10
ANCIENT = "ancient-changes"
#: Who owns what an object had when it was first applied to and nothing was known of its managers.
BEFORE_FIRST_APPLY = "before-first-apply"

Entry = dict[str, Any]


class Identity(NamedTuple):
    """What tells entries apart. ``api_version`` is empty for who applies."""

    manager: str
    operation: str
    api_version: str
    subresource: str


#: The entries of one object.
Managers = dict[Identity, Entry]


class ManagersError(ValueError):
    """A managedFields that cannot be read, in upstream's words."""


def identity(entry: Mapping[str, Any]) -> Identity:
    operation = entry["operation"]
    version = "" if operation == APPLY else entry["apiVersion"]
    return Identity(entry.get("manager", ""), operation, version, entry.get("subresource", ""))


def new_entry(
    manager: str, operation: str, api_version: str, subresource: str, fields: FieldSet, time: str = ""
) -> Entry:
    """``time`` empty: the entry has none."""
    entry: Entry = {"manager": manager, "operation": operation, "apiVersion": api_version}
    if time:
        entry["time"] = time
    entry["fieldsType"] = "FieldsV1"
    entry["fieldsV1"] = fields
    if subresource:
        entry["subresource"] = subresource
    return entry


def with_fields(entry: Entry, fields: FieldSet, time: str = "") -> Entry:
    """The entry with other fields; with another time if one is given."""
    when = time or entry.get("time", "")
    return new_entry(
        entry.get("manager", ""), entry["operation"], entry["apiVersion"], entry.get("subresource", ""), fields, when
    )


def is_reset(entries: Any) -> bool:
    """Whether a client asks to forget all managers: by an empty list, or a list of one empty entry."""
    return entries is not None and (not entries or (len(entries) == 1 and not entries[0]))


def read(entries: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """The entries that a client sent, canonical; of two with one identity the later. Raises ManagersError."""
    found: Managers = {}
    for index, entry in enumerate(entries):
        operation = entry.get("operation") or ""
        if operation not in (APPLY, UPDATE):
            raise ManagersError("operation must be `Apply` or `Update`")
        if not entry.get("apiVersion"):
            raise ManagersError("apiVersion must not be empty")
        kind = entry.get("fieldsType") or ""
        if not kind:
            raise ManagersError(f"missing fieldsType in managed fields entry {index}")
        if kind != "FieldsV1":
            raise ManagersError(f"invalid fieldsType {quoted(kind)} in managed fields entry {index}")
        try:
            fields = fieldset.read(entry.get("fieldsV1"))
        except FieldsError as error:
            raise ManagersError(f"error decoding versioned set from {dict(entry)}: {error}") from None
        kept = new_entry(
            entry.get("manager") or "",
            operation,
            entry["apiVersion"],
            entry.get("subresource") or "",
            fields,
            entry.get("time") or "",
        )
        found[identity(kept)] = kept
    return list(found.values())


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """As they are stored."""
    return sorted(entries, key=_order)


def _order(entry: Entry) -> tuple[str, str, str, str, str]:
    return (
        entry["operation"],
        entry.get("time", ""),  # one form of text, so that its order is that of time
        entry.get("manager", ""),
        entry["apiVersion"],
        entry.get("subresource", ""),
    )


def capped(entries: list[Entry]) -> list[Entry]:
    """At most UPDATE_MANAGERS_MAX entries of updates: the oldest of one version are joined until there are no more."""
    updates = [entry for entry in entries if entry["operation"] == UPDATE]
    excess = len(updates) - UPDATE_MANAGERS_MAX
    if excess <= 0:
        return entries
    updates.sort(key=_age)
    found = {identity(entry): entry for entry in entries}
    first_of: dict[str, Identity] = {}
    for entry in updates:
        if excess <= 0:
            break
        version, who = entry["apiVersion"], identity(entry)
        first = first_of.setdefault(version, who)
        if first == who:
            continue
        bucket = Identity(ANCIENT, UPDATE, version, "")
        if bucket not in found:
            found[bucket] = found.pop(first)
        fields = fieldset.union(entry["fieldsV1"], found[bucket]["fieldsV1"])
        del found[who]
        found[bucket] = new_entry(ANCIENT, UPDATE, version, "", fields, entry.get("time", ""))
        excess -= 1
    return list(found.values())


def _age(entry: Entry) -> tuple[str, bytes]:
    return entry.get("time", ""), identity_text(identity(entry)).encode()


def identity_text(who: Identity) -> str:
    """The identity as upstream's text, which it sorts by."""
    shown = {"manager": who.manager, "operation": who.operation, "apiVersion": who.api_version}
    if who.subresource:
        shown["subresource"] = who.subresource
    return orjson.dumps({name: value for name, value in shown.items() if value}).decode()


def differ_by_times(first: Sequence[Entry], second: Sequence[Entry]) -> bool:
    """Whether the times, and only these, differ."""
    if len(first) != len(second):
        return False
    found = False
    for one, other in zip(first, second, strict=True):
        if one is not other:
            if not _is_same(one, other):
                return False
            found = found or one.get("time") != other.get("time")
    return found


def _is_same(one: Entry, other: Entry) -> bool:
    for name in ("manager", "operation", "apiVersion", "subresource"):
        if one.get(name) != other.get(name):
            return False
    fields, others = one["fieldsV1"], other["fieldsV1"]
    return fields is others or fields == others  # a dict compares itself, too, member by member
