"""Random objects of every kind on their way into the store: taken or refused with a path, and never a crash."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from apiobjects import NAMESPACE, context, made, resource_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from randomobjects import Maker
from samples import SAMPLES

from cybernetes.core.api import codec, schema
from cybernetes.core.api.registry import builtin
from cybernetes.core.api.resource import Resource
from cybernetes.core.api.schema import Type
from cybernetes.core.api.strategies import PARTS
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import Object, clone

STORED = [resource for resource in builtin().all() if resource.is_stored and resource.storage is None]
CARRIED = ("name", "namespace", "uid", "creationTimestamp", "generation")

makers = st.builds(Maker, st.randoms(use_true_random=False), fullness=st.sampled_from((0.1, 0.3, 0.5)))
resources = st.sampled_from(STORED)
samples = st.sampled_from(SAMPLES)
second_versions = st.sampled_from([resource for resource in builtin().all() if resource.to_storage])
#: What an autoscaling/v1 object says in annotations.
ANNOTATIONS = [
    f"autoscaling.alpha.kubernetes.io/{name}" for name in ("metrics", "current-metrics", "conditions", "behavior")
]
words = st.sampled_from(
    ["type", "Pods", "pods", "Object", "object", "metricName", "target", "ScaleUp", "Policies", "1", ""]
)
values = st.recursive(
    st.none() | st.integers(0, 5) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


def type_of(resource: Resource) -> Type:
    return schema.load().type(resource.type_name)


def named(resource: Resource, obj: Object) -> Object:
    obj["metadata"] = {**(obj.get("metadata") or {}), "name": "x"}
    if resource.is_namespaced:
        obj["metadata"]["namespace"] = NAMESPACE
    return {**obj, "apiVersion": resource.gvk.api_version, "kind": resource.kind}


def changed(maker: Maker, sample: Object) -> Object:
    """A sample with some parts made anew."""
    resource = resource_of(sample)
    obj = named(resource, sample) if "metadata" not in sample else sample
    obj = maker.changed(type_of(resource), obj, maker.random.choice((1, 2, 3, 6)))
    return {**obj, "apiVersion": sample["apiVersion"], "kind": sample["kind"]}


def read(resource: Resource, obj: Object) -> Object:
    raw = orjson.dumps(obj)
    found = codec.decode(raw, codec.JSON, resource.kind)
    assert codec.check(resource, found, raw, "Strict") == []
    resource.strategy.default(found)
    return found


def in_kept_form(resource: Resource, obj: Object) -> bool:
    again = clone(obj)
    return codec.check(resource, again) == [] and again == obj


def judged(errors: Any) -> bool:
    """Whether there are none; those that there are can be told."""
    for error in errors:
        assert error.path
        assert error.message
        assert error.reason.startswith("FieldValue")
    return not errors


def through_creation(resource: Resource, obj: Object) -> None:
    strategy = resource.strategy
    found = read(resource, obj)
    strategy.prepare_create(found, context())
    before = codec.encode(found)
    is_taken = judged(strategy.validate_create(found))
    assert all(isinstance(line, str) for line in strategy.warnings(found))
    assert codec.encode(found) == before
    if is_taken:
        assert orjson.loads(codec.encode(read(resource, orjson.loads(before)))) == orjson.loads(before)


@settings(max_examples=300, deadline=None)
@given(makers, resources)
def test_what_fits_its_type_is_taken_or_refused(maker, resource):
    through_creation(resource, named(resource, maker.object(type_of(resource))))


@settings(max_examples=600, deadline=None)
@given(makers, samples)
def test_what_is_nearly_right_is_taken_or_refused(maker, sample):
    through_creation(resource_of(sample), changed(maker, sample))


@settings(max_examples=600, deadline=None)
@given(makers, samples)
def test_updates_are_taken_or_refused(maker, sample):
    resource, old = resource_of(sample), made(sample)
    found = read(resource, changed(maker, sample))
    assume(found.get("metadata") is not None)
    for name in CARRIED:
        found["metadata"].pop(name, None)
        if name in old["metadata"]:
            found["metadata"][name] = old["metadata"][name]
    strategy, key = resource.strategy, (resource.gvr.group, resource.gvr.resource)
    ways = [(strategy.prepare_update, strategy.validate_update), (strategy.prepare_status, strategy.validate_status)]
    ways += [(part.prepare, part.check) for (*path, _), part in PARTS.items() if tuple(path) == key]
    for prepare, validate in ways:
        new, kept = clone(found), clone(old)
        prepare(new, kept, context())
        judged(validate(new, kept))
        assert codec.encode(kept) == codec.encode(old)


@settings(max_examples=300, deadline=None)
@given(makers, second_versions, st.dictionaries(st.sampled_from(ANNOTATIONS), values.map(orjson.dumps), max_size=2))
def test_a_second_version_becomes_the_first_and_comes_back(maker, resource, annotations):
    obj = named(resource, maker.object(type_of(resource)))
    obj["metadata"]["annotations"] = {name: text.decode() for name, text in annotations.items()}
    found = read(resource, obj)
    home = builtin().get(resource.storage)
    kept = resource.to_storage(clone(found))
    assert in_kept_form(home, kept)
    shown = resource.from_storage(clone(kept))
    assert in_kept_form(resource, shown)
    again = resource.to_storage(shown)  # upstream too makes zeros of a missing amount on the first way round
    assert resource.to_storage(resource.from_storage(clone(again))) == again


@settings(max_examples=300, deadline=None)
@given(makers, samples)
def test_a_part_of_another_type_is_refused_by_its_name(maker, sample):
    resource = resource_of(sample)
    obj, path = maker.spoiled(type_of(resource), sample)
    assume(path)
    raw = orjson.dumps(obj)
    with pytest.raises(ApiError) as caught:
        codec.check(resource, codec.decode(raw, codec.JSON, resource.kind), raw, "Strict")
    assert caught.value.code == 400
    message = caught.value.message
    assert message.startswith(f'{resource.kind} in version "{resource.gvk.version}" cannot be handled as a')
    if "Go struct field" in message:
        # Go names the structs that others are made of, too; no field of JSON begins so.
        assert f".{path} of type" in re.sub(r"\.[A-Z]\w*(?=\.)", "", message)
