"""JSON patch (RFC 6902), as the API server applies it.

The jsonpatch library applies each operation. What is ours is what upstream's library takes beyond the RFC, which is
put into the RFC's terms before: an index may have a sign or leading zeros, and a negative one counts from the end; a
missing value is null; ``test`` of a member that does not exist holds when its value is null; a path may have anything
before its first slash, and no path means the document itself. What cannot be applied ends as 422, in words that do not
say why: the reason is the cause of the ApiError, for the log.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from cybernetes.core.errors import ApiError, bad_request, failure
from cybernetes.core.objects import Object, clone

if TYPE_CHECKING:
    from jsonpatch import JsonPointer

#: Each operation may copy the whole document.
OPERATIONS_MAX = 10_000
#: What all the copies of one patch may add up to, in bytes of JSON: without a bound, n copies make 2^n.
COPIED_BYTES_MAX = 3 * 1024 * 1024

#: An index that the RFC does not know: -1, +1, 01.
_ODD_INDEX = re.compile(r"/(?:[+-][0-9]|0[0-9])")
_INDEX = re.compile(r"[+-]?[0-9]{1,18}")
_STRAY_TILDE = re.compile(r"~(?![01])")
_HAVE_VALUE = frozenset({"add", "replace", "test"})


class PatchError(ValueError):
    """Why an operation does not apply."""


def apply_json_patch(obj: Object, operations: Any) -> Object:
    """``obj`` after all operations, or none of them. 10 µs an operation; the first call imports the library.

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
    from jsonpatch import JsonPatchException, JsonPointerException

    work = _Work(clone(obj))
    try:
        for operation in operations:
            work.apply(operation)
    except (PatchError, JsonPatchException, JsonPointerException) as error:
        raise _unprocessable() from error
    if not isinstance(work.document, dict):
        raise _unprocessable() from PatchError("the document is no object any more")
    return work.document


class _Work:
    """One patch at work on a document of its own."""

    def __init__(self, document: Any) -> None:
        from jsonpatch import JsonPatch, JsonPointer

        self.document = document
        self._copied = 0
        self._operations = JsonPatch.operations
        self._pointer: type[JsonPointer] = JsonPointer

    def apply(self, operation: dict[str, Any]) -> None:
        kind = operation.get("op")
        if not isinstance(kind, str) or kind not in self._operations:
            raise PatchError(f"Unexpected kind: {kind if isinstance(kind, str) else 'unknown'}")
        path = _path(operation, "path")
        if kind in ("copy", "move"):
            source = self._counted(_path(operation, "from"), grows=False)
            if kind == "copy":
                self._count_copy(source)
            elif _ODD_INDEX.search(path):
                # The place is counted in what the removal leaves.
                value = self._pointer(source).resolve(self.document)
                self._run({"op": "remove", "path": source})
                self._run({"op": "add", "path": self._counted(path, grows=True), "value": value})
                return
            self._run({"op": kind, "path": self._counted(path, grows=True), "from": source})
            return
        path = self._counted(path, grows=kind == "add")
        value = operation.get("value")
        if kind == "test" and value is None and self._is_absent(path):
            return
        self._run({"op": kind, "path": path, "value": value} if kind in _HAVE_VALUE else {"op": kind, "path": path})

    def _run(self, operation: dict[str, Any]) -> None:
        self.document = self._operations[operation["op"]](operation).apply(self.document)

    def _is_absent(self, path: str) -> bool:
        container, key = self._pointer(path).to_last(self.document)
        return isinstance(container, dict) and key not in container

    def _count_copy(self, source: str) -> None:
        from jsonpointer import EndOfList

        value = self._pointer(source).resolve(self.document)
        if isinstance(value, EndOfList):
            raise PatchError(f"there is nothing at {source}")
        self._copied += len(orjson.dumps(value))
        if self._copied > COPIED_BYTES_MAX:
            raise PatchError(
                "Unable to complete the copy, the accumulated size increase of copy is "
                f"{self._copied}, exceeding the limit {COPIED_BYTES_MAX}"
            )

    def _counted(self, path: str, *, grows: bool) -> str:
        """``path`` with every index of a list as the RFC writes it. ``grows``: the last one is of the list that one
        element more will have made."""
        if not _ODD_INDEX.search(path):
            return path
        parts = path.split("/")
        for at in range(1, len(parts)):
            if not _INDEX.fullmatch(parts[at]):
                continue
            container = self._pointer("/".join(parts[:at])).resolve(self.document)
            if isinstance(container, list):
                index = int(parts[at])
                size = len(container) + (grows and at == len(parts) - 1)
                parts[at] = str(index + size if index < 0 else index)
        return "/".join(parts)


def _path(operation: dict[str, Any], key: str) -> str:
    value = operation.get(key)
    if not isinstance(value, str):
        raise PatchError(f"operation missing {key} field")
    _, slash, path = value.partition("/")
    if not slash:
        raise PatchError(f'doc is missing path: "{value}"')
    return "/" + _STRAY_TILDE.sub("~0", path)


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
