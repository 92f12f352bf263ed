"""Objects on their way into the store, for tests: decoded, checked, defaulted and prepared as the API server does."""

from __future__ import annotations

from typing import Any

import orjson

from cybernetes.core.api import codec
from cybernetes.core.api.registry import builtin
from cybernetes.core.api.resource import Context, Resource
from cybernetes.core.auth.user import User
from cybernetes.core.clock import ManualClock, Random
from cybernetes.core.objects import Gvk, Object, clone

NAMESPACE = "ns"


def context() -> Context:
    return Context(ManualClock(), Random(1), User("somebody"), NAMESPACE)


def resource_of(obj: Object) -> Resource:
    group, _, version = obj["apiVersion"].rpartition("/")
    found = builtin().by_kind(Gvk(group, version, obj["kind"]))
    assert found is not None, obj["kind"]
    return found


def read(obj: Object) -> Object:
    """As it is after decoding and defaulting."""
    resource = resource_of(obj)
    raw = orjson.dumps(obj)
    found = codec.decode(raw, "application/json", resource.kind)
    codec.check(resource, found, raw, "Strict")
    metadata = found["metadata"]
    metadata.setdefault("name", "x")
    metadata.setdefault("uid", "u-1")
    metadata.setdefault("creationTimestamp", "2024-01-01T00:00:00Z")
    if resource.is_namespaced:
        metadata.setdefault("namespace", NAMESPACE)
    resource.strategy.default(found)
    return found


def made(obj: Object) -> Object:
    """As it is before validation of a create."""
    found = read(obj)
    resource_of(obj).strategy.prepare_create(found, context())
    return found


def refusals(obj: Object) -> list[str]:
    """What a create is refused for: ``path: message``."""
    return _texts(resource_of(obj).strategy.validate_create(made(obj)))


def update_refusals(new: Object, old: Object) -> list[str]:
    stored, strategy = made(old), resource_of(old).strategy
    found = _carried(read(new), stored)
    strategy.prepare_update(found, stored, context())
    return _texts(strategy.validate_update(found, stored))


def status_refusals(new: Object, old: Object) -> list[str]:
    stored, strategy = made(old), resource_of(old).strategy
    if "status" in old:
        stored["status"] = read(old)["status"]
    found = _carried(read(new), stored)
    strategy.prepare_status(found, stored, context())
    return _texts(strategy.validate_status(found, stored))


def warnings_of(obj: Object) -> list[str]:
    return list(resource_of(obj).strategy.warnings(made(obj)))


def _carried(new: Object, old: Object) -> Object:
    """What the API server carries over from the stored object on every update."""
    if "generation" in old["metadata"]:
        new["metadata"]["generation"] = old["metadata"]["generation"]
    return new


def _texts(errors: Any) -> list[str]:
    return [f"{error.path}: {error.message}" for error in errors]


def changed(obj: Object, changes: dict[str, Any]) -> Object:
    """A copy with other values at dotted paths; None removes."""
    found = clone(obj)
    for path, value in changes.items():
        at: Any = found
        *steps, last = path.replace("\\.", "\0").split(".")
        for step in steps:
            step = step.replace("\0", ".")
            at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
        last = last.replace("\0", ".")
        if isinstance(at, list):
            at[int(last)] = value
        elif value is None:
            at.pop(last, None)
        else:
            at[last] = value
    return found


def matches(found: list[str], expected: list[str]) -> None:
    """Equal texts; an expected one may end in ``…``."""
    assert len(found) == len(expected), found
    for text, wanted in zip(found, expected, strict=True):
        if wanted.endswith("…"):
            assert text.startswith(wanted[:-1]), found
        else:
            assert text == wanted, found
