"""The kernel of the walk against its slow twin, on objects of every type: fitting, spoiled, and with fields unknown."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from randomobjects import Maker

from cybernetes.core.api import codec, jsonreader, schema, walk
from cybernetes.core.api.schema import Type
from cybernetes.core.objects import Object, clone
from cybernetes.ext import walk as kernel

SCHEMA = schema.load()
TYPES = sorted(name for name in SCHEMA if SCHEMA.type(name).kind == "object" and SCHEMA.type(name).fields)

makers = st.builds(Maker, st.randoms(use_true_random=False), fullness=st.sampled_from((0.1, 0.3, 0.5)))
types = st.sampled_from(TYPES).map(SCHEMA.type)


def slowly(type_: Type, obj: Object) -> tuple[Object, list[str], str]:
    try:
        found = walk.normalize_slowly(type_, obj)
    except walk.DecodeError as error:
        return obj, [], str(error)
    return obj, found, ""


@settings(max_examples=300, deadline=None)
@given(makers, types)
def test_what_fits_goes_through_the_kernel_as_through_its_twin(maker, type_):
    obj = maker.object(type_)
    kept, strict, error = slowly(type_, clone(obj))
    assert (strict, error) == ([], "")
    fast = clone(obj)
    if kernel.normalize(walk._node(type_), fast):
        assert fast == kept
    else:  # times and the like: the twin goes on from where the kernel stopped
        assert slowly(type_, fast) == (kept, [], "")


@settings(max_examples=300, deadline=None)
@given(makers, types)
def test_the_second_pass_changes_nothing(maker, type_):
    obj = maker.object(type_)
    walk.normalize(type_, obj)
    again = clone(obj)
    assert walk.normalize(type_, again) == []
    assert again == obj
    assert slowly(type_, clone(obj)) == (obj, [], "")
    assert orjson.loads(orjson.dumps(obj)) == obj


@settings(max_examples=300, deadline=None)
@given(makers, types)
def test_the_kernel_takes_nothing_that_its_twin_refuses(maker, type_):
    obj, path = maker.spoiled(type_, maker.object(type_))
    fast = clone(obj)
    passed = kernel.normalize(walk._node(type_), fast)
    error = slowly(type_, clone(obj))[2]
    assert bool(error) == bool(path)
    assert not (passed and error)


@settings(max_examples=300, deadline=None)
@given(makers, types)
def test_unknown_fields_are_found_wherever_they_are(maker, type_):
    known = maker.object(type_)
    obj = clone(known)
    count = maker.add_unknown(type_, obj, "noSuchField")
    fast = clone(obj)
    passed = kernel.normalize(walk._node(type_), fast)
    kept, strict, error = slowly(type_, obj)
    assert len(strict) == min(count, walk.STRICT_ERRORS_MAX)
    assert all(line.startswith('unknown field "') and line.endswith('noSuchField"') for line in strict)
    assert (not passed or fast == kept) and passed <= (not count)
    assert (kept, [], error) == slowly(type_, known)


@settings(max_examples=300, deadline=None)
@given(makers, types, st.data())
def test_a_field_given_twice_is_found(maker, type_, data):
    obj = maker.object(type_)
    raw = orjson.dumps(obj)
    assert not codec.has_repeated(obj, raw)
    if not obj:
        return
    name = data.draw(st.sampled_from(sorted(obj)))
    raw = b"{" + orjson.dumps(name) + b":" + orjson.dumps(obj[name]) + b"," + raw[1:]
    assert codec.has_repeated(orjson.loads(raw), raw)
    again = jsonreader.read_repeated(raw)
    assert orjson.loads(orjson.dumps(again)) == obj
    assert f'duplicate field "{name}"' in walk.normalize_slowly(type_, again)
