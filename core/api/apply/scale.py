"""The managers of a Scale: those of the object that it scales, seen through its one field.

    Deployment  {"f:spec": {"f:replicas": {}, "f:paused": {}}}  of apps/v1
    Scale       {"f:spec": {"f:replicas": {}}}                  of autoscaling/v1, the same manager

A write to the Scale shifts managers there; the result is then put back into those of the object: who has lost the field
loses it there, who has won it has it there in the words of the version that was scaled.

Source: apimachinery ``util/managedfields/scalehandler.go``.
"""

from __future__ import annotations

from collections.abc import Callable

from cybernetes.core.api.apply.fieldset import FieldSet, Path, difference, has, of_paths
from cybernetes.core.api.apply.managers import APPLY, Entry, Identity, identity, new_entry, ordered, with_fields

_REPLICAS = ("f:spec", "f:replicas")
_SCALE = "autoscaling/v1"

#: Where a version of the scaled object has its replicas; None for one that is not served or not scaled.
PathOf = Callable[[str], Path | None]


def scale_entries(entries: list[Entry], path_of: PathOf) -> list[Entry]:
    """Of the managers of an object, those of its Scale."""
    found = []
    for entry in entries:
        path = path_of(entry["apiVersion"])
        if path is not None and has(entry["fieldsV1"], path):
            who = identity(entry)
            found.append(
                new_entry(
                    who.manager, who.operation, _SCALE, who.subresource, of_paths([_REPLICAS]), entry.get("time", "")
                )
            )
    return found


def parent_entries(entries: list[Entry], scaled: list[Entry], api_version: str, path_of: PathOf) -> list[Entry]:
    """The managers of an object (before: ``entries``) whose Scale was written in ``api_version`` and has ``scaled``.

    Who comes to own the replicas as an updater has an entry without a time, as upstream's has.
    """
    holders = {_key(entry): entry for entry in scaled if has(entry["fieldsV1"], _REPLICAS)}
    times: dict[Identity, str] = {}
    result = []
    for entry in entries:
        who = _key(entry)
        path = path_of(entry["apiVersion"])
        fields: FieldSet = entry["fieldsV1"]
        if who.operation == APPLY:
            times[who] = entry.get("time", "")
        if path is not None and has(fields, path) and holders.pop(who, None) is None:
            fields = difference(fields, of_paths([path]))
        if fields:
            result.append(entry if fields is entry["fieldsV1"] else with_fields(entry, fields))
    path = path_of(api_version)
    if path is not None:
        for who in holders:
            fields = of_paths([path])
            time = times.get(who, "")
            result.append(new_entry(who.manager, who.operation, api_version, who.subresource, fields, time))
    return ordered(result)


def _key(entry: Entry) -> Identity:
    """What an entry of the object and one of its Scale share."""
    return identity(entry)._replace(api_version="")
