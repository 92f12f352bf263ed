"""Expressions nobody has thought of: none breaks compiler or evaluator, and none costs more than was estimated."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.cel import types
from cybernetes.core.cel.errors import CompileError
from cybernetes.core.cel.program import Environment
from cybernetes.core.cel.types import Type

VALUES: dict[str, tuple[Type, Any]] = {
    "i": (types.INT, 7),
    "t": (types.STRING, "some text"),
    "l": (types.list_of(types.INT), [3, 1, 2]),
    "m": (types.map_of(types.STRING, types.STRING), {"a": "x", "b": "y"}),
    "x": (types.DYN, {"n": None, "d": [1.5]}),
}
#: As large as what the values above hold.
SIZES = {"t": 9, "l": 3, "m": 2}
ENVIRONMENT = Environment({name: type_ for name, (type_, _) in VALUES.items()})
VARIABLES = {name: value for name, (_, value) in VALUES.items()}

WORDS = [
    *VALUES,
    *"1 2.5 'a' b'b' true null [ ] { } ( ) . , : ? + - * / % ! == < && || in".split(),
    *"has size all exists map filter type dyn string int duration timestamp matches format split join".split(),
    *'optional of none orValue quantity url ip sets contains " \\ ` // 0x 1u é $'.split(),
    "\n",
]
soup = st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)


@given(soup | st.text(max_size=60))
def test_any_text_is_compiled_or_refused(source: str) -> None:
    try:
        program = ENVIRONMENT.compile(source)
    except CompileError as error:
        assert str(error)
        return
    result = program.evaluate(VARIABLES)
    assert result.cost >= 0


def _numbers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "%"]), inner),
        st.builds("(i > {} ? {} : {})".format, inner, inner, inner),
        st.builds("size(l.map(e, e + {}))".format, inner),
        st.builds("size(t + string({}))".format, inner),
        st.builds("[{}, {}, i].max()".format, inner, inner),
        st.builds("l.filter(e, e > {}).sum()".format, inner),
    )


numbers = st.recursive(st.sampled_from(["1", "i", "l[0]", "size(t)", "size(m)", "0"]), _numbers, max_leaves=6)
truths = st.one_of(
    st.builds("{} < {}".format, numbers, numbers),
    st.builds("l.all(e, e > {})".format, numbers),
    st.builds("l.exists(e, e == {} || e > {})".format, numbers, numbers),
    st.builds("m.exists(k, k == t && {} > 0)".format, numbers),
    st.builds("m.all(k, v, k != v || {} > 0)".format, numbers),
    st.builds("t.contains('e') && t.startsWith(string({}))".format, numbers),
    st.builds("t.matches('a.*') || {} in l".format, numbers),
    st.builds("sets.contains(l, [{}])".format, numbers),
)


def _size_of(path: tuple[str, ...]) -> int | None:
    return SIZES.get(path[0], 1) if len(path) == 1 else 9


@given(truths)
def test_nothing_costs_more_than_its_estimate(source: str) -> None:
    program = ENVIRONMENT.compile(source)
    assert program.type == types.BOOL
    assert program.evaluate(VARIABLES).cost <= program.estimate(_size_of).high


@given(truths, truths)
def test_the_order_of_two_sides_decides_nothing(one: str, other: str) -> None:
    forth = ENVIRONMENT.compile(f"({one}) || ({other})").evaluate(VARIABLES)
    back = ENVIRONMENT.compile(f"({other}) || ({one})").evaluate(VARIABLES)
    assert forth.value == back.value and (forth.error is None) is (back.error is None)


@given(truths)
def test_a_bound_on_costs_holds(source: str) -> None:
    program = ENVIRONMENT.compile(source)
    free = program.evaluate(VARIABLES)
    bounded = program.evaluate(VARIABLES, cost_max=max(free.cost - 1, 0))
    assert bounded.error is not None or free.cost == 0
