"""The device allocator against every assignment there is, on small random nodes."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cybernetes.core.clock import Random
from cybernetes.core.scheduling.devices.allocator import Allocator
from cybernetes.core.scheduling.devices.books import Books
from cybernetes.core.scheduling.devices.pools import Slices
from cybernetes.core.scheduling.devices.selectors import Selectors
from cybernetes.core.scheduling.nodeinfo import NodeInfo

DRIVER = "d.example.com"
NODE = NodeInfo({"metadata": {"name": "n"}})
CLASSES = {"c": {"metadata": {"name": "c"}, "spec": {}}}

Device = tuple[str, int, int]  # model, numa, how much of the counter it takes (0: none)

devices = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2), st.sampled_from([0, 0, 1, 2])), min_size=1, max_size=5
)
requests = st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.integers(1, 2)), min_size=1, max_size=2)
constraints = st.sampled_from(["", "match", "distinct"])


def slices_of(given_devices: list[Device], counter: int) -> Slices:
    pool = {"name": "p", "generation": 1, "resourceSliceCount": 2}
    shared = [{"name": "s", "counters": {"k": {"value": str(counter)}}}]
    made = []
    for position, (model, numa, takes) in enumerate(given_devices):
        device: dict[str, Any] = {
            "name": f"g{position}",
            "attributes": {"model": {"string": model}, "numa": {"int": numa}},
        }
        if takes:
            device["consumesCounters"] = [{"counterSet": "s", "counters": {"k": {"value": str(takes)}}}]
        made.append(device)
    return Slices(
        [
            {"metadata": {"name": "counters"}, "spec": {"driver": DRIVER, "pool": pool, "sharedCounters": shared}},
            {
                "metadata": {"name": "devices"},
                "spec": {"driver": DRIVER, "pool": pool, "nodeName": "n", "devices": made},
            },
        ]
    )


def claim_of(number: int, wanted: list[tuple[str, int]], constraint: str) -> dict[str, Any]:
    made = []
    for position, (model, count) in enumerate(wanted):
        exactly: dict[str, Any] = {"deviceClassName": "c", "count": count}
        if model:
            exactly["selectors"] = [{"cel": {"expression": f'device.attributes["{DRIVER}"].model == "{model}"'}}]
        made.append({"name": f"r{position}", "exactly": exactly})
    rules = [{f"{constraint}Attribute": f"{DRIVER}/numa"}] if constraint else []
    metadata = {"name": f"c{number}", "namespace": "default", "uid": f"c{number}"}
    return {"metadata": metadata, "spec": {"devices": {"requests": made, "constraints": rules}}}


def is_right(
    chosen: list[list[list[int]]],
    given_devices: list[Device],
    claims: list[tuple[list[tuple[str, int]], str]],
    counter: int,
) -> bool:
    """``chosen``: device numbers by claim and request."""
    flat = [device for of_claim in chosen for of_request in of_claim for device in of_request]
    if len(set(flat)) != len(flat) or sum(given_devices[device][2] for device in flat) > counter:
        return False
    for of_claim, (wanted, constraint) in zip(chosen, claims, strict=True):
        numas = [given_devices[device][1] for of_request in of_claim for device in of_request]
        if constraint == "match" and len(set(numas)) > 1:
            return False
        if constraint == "distinct" and len(set(numas)) != len(numas):
            return False
        for of_request, (model, count) in zip(of_claim, wanted, strict=True):
            if len(of_request) != count or any(model and given_devices[device][0] != model for device in of_request):
                return False
    return True


def split(flat: tuple[int, ...], claims: list[tuple[list[tuple[str, int]], str]]) -> list[list[list[int]]]:
    left = list(flat)
    return [[[left.pop(0) for _ in range(count)] for _, count in wanted] for wanted, _ in claims]


@settings(max_examples=300, deadline=None)
@given(devices, st.lists(st.tuples(requests, constraints), min_size=1, max_size=2), st.integers(1, 3))
def test_a_choice_is_found_exactly_when_there_is_one(
    given_devices: list[Device], claims: list[tuple[list[tuple[str, int]], str]], counter: int
) -> None:
    pools = slices_of(given_devices, counter).pools(NODE)
    made = [claim_of(number, *each) for number, each in enumerate(claims)]
    found = Allocator(NODE, pools, Books(), CLASSES, Selectors()).allocate(made, Random(1))
    size = sum(count for wanted, _ in claims for _, count in wanted)
    assignments = itertools.permutations(range(len(given_devices)), size)
    exists = any(is_right(split(flat, claims), given_devices, claims, counter) for flat in assignments)
    assert (found is not None) == exists
    if found is not None:
        chosen = [
            [
                [
                    int(result["device"][1:])
                    for result in allocation["devices"]["results"]
                    if result["request"] == f"r{position}"
                ]
                for position in range(len(wanted))
            ]
            for allocation, (wanted, _) in zip(found, claims, strict=True)
        ]
        assert is_right(chosen, given_devices, claims, counter)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["decide", "show", "free", "delete", "forget"])), max_size=20)
)
def test_the_books_hold_what_is_allocated_and_nothing_else(steps: list[tuple[int, str]]) -> None:
    def allocation(number: int) -> dict[str, Any]:
        own = {"request": "r", "driver": DRIVER, "pool": "p", "device": f"own{number}"}
        shared = {**own, "device": "shared", "shareID": f"s{number}", "consumedCapacity": {"m": str(number + 1)}}
        return {"devices": {"results": [own, shared]}}

    def claim(number: int, *, is_allocated: bool) -> dict[str, Any]:
        status = {"allocation": allocation(number)} if is_allocated else {}
        return {"metadata": {"name": f"c{number}", "uid": f"c{number}"}, "status": status}

    books = Books()
    seen: dict[int, dict[str, Any]] = {}
    pending: set[int] = set()
    for number, step in steps:
        shown = seen.get(number)
        is_allocated = shown is not None and bool(shown["status"])
        if step == "decide" and shown is not None and not is_allocated and number not in pending:
            books.decided(f"c{number}", allocation(number))
            pending.add(number)
        elif step == "forget":
            assert books.forget(f"c{number}") == (number in pending)
            pending.discard(number)
        elif step == "delete" and shown is not None:
            books.changed(shown, None)
            del seen[number]
            pending.discard(number)
        elif step in ("show", "free"):
            new = claim(number, is_allocated=step == "show")
            books.changed(shown, new)
            seen[number] = new
            if step == "show":
                pending.discard(number)
        held = pending | {number for number, each in seen.items() if each["status"]}
        assert {id.device for id in books._taken} == {f"own{each}" for each in held}
        assert books.capacity == (
            {(DRIVER, "p", "shared"): {"m": sum(each + 1 for each in held) * 10**9}} if held else {}
        )
