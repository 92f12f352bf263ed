"""Selectors: one label set, and an index of a million objects with ten labels each.

    .venv/bin/pytest bench/test_labels.py --benchmark-only

Compared with a scan by the same matcher over the same objects (``test_scan``). Go's compiled selector matches one label
set in under 100 ns.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from cybernetes.core.labels import LabelIndex, Selector

OBJECTS = 1_000_000
#: label key -> how many different values it has
KEYS = {
    "app": 10_000,
    "tier": 5,
    "env": 4,
    "team": 200,
    "region": 10,
    "zone": 30,
    "version": 50,
    "release": 3,
    "track": 2,
    "owner": 1000,
}
VALUES = {key: [f"{key}-{number}" for number in range(count)] for key, count in KEYS.items()}

SELECTORS = {
    "100 of a million": "app=app-5",
    "100 by two": "app=app-5,tier!=tier-1",
    "in and notin": "app in (app-5,app-6,app-7),tier notin (tier-1,tier-2),owner",
    "three medium": "owner=owner-1,team=team-4,zone=zone-3",
    "a half": "env in (env-1,env-2)",
    "broad mix": "env notin (env-1,env-2),tier in (tier-1,tier-0),track=track-0",
    "absent key": "!canary",
}


def labels(draw: random.Random) -> dict[str, str]:
    return {key: values[draw.randrange(len(values))] for key, values in VALUES.items()}


@pytest.fixture(scope="module")
def index() -> LabelIndex:
    draw = random.Random(1)
    index = LabelIndex()
    for id in range(OBJECTS):
        index.put(id, labels(draw))
    return index


@pytest.mark.parametrize("name", SELECTORS)
def test_select(benchmark: Any, index: LabelIndex, name: str) -> None:
    selector = Selector.parse(SELECTORS[name])
    found = benchmark(index.select, selector)
    benchmark.extra_info["found"] = len(found)


@pytest.mark.parametrize("name", SELECTORS)
def test_count(benchmark: Any, index: LabelIndex, name: str) -> None:
    benchmark(index.count, Selector.parse(SELECTORS[name]))


def test_bytes_an_object(benchmark: Any, index: LabelIndex) -> None:
    benchmark.extra_info["bytes_an_object"] = round(index.memory_bytes() / len(index), 1)
    benchmark(index.memory_bytes)


def test_put(benchmark: Any) -> None:
    """A hundred new objects a round."""
    draw = random.Random(2)
    given = [labels(draw) for _ in range(100)]
    index = LabelIndex()
    state = {"next": 0}

    def put() -> None:
        first = state["next"]
        for offset, each in enumerate(given):
            index.put(first + offset, each)
        state["next"] = first + 100

    benchmark(put)
    benchmark.extra_info["per"] = "100 puts"


def test_change_one_label(benchmark: Any, index: LabelIndex) -> None:
    """Of an object among a million; two puts a round."""
    before = index.labels(77)
    after = {**before, "version": "version-0" if before["version"] != "version-0" else "version-1"}

    def change() -> None:
        index.put(77, after)
        index.put(77, before)

    benchmark(change)


def test_scan(benchmark: Any) -> None:
    """What the index saves: the compiled matcher over 10,000 label sets (a hundredth of the objects)."""
    draw = random.Random(1)
    given = [labels(draw) for _ in range(10_000)]
    matches = Selector.parse(SELECTORS["100 by two"]).matches
    benchmark(lambda: [each for each in given if matches(each)])


def test_match_one(benchmark: Any) -> None:
    matches = Selector.parse("app=app-5,tier!=tier-1,env in (env-1,env-2)").matches
    given = {"app": "app-5", "tier": "tier-2", "env": "env-2", "team": "team-1"}
    assert benchmark(matches, given)


def test_parse(benchmark: Any) -> None:
    from cybernetes.core.labels.parser import parse

    benchmark(parse, "environment in (production, qa),tier!=frontend,!canary")
