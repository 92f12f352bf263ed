import struct

import orjson
import pytest

from cybernetes.core.api import openapi
from cybernetes.core.api.openapi import gnostic
from cybernetes.core.api.registry import builtin


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def read(data):
    """Field number -> its values, as they are on the wire."""
    found, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        else:
            assert tag & 7 == 2
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        found.setdefault(tag >> 3, []).append(value)
    return found


def only(data, *path):
    for number in path:
        (data,) = read(data)[number]
    return data


def named(data, number):
    return {only(each, 1).decode(): only(each, 2) for each in read(data).get(number, ())}


def extensions(data, number):
    return {name: orjson.loads(only(value, 2)) for name, value in named(data, number).items()}


@pytest.fixture(scope="module")
def document():
    return openapi.v2(builtin())


@pytest.fixture(scope="module")
def encoded(document):
    return gnostic.encode(document)


def test_the_document(document, encoded):
    assert only(encoded, 1) == b"2.0"
    assert only(encoded, 2, 2) == b"v1.36.0"
    assert list(named(only(encoded, 8), 2)) == list(document["paths"])
    assert list(named(only(encoded, 9), 1)) == list(document["definitions"])
    security = named(only(encoded, 13), 1)["BearerToken"]
    assert only(security, 2, 2) == b"authorization"
    assert only(encoded, 12, 1, 1) == b"BearerToken"


def test_every_definition(document, encoded):
    for name, schema in named(only(encoded, 9), 1).items():
        expected = document["definitions"][name]
        fields = read(schema)
        assert fields[4] == [expected["description"].encode()]
        assert [each.decode() for each in fields.get(19, ())] == expected.get("required", [])
        properties = named(fields[25][0], 1) if 25 in fields else {}
        assert list(properties) == list(expected.get("properties", {}))
        assert extensions(schema, 31) == {key: each for key, each in expected.items() if key.startswith("x-")}
        for key, value in properties.items():
            check_property(value, expected["properties"][key])


def check_property(data, expected):
    fields = read(data)
    if "$ref" in expected:
        assert only(data, 1).decode() == expected["$ref"]
    if "type" in expected:
        assert only(data, 22, 1).decode() == expected["type"]
    if "items" in expected:
        check_property(only(data, 23, 1), expected["items"])
    if isinstance(expected.get("additionalProperties"), dict):
        check_property(only(data, 21, 1), expected["additionalProperties"])
    assert extensions(data, 31) == {key: each for key, each in expected.items() if key.startswith("x-")}
    assert not set(fields) - {1, 2, 4, 21, 22, 23, 31}


def test_an_operation(document, encoded):
    path = "/api/v1/namespaces/{namespace}/pods/{name}"
    item = named(only(encoded, 8), 2)[path]
    patch = only(item, 8)
    assert only(patch, 5) == b"patchCoreV1NamespacedPod"
    assert [each.decode() for each in read(patch)[7]] == document["paths"][path]["patch"]["consumes"]
    assert extensions(patch, 13)["x-kubernetes-group-version-kind"] == {"group": "", "version": "v1", "kind": "Pod"}
    body, *others = read(patch)[8]
    body = only(body, 1, 1)
    assert (only(body, 2), only(body, 4)) == (b"body", 1)
    assert only(body, 5, 1).startswith(b"#/definitions/")
    assert {only(each, 1, 2, 3, 4) for each in others} >= {b"fieldManager", b"dryRun", b"force"}
    common = read(item)[9]
    assert [only(each, 1, 2, 4, 4) for each in common if 4 in read(only(each, 1, 2))] == [b"name", b"namespace"]
    responses = named(only(patch, 9), 1)
    assert only(responses["200"], 1, 2, 1, 1) == b"#/definitions/io.k8s.api.core.v1.Pod"
    assert only(responses["401"], 1, 1) == b"Unauthorized"


def test_what_custom_resources_need():
    schema = {
        "type": "integer",
        "default": {"a": 1},
        "enum": [1, "x"],
        "minimum": 1.5,
        "maxLength": 300,
        "minItems": -1,
        "exclusiveMaximum": True,
        "additionalProperties": True,
        "items": {"type": "string"},
        "allOf": [{"required": ["b"]}],
        "xml": {"name": "never sent"},
        "x-kubernetes-int-or-string": True,
    }
    fields = read(read(gnostic.encode({"definitions": {"d": schema}}))[9][0])
    (data,) = fields[1]
    fields = read(only(data, 2))
    assert orjson.loads(only(fields[5][0], 2)) == {"a": 1}
    assert [orjson.loads(only(each, 2)) for each in fields[20]] == [1, "x"]
    assert fields[9] == [1.5]
    assert fields[11] == [300]
    assert fields[15] == [(1 << 64) - 1]
    assert fields[8] == [1]
    assert read(fields[21][0]) == {2: [1]}
    assert only(fields[24][0], 19) == b"b"
    assert 28 not in fields
