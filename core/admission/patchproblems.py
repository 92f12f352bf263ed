"""Why a JSON patch that admission was given does not apply, in the words of a real kube-apiserver."""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.patch import apply_json_patch
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import Object, clone

_MISSING = "missing value"


def explain(obj: Object, operations: list[Any]) -> str:
    """About the first operation that does not apply to what those before it make of ``obj``."""
    made = clone(obj)
    for operation in operations:
        try:
            made = apply_json_patch(made, [operation])
        except ApiError as error:
            return _about(made, operation) if isinstance(operation, dict) else error.message
    return "the patch does not apply"


def _about(obj: Object, operation: dict[str, Any]) -> str:
    kind, path = str(operation.get("op") or ""), str(operation.get("path") or "")
    if kind not in ("add", "remove", "replace", "move", "copy", "test"):
        return f"Unexpected kind: {kind}"
    if kind == "test":
        return f"testing value {path} failed: test failed"
    if kind in ("move", "copy"):
        source = str(operation.get("from") or "")
        container, key = _container(obj, source)
        if container is None:
            return f"{kind} operation does not apply: doc is missing from path: {source}: {_MISSING}"
        if isinstance(container, dict) and key not in container and kind == "move":
            return f"error in move for path: '{key}': Unable to remove nonexistent key: {key}: {_MISSING}"
        return f"{kind} operation does not apply: doc is missing destination path: {path}: {_MISSING}"
    container, key = _container(obj, path)
    if container is None:
        shown = path if kind == "replace" else f'"{path}"'
        return f"{kind} operation does not apply: doc is missing path: {shown}: {_MISSING}"
    if isinstance(container, list):
        index = f"Unable to access invalid index: {key}: invalid index referenced"
        return f"error in {kind} for path: '{path}': {index}"
    if kind == "replace":
        return f"replace operation does not apply: doc is missing key: {path}: {_MISSING}"
    return f"error in {kind} for path: '{path}': Unable to remove nonexistent key: {key}: {_MISSING}"


def _container(obj: Object, path: str) -> tuple[Any, str]:
    """What the last step of a path is taken in, and that step; None for what is not there."""
    *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]] or [""]
    found: Any = obj
    for step in steps:
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None, last
    return (found if isinstance(found, dict | list) else None), last
