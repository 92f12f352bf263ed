"""Random objects of every kind as messages and back: the kernel against its twin, and nothing said is lost."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from randomobjects import Maker

from cybernetes.core.api import schema, walk
from cybernetes.core.api.protobuf import messages
from cybernetes.core.api.protobuf.decoder import DecodeError, decode, decode_message, decode_slowly
from cybernetes.core.api.protobuf.encoder import document, encode, encode_slowly
from cybernetes.core.api.protobuf.envelope import varint
from cybernetes.core.api.registry import builtin
from cybernetes.core.objects import Object, clone

KNOWN = messages.load()
TYPE_NAME = schema.load().type_name_of
RESOURCES = builtin().all()
#: What JSON can say and a message cannot: a list or map that is there and empty.
EMPTY = ([], {}, None)


def without_empty(value: object) -> object:
    """``value`` without what reads as nothing on the other side, and without the kinds of templates of claims."""
    if isinstance(value, dict):
        for template in value.get("volumeClaimTemplates") or ():
            template.pop("apiVersion", None)
            template.pop("kind", None)
        kept = {key: without_empty(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in EMPTY}
    if isinstance(value, list):
        return [without_empty(each) for each in value]
    return value


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: str(each.gvk.api_version + each.kind))
def test_every_kind_survives(resource) -> None:
    type_ = schema.load().type(resource.type_name)
    message = KNOWN.get(resource.type_name)
    for seed in range(12):
        obj = Maker(random.Random(seed), fullness=0.5).object(type_)
        obj |= {"apiVersion": resource.gvk.api_version, "kind": resource.kind}
        try:
            walk.normalize(type_, obj)
        except walk.DecodeError:
            continue
        before = clone(obj)
        body = document(obj)
        assert body is not None
        assert obj == before, "encoding changed the object"
        assert encode(message, obj) == encode_slowly(message, obj)
        found = decode(body, TYPE_NAME)
        raw = encode(message, obj)
        assert decode_message(raw, message) == decode_slowly(raw, message)
        walk.normalize(type_, found)
        assert without_empty(found) == without_empty(obj)


POD = KNOWN.get("io.k8s.api.core.v1.Pod")


def a_pod() -> Object:
    made = Maker(random.Random(7), fullness=0.6).object(schema.load().type("io.k8s.api.core.v1.Pod"))
    walk.normalize(schema.load().type("io.k8s.api.core.v1.Pod"), made)
    return made


SOUND = encode(POD, a_pod())


@settings(max_examples=300)
@given(st.integers(0, len(SOUND) - 1), st.integers(0, 255), st.booleans())
@example(384, 58, False)  # nanoseconds that are not written as a number
@example(267, 0, False)  # a time that holds nothing but a field that nobody knows
def test_spoiled_messages_are_read_alike_or_refused(at: int, byte: int, is_cut: bool) -> None:
    data = SOUND[:at] if is_cut else SOUND[:at] + bytes([byte]) + SOUND[at + 1 :]
    try:
        expected = decode_slowly(data, POD)
    except DecodeError as error:
        assert str(error)
        with pytest.raises(DecodeError):
            decode_message(data, POD)
    else:
        assert str(decode_message(data, POD)) == str(expected)  # as texts: NaN is not itself


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for name in ("io.k8s.api.core.v1.Pod", "io.k8s.apimachinery.pkg.runtime.Unknown"):
        message = KNOWN.get(name)
        try:
            expected = decode_slowly(data, message)
        except DecodeError:
            with pytest.raises(DecodeError):
                decode_message(data, message)
        else:
            assert decode_message(data, message) == expected
    try:
        decode(b"k8s\x00" + data, TYPE_NAME)
    except DecodeError as error:
        assert str(error)


@given(st.integers(-62135596800, 253402300799), st.integers(0, 999_999))
def test_times_keep_their_moment(seconds: int, micros: int) -> None:
    for name in ("Time", "MicroTime"):
        message = KNOWN.get("io.k8s.apimachinery.pkg.apis.meta.v1." + name)
        raw = encode_slowly(message, decode_slowly(_moment(seconds, micros), message))
        text = decode_message(_moment(seconds, micros), message)
        assert text == decode_slowly(_moment(seconds, micros), message)
        assert encode(message, text) == raw


def _moment(seconds: int, micros: int) -> bytes:
    return b"\x08" + varint(seconds & 0xFFFF_FFFF_FFFF_FFFF) + b"\x10" + varint(micros * 1000)


def test_what_is_too_deep_is_refused() -> None:
    message = KNOWN.get("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
    value: Object = {}
    for _ in range(200):
        value = {"not": value}
    data = encode(message, value)
    assert data == encode_slowly(message, value)
    with pytest.raises(DecodeError, match="nested too deeply"):
        decode_message(data, message)
