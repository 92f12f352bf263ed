"""The sorted map against a plain dict, with forks."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cybernetes.core.store import sortedmap
from cybernetes.core.store.sortedmap import SortedMap

keys = st.binary(max_size=3)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, st.integers(0, 3)),
        st.tuples(st.just("pop"), keys, st.integers(0, 3)),
        st.tuples(st.just("fork"), keys, st.integers(0, 3)),
    ),
    max_size=120,
)


def check(subject: SortedMap[int], twin: dict[bytes, int], start: bytes, end: bytes, limit: int) -> None:
    inside = [twin[k] for k in sorted(twin) if start <= k and (not end or k < end)]
    assert subject.slice(start, end, limit) == (inside[:limit] if limit else inside)
    assert subject.count(start, end) == len(inside)
    assert len(subject) == len(twin)
    assert list(subject.values()) == [twin[k] for k in sorted(twin)]
    assert subject.get(start) == twin.get(start)
    for chunk, last in zip(subject._chunks, subject._lasts, strict=True):
        assert chunk.keys
        assert chunk.keys[-1] == last
        assert len(chunk.keys) == len(chunk.values) <= sortedmap.CHUNK_MAX


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=steps, loaded=st.dictionaries(keys, st.integers(), max_size=30), start=keys, end=keys, limit=st.integers(0, 5)
)
def test_against_a_dict(
    monkeypatch: Any, steps: Any, loaded: dict[bytes, int], start: bytes, end: bytes, limit: int
) -> None:
    monkeypatch.setattr(sortedmap, "CHUNK_MAX", 8)
    maps = [SortedMap(loaded.items())]
    twins = [dict(loaded)]
    for number, (what, key, which) in enumerate(steps):
        which %= len(maps)
        if what == "put":
            assert maps[which].put(key, number) == twins[which].get(key)
            twins[which][key] = number
        elif what == "pop":
            assert maps[which].pop(key) == twins[which].pop(key, None)
        else:
            maps.append(maps[which].fork())
            twins.append(dict(twins[which]))
    for subject, twin in zip(maps, twins, strict=True):
        check(subject, twin, start, end, limit)


def test_large_in_order_and_in_reverse() -> None:
    numbers = list(range(5000))
    for order in (numbers, numbers[::-1]):
        subject: SortedMap[int] = SortedMap()
        for number in order:
            subject.put(b"%06d" % number, number)
        assert subject.slice() == numbers
        assert subject.slice(b"000100", b"004000", 2500) == numbers[100:2600]
        assert subject.count(b"000100", b"004000") == 3900
        for number in order[:4990]:
            subject.pop(b"%06d" % number)
        assert len(subject) == 10
        assert len(subject._chunks) <= 2
