"""JSON patch (RFC 6902), as the API server applies it.

Beyond the RFC it takes what upstream's does: an index may be negative and then counts from the end, and ``test`` of a
member that does not exist holds when its value is null. What cannot be applied ends as 422, in words that do not say
why: the reason is the cause of the ApiError, for the log. The tests compare it with the jsonpatch library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cybernetes.core.errors import ApiError, bad_request, failure
from cybernetes.core.objects import Object, clone

#: Each operation may copy the whole document.
OPERATIONS_MAX = 10_000
#: What all the copies of one patch may add up to, in values: without a bound, n copies make 2^n.
COPIED_MAX = 1_000_000

_INDEX = re.compile(r"[+-]?[0-9]+")
_MISSING = object()


class PatchError(ValueError):
    """Why an operation does not apply."""


def apply_json_patch(obj: Object, operations: Any) -> Object:
    """``obj`` after all operations, or none of them.

    Raises ApiError 400 for what is no patch, 413 for more than OPERATIONS_MAX operations and 422 for one that does not
    apply.
    """
    if not isinstance(operations, list):
        raise bad_request(_wrong_type(operations, "jsonpatch.Patch"))
    if len(operations) > OPERATIONS_MAX:
        text = f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(operations)}"
        raise failure(413, "RequestEntityTooLarge", f"Request entity too large: {text}")
    for operation in operations:
        if not isinstance(operation, dict):
            raise bad_request(_wrong_type(operation, "jsonpatch.Operation"))
    work = _Work(clone(obj))
    try:
        for operation in clone({"": operations})[""]:
            work.apply(operation)
    except PatchError as error:
        raise _unprocessable() from error
    if not isinstance(work.document, dict):
        raise _unprocessable() from PatchError("the document is no object any more")
    return work.document


class _Work:
    """One patch at work on a document of its own."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self._copied = 0

    def apply(self, operation: Mapping[str, Any]) -> None:
        kind = operation.get("op")
        apply = _OPERATIONS.get(kind) if isinstance(kind, str) else None
        if apply is None:
            raise PatchError(f"Unexpected kind: {kind if isinstance(kind, str) else 'unknown'}")
        apply(self, operation)

    def add(self, operation: Mapping[str, Any]) -> None:
        self._add(_text(operation, "path"), operation.get("value"))

    def remove(self, operation: Mapping[str, Any]) -> None:
        self._remove(_text(operation, "path"))

    def replace(self, operation: Mapping[str, Any]) -> None:
        path = _text(operation, "path")
        value = operation.get("value")
        container, key = self._find(path)
        if isinstance(container, dict):
            if key not in container:
                raise PatchError(f"replace operation does not apply: doc is missing key: {path}")
            container[key] = value
        else:
            container[_index(key, len(container))] = value

    def move(self, operation: Mapping[str, Any]) -> None:
        source, path = _text(operation, "from"), _text(operation, "path")
        if path.startswith(source + "/"):
            raise PatchError(f"cannot move {source} into itself")
        value = self._get(source)
        self._remove(source)
        self._add(path, value)

    def copy(self, operation: Mapping[str, Any]) -> None:
        value = self._get(_text(operation, "from"))
        self._copied += _size(value)
        if self._copied > COPIED_MAX:
            raise PatchError(f"the patch copies more than {COPIED_MAX} values")
        self._add(_text(operation, "path"), clone({"": value})[""])

    def test(self, operation: Mapping[str, Any]) -> None:
        path = _text(operation, "path")
        found = self._get(path, None)
        if not _equal(found, operation.get("value")):
            raise PatchError(f"testing value {path} failed: test failed")

    def _find(self, path: str) -> tuple[Any, str]:
        """The container that holds what ``path`` points to, and the key in it."""
        parts = path.split("/")
        if len(parts) < 2:
            raise PatchError(f'doc is missing path: "{path}"')
        found = self.document
        for part in parts[1:-1]:
            found = _member(found, _decoded(part))
            if not isinstance(found, dict | list):
                raise PatchError(f'doc is missing path: "{path}"')
        return found, _decoded(parts[-1])

    def _get(self, path: str, default: Any = _MISSING) -> Any:
        container, key = self._find(path)
        found = _member(container, key)
        if found is not _MISSING:
            return found
        if default is _MISSING or isinstance(container, list):
            raise PatchError(f"unable to get nonexistent key: {key}")
        return default

    def _add(self, path: str, value: Any) -> None:
        container, key = self._find(path)
        if isinstance(container, dict):
            container[key] = value
        elif key == "-":
            container.append(value)
        else:
            container.insert(_index(key, len(container) + 1), value)

    def _remove(self, path: str) -> None:
        container, key = self._find(path)
        if isinstance(container, dict):
            if key not in container:
                raise PatchError(f"Unable to remove nonexistent key: {key}")
            del container[key]
        else:
            del container[_index(key, len(container))]


_OPERATIONS: Mapping[str, Callable[[_Work, Mapping[str, Any]], None]] = {
    "add": _Work.add,
    "remove": _Work.remove,
    "replace": _Work.replace,
    "move": _Work.move,
    "copy": _Work.copy,
    "test": _Work.test,
}


def _text(operation: Mapping[str, Any], key: str) -> str:
    value = operation.get(key)
    if not isinstance(value, str):
        raise PatchError(f"operation missing {key} field")
    return value


def _decoded(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def _member(container: Any, key: str) -> Any:
    """What is there, or _MISSING. Raises PatchError for what is no index of a list."""
    if isinstance(container, dict):
        return container.get(key, _MISSING)
    return container[_index(key, len(container))]


def _index(key: str, size: int) -> int:
    """A position below ``size``; negative ones count from its end."""
    if not _INDEX.fullmatch(key) or len(key) > 19:
        raise PatchError(f"value was not a proper array index: '{key}'")
    index = int(key)
    if not -size <= index < size:
        raise PatchError(f"Unable to access invalid index: {index}: invalid index referenced")
    return index + size if index < 0 else index


def _equal(left: Any, right: Any) -> bool:
    """As JSON: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return type(left) is type(right) and bool(left == right)


def _size(value: Any) -> int:
    """How many values a value holds, itself included."""
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1


def _wrong_type(value: Any, wanted: str) -> str:
    kind = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else _scalar(value)
    return f"json: cannot unmarshal {kind} into Go value of type {wanted}"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return "string"
    return "bool" if isinstance(value, bool) else "number"


def _unprocessable() -> ApiError:
    error = failure(422, "Invalid", "the server rejected our request due to an error in our request")
    error.status["details"] = {}
    return error
