"""The defaults in a schema: each must be what its own schema allows, or it could never be stored.

A default inside the metadata of an object is judged with an object built around it. Upstream: schema/defaulting,
``ValidateDefaults``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cybernetes.core.api import walk
from cybernetes.core.api.custom import coercion, results, rules, validation
from cybernetes.core.api.custom.embedded import check_embedded
from cybernetes.core.api.custom.structure import META_FIELDS, NO_DEFAULT, Structural
from cybernetes.core.api.fielderror import FieldError, invalid_value
from cybernetes.core.objects import clone

#: Builds an object with a value at its place.
_Around = Callable[[Any], Any]


def check_defaults(root: Structural, path: str) -> list[FieldError]:
    """What is wrong with the defaults of a whole schema, whose root is at ``path``."""
    errors: list[FieldError] = []
    _visit(root, path, root, _object, errors, is_root=True, is_meta=False)
    return errors


def _visit(
    node: Structural,
    path: str,
    root: Structural,
    around: _Around,
    errors: list[FieldError],
    *,
    is_root: bool,
    is_meta: bool,
) -> None:
    """``root`` is the schema of the object that the node is part of, ``is_meta``: it is in the metadata of that."""
    if node.is_embedded:
        root, around, is_meta = node, _object, False
    if node.default is not NO_DEFAULT:
        is_whole = is_root or node.is_embedded
        errors += _check(node, f"{path}.default", root, around, is_root=is_whole, is_meta=is_meta)
    inner = node.items
    if inner is not None:
        _visit(inner, f"{path}.items", root, _in_list(around), errors, is_root=False, is_meta=is_meta)
    for name in node.properties:
        child = node.field(name)
        assert child is not None
        inside = is_meta or ((is_root or node.is_embedded) and name in META_FIELDS)
        at = f"{path}.properties[{name}]"
        _visit(child, at, root, _in_field(around, name), errors, is_root=False, is_meta=inside)


def _check(
    node: Structural, path: str, root: Structural, around: _Around, *, is_root: bool, is_meta: bool
) -> list[FieldError]:
    value = node.default
    if is_meta:
        errors = _check_meta(value, around, root, path)
    else:
        errors = _check_pruned(node, value, path)
        errors += check_embedded(node, value, path)
    if errors:
        return errors
    failures = validation.of(node).validate(value, "", None).failures
    if failures:
        return results.field_errors(failures, path)
    errors = rules.check(node, value, value, None, path, is_root=is_root)
    return errors or rules.check(node, value, None, None, path, is_root=is_root)


def _check_meta(value: Any, around: _Around, root: Structural, path: str) -> list[FieldError]:
    obj = {"apiVersion": "validation/v1", "kind": "Validation"} | around(clone(value))
    why = ""
    try:
        unknown = coercion.coerce(None, {field: obj[field] for field in obj.keys() & META_FIELDS}, prunes=False)
        if unknown:
            why = unknown[0]
    except walk.DecodeError as error:
        why = str(error)
    if not why:
        wrong = check_embedded(Structural({"type": "object", "x-kubernetes-embedded-resource": True}), obj)
        why = "; ".join(map(str, wrong))
    return [invalid_value(path, value, f"must result in valid metadata: {why}")] if why else []


def _check_pruned(node: Structural, value: Any, path: str) -> list[FieldError]:
    try:
        has_unknown = coercion.prune(node, clone(value))
    except walk.DecodeError as error:
        return [invalid_value(path, value, f"must result in valid metadata: {error}")]
    return [invalid_value(path, value, "must not have unknown fields")] if has_unknown else []


def _object(value: Any) -> Any:
    return value


def _in_list(around: _Around) -> _Around:
    return lambda value: around([value])


def _in_field(around: _Around, name: str) -> _Around:
    return lambda value: around({name: value})
