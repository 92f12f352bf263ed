"""Selectors and the label index on random input: text parses back, the kernel answers as its slow twin."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cybernetes.core.labels import FieldSelector, LabelIndex, Requirement, Selector, SelectorError
from cybernetes.core.labels.field import escape, unescape
from cybernetes.core.labels.reference import ReferenceIndex

keys = st.sampled_from(["app", "tier", "n", "example.com/x", "in"])
values = st.sampled_from(["", "a", "b", "c", "1", "7", "-5", "007"])
labels = st.dictionaries(keys, values, max_size=4)


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    operator = draw(st.sampled_from(["=", "==", "!=", "in", "notin", "exists", "!", "gt", "lt"]))
    key = draw(keys)
    if operator in ("exists", "!"):
        return Requirement(key, operator)
    if operator in ("gt", "lt"):
        return Requirement(key, operator, (str(draw(st.integers(0, 9))),))
    if operator in ("in", "notin"):
        return Requirement(
            key, operator, tuple(sorted(draw(st.sets(values.filter(lambda v: v != "-5"), min_size=1, max_size=3))))
        )
    return Requirement(key, operator, (draw(values.filter(lambda v: v != "-5")),))


selectors = st.lists(requirements(), max_size=4).map(Selector)


@given(selectors)
def test_canonical_text_parses_back(selector: Selector) -> None:
    assert Selector.parse(str(selector)) == selector


@given(st.text(alphabet="ab1-_./=!<>(), \tin\0é", max_size=30))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        selector = Selector.parse(text)
    except SelectorError:
        return
    assert Selector.parse(str(selector)) == selector


@given(selectors, labels)
def test_matcher_is_its_twin(selector: Selector, given_labels: dict[str, str]) -> None:
    assert selector.matches(given_labels) == all(each.matches(given_labels) for each in selector.requirements)


@given(st.text(max_size=20))
def test_escapes_of_fields(text: str) -> None:
    assert unescape(escape(text)) == text
    assert FieldSelector.parse(f"a={escape(text)}").matches({"a": text})


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-4, 40), st.one_of(st.none(), labels)), max_size=120),
    st.lists(selectors, min_size=1, max_size=6),
    keys,
)
def test_index_is_its_twin(changes: list[tuple[int, dict[str, str] | None]], asked: list[Selector], key: str) -> None:
    index, twin = LabelIndex(), ReferenceIndex()
    for id, given_labels in changes:
        if given_labels is None:
            assert index.discard(id) == twin.discard(id)
        else:
            index.put(id, given_labels)
            twin.put(id, given_labels)
    assert len(index) == len(twin)
    for selector in asked:
        assert sorted(index.select(selector).tolist()) == twin.select(selector)
        assert index.count(selector) == twin.count(selector)
        assert index.counts(key, selector) == twin.counts(key, selector)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32), st.lists(selectors, min_size=3, max_size=8))
def test_large_index_is_its_twin(seed: int, asked: list[Selector]) -> None:
    """Beyond one chunk of slots, with posting lists of every shape."""
    index, twin = LabelIndex(), ReferenceIndex()
    state = seed
    size = 70_000
    for id in range(size):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        bits = state >> 33
        found = {"app": "abc"[bits % 3], "n": str(bits % 11), "in": str(bits % 5000)}
        if bits % 7 == 0:
            del found["app"]
        index.put(id, found)
        twin.put(id, found)
    for id in range(0, size, 3):
        index.discard(id)
        twin.discard(id)
    for selector in [
        *asked,
        Selector.parse("in in (1,2,3),app!=a"),
        Selector.parse("in=17"),
        Selector.parse("n>4,!app"),
    ]:
        assert sorted(index.select(selector).tolist()) == twin.select(selector)
        assert index.count(selector) == twin.count(selector)
