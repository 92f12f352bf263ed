"""What is wrong with one field, in Kubernetes' words (apimachinery, ``util/validation/field``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from cybernetes.core.errors import ApiError, Cause, invalid, quoted

#: What Go's JSON escapes in texts, for the sake of HTML.
_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


class FieldError(NamedTuple):
    """``reason`` is the machine's word (a CauseType), ``path`` the field, ``message`` the text without the path."""

    reason: str
    path: str
    message: str


def required(path: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", path, f"Required value: {detail}" if detail else "Required value")


def invalid_value(path: str, value: Any, detail: str) -> FieldError:
    end = f": {detail}" if detail else ""
    return FieldError("FieldValueInvalid", path, f"Invalid value: {_shown(value)}{end}")


def invalid_unshown(path: str, detail: str) -> FieldError:
    """Where the value is left out: it is too long, or the complaint is about several fields."""
    return FieldError("FieldValueInvalid", path, f"Invalid value: {detail}")


def type_invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueTypeInvalid", path, f"Invalid value: {_shown(value)}: {detail}")


def not_supported(path: str, value: Any, supported: Sequence[str]) -> FieldError:
    """``supported`` is quoted in the order given; upstream sorts where its set is unordered."""
    values = ", ".join(quoted(item) for item in supported)
    return FieldError("FieldValueNotSupported", path, f"Unsupported value: {_shown(value)}: supported values: {values}")


def not_found(path: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", path, f"Not found: {_shown(value)}")


def duplicate(path: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", path, f"Duplicate value: {_shown(value)}")


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", path, f"Forbidden: {detail}")


def too_long(path: str, max_length: int) -> FieldError:
    return FieldError("FieldValueTooLong", path, f"Too long: may not be more than {max_length} byte{_s(max_length)}")


def too_many(path: str, actual: int, max_items: int) -> FieldError:
    text = f"Too many: {actual}: must have at most {max_items} item{_s(max_items)}"
    return FieldError("FieldValueTooMany", path, text)


def internal_error(path: str, detail: str) -> FieldError:
    return FieldError("InternalError", path, f"Internal error: {detail}")


def as_api_error(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> ApiError:
    """The 422 that carries all of them."""
    return invalid(group, kind, name, [Cause(error.reason, error.message, error.path) for error in errors])


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _shown(value: Any) -> str:
    """A value as upstream's messages show it: strings quoted, numbers plain, the rest as JSON."""
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return orjson.dumps(value).decode().translate(_HTML)
