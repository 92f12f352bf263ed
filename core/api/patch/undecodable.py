"""What is said when a patch makes of an object what its kind cannot hold: 422, with the culprit quoted whole.

For a JSON patch or merge patch the culprit is the object that came out, for a strategic merge patch the patch: upstream
never writes out the object then, but fills it field by field from the merged maps, with an error text of its own. Of
the directives only those are quoted that were still there when the merge was done.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from cybernetes.core.api import schema
from cybernetes.core.api.fielderror import invalid_value
from cybernetes.core.api.patch.strategic import leftover
from cybernetes.core.api.schema import Type
from cybernetes.core.errors import ApiError, Cause, invalid
from cybernetes.core.objects import Object

_PREFIX = re.compile(r'\S+ in version "[^"]*" cannot be handled as a \S+: ')
_WRONG_TYPE = re.compile(r"json: cannot unmarshal (\w+)( \S+)? into Go (?:struct field \S+|value) of type (.+)")
_KINDS = {"string": "string", "bool": "bool", "number": "int64", "object": "map", "array": "slice"}
_SIMPLE = frozenset({"bool", "float64", "int32", "int64", "string"})


def undecodable(error: ApiError, patched: Object) -> ApiError:
    """For a JSON patch or merge patch. ``error`` says why ``patched``, which came out of it, was refused.

    The codec changes what it checks: ``patched`` is to be made once more.
    """
    return _refusal(orjson.dumps(patched).decode(), error.message)


def undecodable_strategic(error: ApiError, obj: Object, patch: Object, type: Type) -> ApiError:
    """For a strategic merge patch of ``obj``. ``error`` says why what came out of it was refused."""
    why = _PREFIX.sub("", error.message, count=1)
    wrong = _WRONG_TYPE.fullmatch(why)
    return _refusal(leftover(obj, patch, type), _conversion(*wrong.groups("")) if wrong else why)


def _refusal(value: str, why: str) -> ApiError:
    reason, path, message = invalid_value("patch", value, why)
    return invalid("", "", "", [Cause(reason, message, path)])


def _conversion(word: str, literal: str, target: str) -> str:
    """Why a JSON value cannot become a Go value, in the words of the conversion from maps."""
    kind = "float64" if "." in literal else _KINDS.get(word, word)
    if target.startswith("[]"):
        return f"cannot restore slice from {kind}"
    if target.startswith("map["):
        return f"cannot restore map from {kind}"
    if target not in _SIMPLE and _is_struct(target):
        return f"cannot restore struct from: {kind}"
    underlying = target if target in _SIMPLE else "string"  # a named type: v1.PullPolicy
    if (kind == "int64" and underlying != "bool") or (kind == "float64" and underlying in ("int32", "int64")):
        return f"cannot convert {kind} to {target}"
    return f"unrecognized type: {underlying}"


def _is_struct(target: Any) -> bool:
    return any(name.endswith(f".{target}") for name in schema.load())
