"""Steps and sets of fields: their text, their order, and what is done with them."""

from __future__ import annotations

import pytest
from applying import paths

from cybernetes.core.api.apply import elements, fieldset
from cybernetes.core.api.apply.elements import ElementError
from cybernetes.core.api.apply.fieldset import FieldsError


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("f:replicas", "f:replicas"),
        ("f:example.com/a", "f:example.com/a"),
        ("f:", "f:"),
        ('k:{"protocol":"TCP", "port": 80}', 'k:{"port":80,"protocol":"TCP"}'),
        ('k:{"port":80.0}', 'k:{"port":80}'),
        ('k:{"a":null}', 'k:{"a":null}'),
        ('k:{"name":"a<b>&c"}', 'k:{"name":"a\\u003cb\\u003e\\u0026c"}'),
        ('v:"x"', 'v:"x"'),
        ("v:1.50", "v:1.5"),
        ("v:1e25", "v:1e+25"),
        ("v:true", "v:true"),
        ("i:007", "i:7"),
        ("x:whatever", None),
    ],
)
def test_steps_have_one_form(sent: str, kept: str | None) -> None:
    assert elements.canonical(sent) == kept


@pytest.mark.parametrize("broken", ["", "f", "fx", "k:[1]", "k:{", 'k:{"a":1} x', "v:", "v:x", "i:x"])
def test_what_is_no_step(broken: str) -> None:
    with pytest.raises(ElementError):
        elements.canonical(broken)


def test_steps_as_messages_show_them() -> None:
    path = ("f:spec", 'k:{"name":"a\\"b","port":8080}', 'v:"x"', "v:2", "v:1.5", "v:true", "i:3", 'k:{"x":null}')
    assert elements.shown_path(path) == '.spec[name="a\\"b",port=8080][="x"][=2][=1.5][=true][3][x=null]'
    assert elements.shown("v:12345678") == "[=1.2345678e+07]", "as Go prints a float64"
    assert elements.shown("v:0.00001") == "[=1e-05]"
    assert elements.shown('v:{"a":[1,"b"]}') == '[=a=[1,"b"]]'


def test_steps_are_sorted_by_what_they_are() -> None:
    steps = [
        ".",
        "f:a",
        "f:b",
        'k:{"a":80}',
        'k:{"a":443}',
        'k:{"a":443,"b":1}',
        'k:{"a":"x"}',
        'k:{"b":1}',
        "v:2",
        "v:10",
        'v:"a"',
        "v:false",
        "v:true",
        "v:[1]",
        'v:{"a":1}',
        "v:null",
        "i:2",
        "i:10",
    ]
    mixed = [*steps[1::2], *steps[::2]]
    assert sorted(mixed, key=elements.order) == steps


def test_a_set_is_read_in_its_canonical_form() -> None:
    sent = {
        "f:b": {},
        "f:a": {'k:{"b":1, "a":2}': {".": {}, "f:x": {}}, "q:unknown": {"f:y": {}}},
        "f:c": {"q:unknown": {}},
        "f:d": {".": {}},
    }
    found = fieldset.read(sent)
    assert found == {"f:a": {'k:{"a":2,"b":1}': {".": {}, "f:x": {}}}, "f:b": {}, "f:c": {}, "f:d": {}}
    assert list(found) == ["f:a", "f:b", "f:c", "f:d"]
    assert fieldset.read(None) == {}
    for broken in ([], "x", {"a": {}}, {"f:a": {"v:": {}}}):
        with pytest.raises(FieldsError):
            fieldset.read(broken)


def test_what_a_set_has() -> None:
    fields = paths("a", "a.b", "c.d[1]", "e")
    assert fields == {"f:a": {".": {}, "f:b": {}}, "f:c": {"f:d": {"v:1": {}}}, "f:e": {}}
    for path, is_there in (
        (("f:a",), True),
        (("f:a", "f:b"), True),
        (("f:c",), False),
        (("f:c", "f:d"), False),
        (("f:c", "f:d", "v:1"), True),
        (("f:e", "f:x"), False),
        ((), False),
    ):
        assert fieldset.has(fields, path) is is_there
    assert list(fieldset.paths(fields)) == [("f:a",), ("f:e",), ("f:a", "f:b"), ("f:c", "f:d", "v:1")]
    assert fieldset.below(fields, "f:a") == {"f:b": {}} and fieldset.below(fields, "f:e") == {}


def test_differences() -> None:
    fields = paths("a", "a.b", "a.c", "d")
    assert fieldset.difference(fields, paths("a")) == paths("a.b", "a.c", "d"), "only itself"
    assert fieldset.recursive_difference(fields, paths("a")) == paths("d")
    assert fieldset.difference(fields, paths("a.b")) == paths("a", "a.c", "d")
    assert fieldset.recursive_difference(fields, paths("a.b")) == paths("a", "a.c", "d")
    assert fieldset.difference(fields, paths("x", "a.x", "d.x")) is fields
    assert fieldset.difference(fields, fields) == {}
    assert fieldset.difference(paths("a"), paths("a.b")) == paths("a")


def test_unions_and_intersections() -> None:
    first, second = paths("a", "b.c", 'l[{"n":80}]'), paths("a.x", "b.c", "b.d", 'l[{"n":443}]', 'l[{"n":7}]')
    joined = fieldset.union(first, second)
    assert joined == paths("a", "a.x", "b.c", "b.d", 'l[{"n":7}]', 'l[{"n":80}]', 'l[{"n":443}]')
    assert list(joined["f:l"]) == ['k:{"n":7}', 'k:{"n":80}', 'k:{"n":443}']
    assert fieldset.union(first, {}) is first and fieldset.union({}, first) is first
    assert fieldset.union(first, paths("a", "b.c")) is first
    assert fieldset.intersection(first, second) == paths("b.c")
    assert fieldset.intersection(paths("a", "a.b"), paths("a")) == paths("a")


def test_filters() -> None:
    fields = paths("spec.a", "spec", 'spec.l[{"n":"x"}].r.s', 'spec.l[{"n":"x"}].t', "status.x")
    assert fieldset.excluding(paths("spec"))(fields) == paths("status.x")
    assert fieldset.excluding(paths("other"))(fields) is fields
    keeps = fieldset.including([("f:spec", "f:l", "*", "f:r")])
    assert keeps(fields) == paths("spec", 'spec.l[{"n":"x"}].r.s')
    assert keeps(paths("status")) == {}
