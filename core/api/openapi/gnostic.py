"""The second version of OpenAPI as protobuf, in the messages of gnostic, which some clients ask for.

Every message is made from the JSON object of the same name by a line of the table: its fields in the order of their
numbers. Extensions (``x-…``) are the last of them. What has no type of its own is sent as YAML, which JSON is.

Source: github.com/google/gnostic, openapiv2/OpenAPIv2.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Json = Mapping[str, Any]

CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_ITEM = (
    "type:text format:text items:PrimitivesItems collectionFormat:text default:Any maximum:double "
    "exclusiveMaximum:bool minimum:double exclusiveMinimum:bool maxLength:int minLength:int pattern:text "
    "maxItems:int minItems:int uniqueItems:bool enum[]:Any multipleOf:double"
)
_PLACED = "required:bool in:text description:text name:text"

#: Message -> its fields: name, ``[]`` when repeated, type (``-``: never sent). Their numbers count from one.
_MESSAGES = {
    "Document": "swagger:text info:Info host:text basePath:text schemes[]:text consumes[]:text produces[]:text "
    "paths:Paths definitions:Schemas parameters:- responses:- security[]:Requirement securityDefinitions:Securities "
    "tags[]:Tag externalDocs:ExternalDocs",
    "Info": "title:text version:text description:text termsOfService:text contact:Contact license:License",
    "Contact": "name:text url:text email:text",
    "License": "name:text url:text",
    "Tag": "name:text description:text externalDocs:ExternalDocs",
    "ExternalDocs": "description:text url:text",
    "ApiKey": "type:text name:text in:text description:text",
    "PathItem": "$ref:text get:Operation put:Operation post:Operation delete:Operation options:Operation "
    "head:Operation patch:Operation parameters[]:Parameter",
    "Operation": "tags[]:text summary:text description:text externalDocs:ExternalDocs operationId:text produces[]:text "
    "consumes[]:text parameters[]:Parameter responses:Responses schemes[]:text deprecated:bool security[]:Requirement",
    "Response": "description:text schema:SchemaItem headers:- examples:-",
    "body": "description:text name:text in:text required:bool schema:Schema",
    "header": f"{_PLACED} {_ITEM}",
    "path": f"{_PLACED} {_ITEM}",
    "query": f"{_PLACED} allowEmptyValue:bool {_ITEM}",
    "formData": f"{_PLACED} allowEmptyValue:bool {_ITEM}",
    "PrimitivesItems": _ITEM,
    "Schema": "$ref:text format:text title:text description:text default:Any multipleOf:double maximum:double "
    "exclusiveMaximum:bool minimum:double exclusiveMinimum:bool maxLength:int minLength:int pattern:text maxItems:int "
    "minItems:int uniqueItems:bool maxProperties:int minProperties:int required[]:text enum[]:Any "
    "additionalProperties:Additional type:Texts items:Items allOf[]:Schema properties:Schemas discriminator:text "
    "readOnly:bool xml:- externalDocs:ExternalDocs example:Any",
}
#: The kinds of parameters that are not the body, by where they are.
_PLACES = {"header": 1, "formData": 2, "query": 3, "path": 4}

_Encode = Callable[[Any], bytes]


def encode(document: Json) -> bytes:
    """``document`` as ``openapi.v2`` makes it. About as long as making it; cache the result."""
    return _Encoder().message("Document", document)


class _Encoder:
    """Encodes what is inside a field, by the name of its type."""

    def __init__(self) -> None:
        self._fields = {message: list(_fields(text)) for message, text in _MESSAGES.items()}
        self._parameters: dict[bytes, bytes] = {}
        self._special: dict[str, Callable[[Any], bytes]] = {
            "Additional": lambda value: (
                _field(1, self.message("Schema", value)) if isinstance(value, Mapping) else b"\x10" + bytes([value])
            ),
            "Any": lambda value: _field(2, orjson.dumps(value) + b"\n"),
            "Items": lambda value: b"".join(_field(1, self.message("Schema", each)) for each in _listed(value)),
            "Parameter": self._parameter,
            "Paths": lambda value: self._named(2, value, lambda each: self.message("PathItem", each)),
            "Requirement": lambda value: self._named(1, value, _texts),
            "Responses": lambda value: self._named(1, value, lambda each: _field(1, self.message("Response", each))),
            "SchemaItem": lambda value: _field(1, self.message("Schema", value)),
            "Schemas": lambda value: self._named(1, value, lambda each: self.message("Schema", each)),
            "Securities": lambda value: self._named(1, value, lambda each: _field(2, self.message("ApiKey", each))),
            "Texts": _texts,
            "text": str.encode,
        }

    def message(self, name: str, value: Json) -> bytes:
        fields = self._fields[name]
        parts = []
        for key, number, type, is_repeated in fields:
            found = value.get(key)
            if found is None or type == "-":
                continue
            for each in found if is_repeated else (found,):
                parts.append(self._value(number, type, each))
        for key, extension in value.items():
            if key.startswith("x-"):
                named = _field(1, key.encode()) + _field(2, self._special["Any"](extension))
                parts.append(_field(len(fields) + 1, named))
        return b"".join(parts)

    def _value(self, number: int, type: str, value: Any) -> bytes:
        if type == "bool" or type == "int":
            return _varint(number << 3) + _varint(int(value)) if value else b""
        if type == "double":
            return _varint(number << 3 | 1) + struct.pack("<d", value) if value else b""
        special = self._special.get(type)
        return _field(number, special(value) if special is not None else self.message(type, value))

    def _named(self, number: int, values: Json, encode: _Encode) -> bytes:
        return b"".join(
            _field(number, _field(1, name.encode()) + _field(2, encode(value))) for name, value in values.items()
        )

    def _parameter(self, value: Json) -> bytes:
        """Most are the same few, over and over."""
        key = orjson.dumps(value)
        encoded = self._parameters.get(key)
        if encoded is None:
            place = value["in"]
            inside = self.message(place, value)
            inside = _field(1, inside) if place == "body" else _field(2, _field(_PLACES[place], inside))
            encoded = self._parameters[key] = _field(1, inside)
        return encoded


def _fields(text: str) -> list[tuple[str, int, str, bool]]:
    found = []
    for number, word in enumerate(text.split(), 1):
        name, _, type = word.partition(":")
        found.append((name.removesuffix("[]"), number, type, name.endswith("[]")))
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _texts(value: Any) -> bytes:
    return b"".join(_field(1, text.encode()) for text in _listed(value))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    if value < 0:
        value += 1 << 64
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
