"""Protobuf bodies: one that kubectl sent, and messages made from the same table by an encoder of the test's own."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.api import codec, schema
from cybernetes.core.api.protobuf import messages
from cybernetes.core.api.protobuf.decoder import MAGIC, DecodeError, decode, decode_message
from cybernetes.core.api.protobuf.messages import Message
from cybernetes.core.api.registry import builtin
from cybernetes.core.objects import CONFIG_MAPS

KNOWN = messages.load()
TYPE_NAME = schema.load().type_name_of

#: kubectl create configmap x --from-literal=a=b
SENT_BY_KUBECTL = bytes.fromhex(
    "6b3873000a0f0a0276311209436f6e6669674d6170121b0a110a017812001a0022002a0032003800420012060a01611201621a002200"
)


def test_what_kubectl_sends() -> None:
    obj = decode(SENT_BY_KUBECTL, TYPE_NAME)
    resource = builtin().get(CONFIG_MAPS)
    assert resource is not None
    assert codec.check(resource, obj, b"", "Strict") == []
    assert obj == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}}


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def block(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def encode(value: Any, message: Message) -> bytes:
    """The reverse of the decoder, for messages that are the same in JSON."""
    out = b""
    for field in message.fields:
        if field.mark == "*":
            out += block(field.number, encode(value, field.message))
            continue
        if field.name not in value:
            continue
        found = value[field.name]
        if field.mark == "{":
            for key, each in found.items():
                out += block(field.number, block(1, key.encode()) + one(2, each, field))
        elif field.mark == "[":
            out += b"".join(one(field.number, each, field) for each in found)
        else:
            out += one(field.number, found, field)
    return out


def one(number: int, value: Any, field: messages.Field) -> bytes:
    if field.kind == "s":
        return block(number, value.encode())
    if field.kind == "b":
        return block(number, base64.b64decode(value))
    if field.kind in "it":
        return varint(number << 3) + varint(int(value))
    return block(number, encode(value, field.message))


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        (
            "io.k8s.api.core.v1.Secret",
            {"data": {"a": base64.b64encode(b"\x00\xff").decode()}, "type": "Opaque", "immutable": True},
        ),
        ("io.k8s.api.core.v1.Volume", {"name": "v", "emptyDir": {"medium": "Memory"}}),
        ("io.k8s.api.core.v1.Probe", {"exec": {"command": ["a", "b"]}, "periodSeconds": 5, "failureThreshold": -1}),
        ("io.k8s.api.core.v1.EnvFromSource", {"prefix": "P", "configMapRef": {"name": "c", "optional": True}}),
        ("io.k8s.api.core.v1.Toleration", {"key": "k", "operator": "Exists", "tolerationSeconds": 300}),
        ("io.k8s.api.core.v1.LimitRangeSpec", {"limits": [{"type": "Container"}, {"type": "Pod"}]}),
        ("io.k8s.api.rbac.v1.PolicyRule", {"verbs": ["get"], "apiGroups": [""], "resourceNames": ["a"]}),
    ],
)
def test_messages(type_name: str, value: Any) -> None:
    message = KNOWN.get(type_name)
    assert decode_message(encode(value, message), message) == value


@pytest.mark.parametrize(
    ("type_name", "wire", "expected"),
    [
        ("apimachinery.pkg.api.resource.Quantity", block(1, b"100m"), "100m"),
        ("apimachinery.pkg.util.intstr.IntOrString", varint(1 << 3) + b"\0" + varint(2 << 3) + varint(80), 80),
        ("apimachinery.pkg.util.intstr.IntOrString", varint(1 << 3) + b"\x01" + block(3, b"http"), "http"),
        ("apimachinery.pkg.apis.meta.v1.Time", varint(1 << 3) + varint(1_700_000_000), "2023-11-14T22:13:20Z"),
        ("apimachinery.pkg.apis.meta.v1.Time", b"", None),
        (
            "apimachinery.pkg.apis.meta.v1.MicroTime",
            varint(1 << 3) + varint(1_700_000_000) + varint(2 << 3) + varint(5000),
            "2023-11-14T22:13:20.000005Z",
        ),
        ("apimachinery.pkg.runtime.RawExtension", block(1, b'{"a":[1]}'), {"a": [1]}),
        ("apimachinery.pkg.apis.meta.v1.FieldsV1", block(1, b'{"f:a":{}}'), {"f:a": {}}),
        ("api.authentication.v1.ExtraValue", block(1, b"a") + block(1, b"b"), ["a", "b"]),
    ],
)
def test_types_that_are_something_else_in_json(type_name: str, wire: bytes, expected: Any) -> None:
    assert decode_message(wire, KNOWN.get(f"io.k8s.{type_name}")) == expected


def test_fields_of_a_newer_version_are_passed_over() -> None:
    message = KNOWN.get("io.k8s.api.core.v1.Toleration")
    unknown = (
        block(900, b"x")
        + varint(901 << 3)
        + b"\x05"
        + varint(902 << 3 | 1)
        + b"\0" * 8
        + varint(903 << 3 | 5)
        + b"\0" * 4
    )
    assert decode_message(unknown + block(1, b"k"), message) == {"key": "k"}


def envelope(kind: str, raw: bytes, api_version: str = "v1") -> bytes:
    return MAGIC + block(1, block(1, api_version.encode()) + block(2, kind.encode())) + block(2, raw)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"kind":"Pod"}', "expected prefix"),
        (b"", "empty data"),
        (MAGIC, "empty body"),
        (MAGIC + b"\x1a\x00", "Kind' is missing"),
        (envelope("Thing", b""), 'no kind "Thing" is registered for version "v1"'),
        (envelope("Pod", b"\x0a\xff"), "unexpected EOF"),
        (envelope("Pod", b"\xff" * 11), "integer overflow"),
        (envelope("Pod", b"\x0b"), "illegal wire type 3"),
        (envelope("ConfigMap", block(2, block(1, b"\xff"))), "not valid UTF-8"),
        (envelope("Pod", varint(1 << 3) + b"\x01"), "wrong wire type"),
        (envelope("ConfigMap", block(1, block(8, varint(1 << 3) + varint(1 << 62)))), "out of range"),
    ],
)
def test_bodies_that_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode(body, TYPE_NAME)


def test_schemas_that_hold_themselves_are_bounded() -> None:
    message = KNOWN.get("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
    names = {field.number: field.name for field in message.fields}
    deep = b""
    number = next(each for each, name in names.items() if name == "not")
    for _ in range(150):
        deep = block(number, deep)
    with pytest.raises(DecodeError, match="too deeply"):
        decode_message(deep, message)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    for body in (data, MAGIC + data, envelope("Pod", data)):
        try:
            decode(body, TYPE_NAME)
        except DecodeError:
            pass


def test_every_kind_that_is_served_has_its_message() -> None:
    for resource in builtin().all():
        assert resource.type_name in KNOWN, resource.type_name
        for field in KNOWN.get(resource.type_name).fields:
            if field.kind == "m":
                assert field.message.name
