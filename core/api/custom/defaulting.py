"""Defaults of custom resources, as their schemas say (upstream: apiserver/schema/defaulting)."""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.custom.structure import NO_DEFAULT, Structural
from cybernetes.core.objects import clone


def default(value: Any, node: Structural | None) -> None:
    """Fill in what is missing, and what is null where that is not allowed, in place; outside before inside."""
    if node is None:
        return
    if type(value) is dict:
        for name in node.defaulted:
            child = node.field(name)
            assert child is not None
            if name not in value or (value[name] is None and not child.is_nullable):
                value[name] = clone(child.default)
        extra = node.extra
        for name, inner in value.items():
            child = node.field(name)
            if child is None:
                if extra is None:
                    continue
                child = extra
                if inner is None and not child.is_nullable:
                    inner = value[name] = _instead_of_null(child)
            if type(inner) is dict or type(inner) is list:
                default(inner, child)
    elif type(value) is list:
        items = node.items
        if items is None:
            return
        for index, inner in enumerate(value):
            if inner is None and not items.is_nullable:
                inner = value[index] = _instead_of_null(items)
            if type(inner) is dict or type(inner) is list:
                default(inner, items)


def _instead_of_null(node: Structural) -> Any:
    return None if node.default is NO_DEFAULT else clone(node.default)
