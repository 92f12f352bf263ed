"""EndpointSlices as data: endpoints that are the same, and how they are packed with little change.

Packing, with at most 100 endpoints a slice (upstream: reconcileByPortMapping):

1. Each existing slice keeps those of its endpoints that are still wanted, updated; one that loses all is deleted.
2. Slices that change anyway take new endpoints until they are full, the fullest first.
3. What is left goes into the unchanged slice that it fills best, or into new slices.

So a pod that comes or goes costs one write, however many slices there are; slices are not evened out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from cybernetes.core.objects import Object, name_of

Endpoint = dict[str, Any]
EndpointKey = tuple[tuple[str, ...], str, str, str]


def endpoint_key(endpoint: Mapping[str, Any]) -> EndpointKey:
    """What makes two endpoints the same one, possibly in another state."""
    target = endpoint.get("targetRef") or {}
    return (
        tuple(sorted(endpoint.get("addresses") or ())),
        endpoint.get("hostname") or "",
        target.get("namespace") or "",
        target.get("name") or "",
    )


def is_same_state(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Equal but for hints and the target's resourceVersion."""
    return _state(one) == _state(other)


def _state(endpoint: Mapping[str, Any]) -> tuple[Any, ...]:
    conditions = endpoint.get("conditions") or {}
    target = {name: value for name, value in (endpoint.get("targetRef") or {}).items() if name != "resourceVersion"}
    return (
        endpoint.get("nodeName"),
        endpoint.get("zone"),
        conditions.get("ready"),
        conditions.get("serving"),
        conditions.get("terminating"),
        target,
    )


def ports_key(ports: Iterable[Mapping[str, Any]]) -> bytes:
    """The same for the same set of ports. An absent name is an empty one."""
    entries = [
        orjson.dumps([port.get("name") or "", port.get("protocol") or "TCP", port.get("port"), port.get("appProtocol")])
        for port in ports or ()
    ]
    return b"\n".join(sorted(entries))


class Packing(NamedTuple):
    """``created`` are lists of endpoints, ``updated`` slices with their new endpoints, ``deleted`` existing slices."""

    created: list[list[Endpoint]]
    updated: list[Object]
    deleted: list[Object]
    unchanged: list[Object]


def pack(existing: Sequence[Object], wanted: Mapping[EndpointKey, Endpoint], size_max: int) -> Packing:
    """Place ``wanted`` into slices of one kind of ports with the fewest changes."""
    left = dict(wanted)
    changed: list[Object] = []
    deleted: list[Object] = []
    unchanged: list[Object] = []
    for one in existing:
        kept: list[Endpoint] = []
        is_updated = False
        for endpoint in one.get("endpoints") or ():
            found = left.pop(endpoint_key(endpoint), None)
            if found is None:
                continue
            if is_same_state(found, endpoint):
                kept.append(endpoint)  # with its hints
            else:
                kept.append(found)
                is_updated = True
        if not is_updated and len(kept) == len(one.get("endpoints") or ()):
            unchanged.append(one)
        elif kept:
            changed.append({**one, "endpoints": kept})
        else:
            deleted.append(one)
    rest = list(left.values())
    for one in sorted(changed, key=lambda one: (-len(one["endpoints"]), name_of(one))):
        room = max(0, size_max - len(one["endpoints"]))
        one["endpoints"] = [*one["endpoints"], *rest[:room]]
        rest = rest[room:]
    created: list[list[Endpoint]] = []
    while rest:
        best = _best_fit(unchanged, len(rest), size_max) if len(rest) < size_max else None
        if best is None:
            created.append(rest[:size_max])
            rest = rest[size_max:]
            continue
        unchanged.remove(best)
        changed.append({**best, "endpoints": [*(best.get("endpoints") or ()), *rest]})
        rest = []
    return Packing(created, changed, deleted, unchanged)


def _best_fit(slices: Iterable[Object], count: int, size_max: int) -> Object | None:
    """The slice that ``count`` more endpoints fill best."""
    best, best_room = None, size_max
    for one in slices:
        room = size_max - count - len(one.get("endpoints") or ())
        if 0 <= room < best_room:
            best, best_room = one, room
    return best
