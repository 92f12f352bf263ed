"""Types that are one thing in JSON and another in a message: times, quantities, int-or-string, raw JSON, schemas.

Each has two functions: the fields of the message -> the JSON value, and back. The bytes among such fields are bytes.

    "50%"                          IntOrString  type: 1, strVal: "50%"
    {"f:spec": {}}                 FieldsV1     Raw: b'{"f:spec":{}}'
    "2026-01-02T15:04:05Z"         Time         seconds: 1767366245; no time is an empty message
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

Fields = dict[str, Any]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


class Form(NamedTuple):
    """``kernel`` is the number by which the kernel knows it. Both functions raise ValueError for what does not fit."""

    kernel: int
    from_fields: Callable[[Fields], Any]
    to_fields: Callable[[Any], Fields]
    #: Whether a message without any content is null.
    is_nullable: bool = False


def read_time(text: str) -> tuple[int, int]:
    """Seconds since the epoch and nanoseconds (whole microseconds) of an RFC 3339 time. Raises ValueError."""
    micros = (datetime.datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    return micros // 1_000_000, micros % 1_000_000 * 1000


def _time(found: Fields) -> str:
    return _moment(found).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def _micro_time(found: Fields) -> str:
    return _moment(found).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _moment(found: Fields) -> datetime.datetime:
    nanos = found.get("nanos", 0)
    if not 0 <= nanos < 1_000_000_000:
        raise ValueError("a time is out of range")
    try:
        return _EPOCH + datetime.timedelta(seconds=found.get("seconds", 0), microseconds=nanos // 1000)
    except OverflowError:
        raise ValueError("a time is out of range") from None


def _time_fields(text: str) -> Fields:
    seconds, nanos = read_time(text)
    return {"seconds": seconds, "nanos": nanos} if nanos else {"seconds": seconds}


def _quantity(found: Fields) -> str:
    text: str = found.get("string", "0")
    return text


def _int_or_string(found: Fields) -> int | str:
    value: int | str = found.get("strVal", "") if found.get("type") == 1 else found.get("intVal", 0)
    return value


def _int_or_string_fields(value: int | str) -> Fields:
    return {"type": 1, "strVal": value} if isinstance(value, str) else {"intVal": value}


def _raw(field: str) -> Form:
    def value(found: Fields) -> Any:
        raw = found.get(field)
        if not raw:
            return None
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise ValueError("raw JSON in a message is malformed") from None

    return Form(_OTHER, value, lambda given: {field: orjson.dumps(given)})


def _items(found: Fields) -> list[Any]:
    items: list[Any] = found.get("items", [])
    return items


def _schema_or(other: str, absent: Any = None) -> Form:
    """A field that holds a JSON schema or something else."""

    def value(found: Fields) -> Any:
        return found["schema"] if "schema" in found else found.get(other, absent)

    def fields(given: Any) -> Fields:
        if not isinstance(given, dict):
            return {other: given}
        return {"allows": True, "schema": given} if other == "allows" else {"schema": given}

    return Form(_OTHER, value, fields)


_OTHER = 5
_ITEMS = Form(_OTHER, _items, lambda given: {"items": given})
#: By the name of the type.
FORMS: Mapping[str, Form] = {
    _META + "Time": Form(1, _time, _time_fields, is_nullable=True),
    _META + "MicroTime": Form(2, _micro_time, _time_fields, is_nullable=True),
    "io.k8s.apimachinery.pkg.api.resource.Quantity": Form(3, _quantity, lambda given: {"string": str(given)}),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": Form(4, _int_or_string, _int_or_string_fields),
    _META + "FieldsV1": _raw("Raw"),
    _META + "Verbs": _ITEMS,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": _raw("raw"),
    "io.k8s.api.authentication.v1.ExtraValue": _ITEMS,
    "io.k8s.api.authorization.v1.ExtraValue": _ITEMS,
    "io.k8s.api.certificates.v1.ExtraValue": _ITEMS,
    _EXTENSIONS + "JSON": _raw("raw"),
    _EXTENSIONS + "JSONSchemaPropsOrArray": _schema_or("jSONSchemas"),
    _EXTENSIONS + "JSONSchemaPropsOrBool": _schema_or("allows", False),
    _EXTENSIONS + "JSONSchemaPropsOrStringArray": _schema_or("property"),
}
