"""Expressions and what a real kube-apiserver makes of them, from a table; and what evaluating them costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cybernetes.core.api.custom.structure import Structural
from cybernetes.core.cel.errors import CompileError, CostExceeded, InstantiationError
from cybernetes.core.cel.program import Environment
from cybernetes.core.cel.schematypes import declare

TEXT: dict[str, Any] = {"type": "string", "maxLength": 5}
SCHEMA = {
    "type": "object",
    "properties": {
        "i": {"type": "integer"},
        "s": {"type": "string", "maxLength": 20},
        "l": {"type": "array", "maxItems": 5, "items": TEXT},
        "m": {"type": "object", "maxProperties": 5, "additionalProperties": TEXT},
        "d": {"type": "number"},
        "b": {"type": "boolean"},
        "t": {"type": "string", "format": "date-time"},
        "du": {"type": "string", "format": "duration"},
        "by": {"type": "string", "format": "byte", "maxLength": 10},
        "ios": {"x-kubernetes-int-or-string": True},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 5, "items": TEXT},
        "lm": {
            "type": "array",
            "maxItems": 5,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {"k": TEXT, "v": {"type": "integer"}}},
        },
        "e": {"type": "object"},
        "n": {"type": "string", "nullable": True},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "namespace": TEXT,
        "a-b": TEXT,
    },
}
SELF = {
    "i": 3,
    "s": "héllo",
    "l": ["a", "b", "c"],
    "m": {"x": "1", "y": "2"},
    "d": 1.5,
    "b": True,
    "t": "2024-02-29T12:30:45.5Z",
    "du": "1h30m",
    "by": "YWJj",
    "ios": 5,
    "set": ["x", "y"],
    "lm": [{"k": "a", "v": 1}, {"k": "b", "v": 2}],
    "e": {},
    "n": None,
    "any": {"q": [1, "x", {"z": None}]},
    "namespace": "ns",
    "a-b": "dash",
}


def environment() -> Environment:
    declared = declare(Structural(SCHEMA), is_root=False)
    assert declared is not None
    return Environment({"self": declared.type})


def table() -> list[tuple[str, str, str]]:
    lines = (Path(__file__).parent / "expressions.txt").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    return [(expression, answer[0], answer[2:]) for expression, answer in zip(lines[::2], lines[1::2], strict=True)]


ENVIRONMENT = environment()


@pytest.mark.parametrize(("expression", "mark", "expected"), table())
def test_an_expression(expression: str, mark: str, expected: str) -> None:
    if mark == "?":
        with pytest.raises(CompileError) as caught:
            ENVIRONMENT.compile(expression)
        assert str(caught.value).split("\n")[0].removeprefix("ERROR: ") == expected
        return
    result = ENVIRONMENT.compile(expression).evaluate({"self": SELF})
    if mark == "!":
        assert str(result.error) == expected
        return
    assert result.error is None
    shown = ENVIRONMENT.compile(f"'%s'.format([{expression}])").evaluate({"self": SELF})
    assert shown.value == expected


def test_complaints_show_where() -> None:
    with pytest.raises(CompileError) as caught:
        ENVIRONMENT.compile("self.i > 'a' &&\nself.x == 1")
    assert str(caught.value) == (
        "ERROR: <input>:1:8: found no matching overload for '_>_' applied to '(int, string)'\n"
        " | self.i > 'a' &&\n"
        " | .......^\n"
        "ERROR: <input>:2:5: undefined field 'x'\n"
        " | self.x == 1\n"
        " | ....^"
    )


def test_constants_that_cannot_be_converted_make_no_program() -> None:
    with pytest.raises(InstantiationError, match="type conversion error from 'string' to 'int'") as caught:
        ENVIRONMENT.compile("self.i == int('x')")
    assert caught.value.stage == "program instantiation failed"


def costs() -> list[tuple[str, tuple[int, ...]]]:
    lines = (Path(__file__).parent / "costs.txt").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    return [
        (expression, tuple(map(int, numbers.split())))
        for expression, numbers in zip(lines[::2], lines[1::2], strict=True)
    ]


@pytest.mark.parametrize(("expression", "expected"), costs())
def test_costs(expression: str, expected: tuple[int, ...]) -> None:
    program = Environment({}).compile(expression)
    estimated = program.estimate(lambda path: None)
    assert (estimated.low, estimated.high, program.evaluate({}).cost) == expected


def test_a_limit_stops_it() -> None:
    many = "[1,2,3,4,5,6,7,8,9,10]"
    program = ENVIRONMENT.compile(f"{many}.all(a, {many}.all(b, {many}.all(c, a + b + c > 0)))")
    result = program.evaluate({"self": SELF}, cost_max=500)
    assert isinstance(result.error, CostExceeded) and result.cost < 1000
