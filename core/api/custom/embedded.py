"""Whole objects inside custom resources (``x-kubernetes-embedded-resource``): they have a kind, and right metadata.

Upstream: apiserver/schema/objectmeta, Validate.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.custom.structure import Structural
from cybernetes.core.api.fielderror import FieldError, invalid_value, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import check_metadata
from cybernetes.core.objects import Object

#: Stands for the name of an object that has none yet: the rest of its metadata is checked all the same.
_ANY_NAME = "fakename"


def check_embedded(node: Structural | None, value: Any, path: str = "") -> list[FieldError]:
    """What is wrong with the objects inside ``value``."""
    errors: list[FieldError] = []
    _walk(node, value, path, errors)
    return errors


def _walk(node: Structural | None, value: Any, path: str, errors: list[FieldError]) -> None:
    if node is None:
        return
    if type(value) is dict:
        if node.is_embedded:
            errors += _check_object(value, path)
        for name, item in value.items():
            if type(item) is not dict and type(item) is not list:
                continue
            child = node.field(name)
            if child is not None:
                _walk(child, item, f"{path}.{name}" if path else name, errors)
            elif node.extra is not None:
                _walk(node.extra, item, f"{path}[{name}]", errors)
    elif type(value) is list and node.items is not None:
        for index, item in enumerate(value):
            _walk(node.items, item, f"{path}[{index}]", errors)


def _check_object(obj: Object, path: str) -> list[FieldError]:
    errors = [required(f"{path}.{name}") for name in ("apiVersion", "kind") if name not in obj]
    api_version, kind = obj.get("apiVersion"), obj.get("kind")
    if isinstance(api_version, str):
        if not api_version:
            errors.append(invalid_value(f"{path}.apiVersion", api_version, "must not be empty"))
        elif api_version.count("/") > 1:
            message = f"unexpected GroupVersion string: {api_version}"
            errors.append(invalid_value(f"{path}.apiVersion", api_version, message))
    if isinstance(kind, str):
        if not kind:
            errors.append(invalid_value(f"{path}.kind", kind, "must not be empty"))
        elif messages := names.dns_1035_label(kind.lower()):
            message = f"may have mixed case, but should otherwise match: {','.join(messages)}"
            errors.append(invalid_value(f"{path}.kind", kind, message))
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        named = metadata if metadata.get("name") else {**metadata, "name": _ANY_NAME}
        is_namespaced = bool(metadata.get("namespace"))
        errors += check_metadata(
            {"metadata": named}, names.path_segment, is_namespaced=is_namespaced, path=f"{path}.metadata"
        )
    return errors
