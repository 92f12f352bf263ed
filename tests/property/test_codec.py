"""Readers against others: JSON against the standard library, YAML against PyYAML, and what no reader takes."""

from __future__ import annotations

import json

import orjson
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.api import codec, jsonreader, yamlreader
from cybernetes.core.errors import ApiError

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=4).filter(lambda obj: not {"apiVersion", "kind"} & set(obj))


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_the_careful_reader_reads_what_the_fast_one_reads(value, is_ascii, indent):
    data = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    assert jsonreader.read(data) == value
    assert jsonreader.read_repeated(data) == value


@given(st.binary(max_size=12) | st.text(alphabet='{}[]",:0123456789.eE+-truefalsn\\u \n', max_size=24).map(str.encode))
def test_the_careful_reader_takes_what_json_is_and_nothing_else(data):
    try:
        expected = orjson.loads(data)
    except orjson.JSONDecodeError:
        expected = None
    else:
        assert jsonreader.read(data) == expected
        return
    try:
        found = jsonreader.read(data)
    except jsonreader.MalformedJson as error:
        assert str(error)
    else:  # what Go reads and orjson does not: bytes that are no UTF-8, halves of surrogates, huge numbers
        json.loads(data.decode("utf-8", "replace"))
        assert found is not None or data.strip() == b"null"


@given(objects)
def test_yaml_is_read_as_others_read_it(obj):
    data = yaml.safe_dump(obj, default_style='"').encode()
    found, repeated = yamlreader.read(data)
    assert repeated == []
    assert found == json.loads(json.dumps(obj))


@given(objects)
def test_the_same_object_in_either_language(obj):
    raw = orjson.dumps(obj)
    assert codec.decode(raw, codec.JSON) == codec.decode(raw, codec.YAML) == obj
    assert not codec.has_repeated(obj, raw)
    assert codec.decode(codec.encode({"apiVersion": "v1", "kind": "A", **obj})) == {
        "apiVersion": "v1",
        "kind": "A",
        **obj,
    }


@given(st.binary(max_size=30), st.sampled_from([codec.JSON, codec.YAML]))
def test_any_bytes_are_an_object_or_refused(data, media_type):
    try:
        found = codec.decode(data, media_type, "Pod")
    except ApiError as error:
        assert error.code == 400
        assert error.message
    else:
        assert isinstance(found, dict)
