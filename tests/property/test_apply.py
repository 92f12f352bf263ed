"""Sets of fields and apply against their twins, against plain models, and against the laws of ownership."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from applying import SPEC, World, thing
from hypothesis import given, settings
from hypothesis import strategies as st
from randomobjects import Maker

from cybernetes.core.api import schema, walk
from cybernetes.core.api.apply import fieldset
from cybernetes.core.api.apply.comparison import Comparer
from cybernetes.core.api.apply.extraction import to_set
from cybernetes.core.api.apply.fieldset import FieldSet
from cybernetes.core.api.apply.managers import read
from cybernetes.core.api.apply.mergetypes import merge_type
from cybernetes.core.api.apply.merging import merge
from cybernetes.core.api.apply.values import ABSENT, MergeError
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import Object, clone

TYPES = [
    "core.v1.Pod",
    "core.v1.Service",
    "core.v1.Node",
    "core.v1.PersistentVolume",
    "core.v1.Event",
    "apps.v1.Deployment",
    "apps.v1.ControllerRevision",
    "batch.v1.CronJob",
    "networking.v1.Ingress",
    "networking.v1.NetworkPolicy",
    "autoscaling.v2.HorizontalPodAutoscaler",
    "flowcontrol.v1.FlowSchema",
    "resource.v1.ResourceClaim",
]


def kept(type_: schema.Type, made: Object) -> Object | None:
    """As it is stored; None for what the type cannot hold."""
    try:
        walk.normalize(type_, made)
    except walk.DecodeError:
        return None
    return made


@pytest.mark.parametrize("name", TYPES)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_the_kernel_finds_what_its_twin_finds(name: str, seed: int) -> None:
    type_ = schema.load().type(f"io.k8s.api.{name}")
    source = random.Random(seed)
    maker = Maker(source, fullness=0.4)
    first, second = kept(type_, maker.object(type_)), kept(type_, maker.object(type_))
    if first is None or second is None:
        return
    comparer = Comparer(merge_type(type_))
    # One that shares most with the first, as after a write.
    near = clone(first)
    for part in ("spec", "status", "metadata"):
        if source.random() < 0.5 and part in second:
            near[part] = clone(second)[part]
    for old, new in ((type_.zero, first), (first, second), (first, near), (first, clone(first)), (second, type_.zero)):
        try:
            expected = comparer.compare_slowly(old, new)
        except MergeError:
            with pytest.raises(MergeError):
                comparer.compare(old, new)
            continue
        found = comparer.compare(old, new)
        assert orjson.dumps(tuple(found)) == orjson.dumps(tuple(expected)), "the order counts"


# --- sets -------------------------------------------------------------------------------------------------------------

steps = st.sampled_from(["f:a", "f:b", "f:c", 'k:{"n":80}', 'k:{"n":443}', 'k:{"n":"x"}', 'v:"a"', "v:2", "v:10"])
paths = st.lists(steps, min_size=1, max_size=4).map(tuple)
path_sets = st.frozensets(paths, max_size=8)


def is_in_order(fields: FieldSet) -> bool:
    ordered = fieldset.in_order(fields)
    return list(ordered) == list(fields) and all(is_in_order(below) for below in fields.values())


@given(path_sets, path_sets)
def test_sets_are_sets_of_paths(first: frozenset[Any], second: frozenset[Any]) -> None:
    one, other = fieldset.of_paths(first), fieldset.of_paths(second)
    assert frozenset(fieldset.paths(one)) == first
    assert all(fieldset.has(one, path) == (path in first) for path in first | second)
    for operation, expected in (
        (fieldset.union, first | second),
        (fieldset.union_slowly, first | second),
        (fieldset.difference, first - second),
        (fieldset.difference_slowly, first - second),
        (fieldset.intersection, first & second),
        (
            fieldset.recursive_difference,
            frozenset(path for path in first if not any(path[: len(prefix)] == prefix for prefix in second)),
        ),
    ):
        before = orjson.dumps((one, other))
        found = operation(one, other)
        assert frozenset(fieldset.paths(found)) == expected, operation
        assert found == fieldset.of_paths(expected), "one form for one set"
        assert is_in_order(found), operation
        assert orjson.dumps((one, other)) == before, "arguments stay as they are"


@given(path_sets)
def test_a_set_survives_its_text(found: frozenset[Any]) -> None:
    fields = fieldset.of_paths(found)
    text = orjson.loads(orjson.dumps(fields))
    shuffled = {step: text[step] for step in reversed(list(text))}
    assert orjson.dumps(fieldset.read(shuffled)) == orjson.dumps(fields)


anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from([".", "f:a", "k:{}", 'k:{"a":1}', "k:[", "v:1", "v:", "i:1", "i:x", "x", ""])
        | st.text(max_size=4),
        inner,
        max_size=4,
    ),
    max_leaves=10,
)


@given(anything)
def test_whatever_a_client_sends_is_read_or_refused(sent: Any) -> None:
    entry = {"manager": "a", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": sent}
    try:
        found = read([entry])
    except ValueError:
        return
    fields = found[0]["fieldsV1"]
    assert fieldset.read(fields) == fields
    assert is_in_order(fields)


# --- values -----------------------------------------------------------------------------------------------------------

words = st.sampled_from(["a", "b", "c"])
part_fields = {"image": words, "size": st.integers(0, 2), "tags": st.lists(words, unique=True, min_size=1)}
parts = st.lists(
    st.fixed_dictionaries({"name": words}, optional=part_fields),
    min_size=1,
    max_size=3,
    unique_by=lambda part: part["name"],
)
ports = st.lists(
    st.fixed_dictionaries({"port": st.sampled_from([80, 443])}, optional={"protocol": st.sampled_from(["TCP", "UDP"])}),
    min_size=1,
    max_size=2,
    unique_by=lambda port: (port["port"], port.get("protocol", "TCP")),
)
loose = st.integers(0, 1) | st.dictionaries(words, st.integers(0, 1) | st.lists(words), min_size=1, max_size=2)
specs = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 2),
        "text": words,
        "labels": st.dictionaries(words, words, min_size=1, max_size=2),
        "selector": st.dictionaries(words, words, min_size=1, max_size=2),
        "tags": st.lists(words, unique=True, min_size=1, max_size=3),
        "args": st.lists(words, min_size=1, max_size=2),
        "parts": parts,
        "ports": ports,
        "anything": loose,
    },
)


@given(specs, specs)
def test_what_is_merged_says_what_the_configuration_says(old: Object, new: Object) -> None:
    before = orjson.dumps((old, new))
    merged = merge(SPEC, old, new)
    assert orjson.dumps((old, new)) == before
    if merged is ABSENT:
        assert not old and not new
        return
    assert merge(SPEC, merged, new) == merged, "once is enough"
    assert fieldset.difference(to_set(SPEC, new), to_set(SPEC, merged)) == {}
    assert merge(SPEC, old, old) in (old, ABSENT)


flat = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz"), max_size=3)
writes = st.lists(
    st.tuples(st.sampled_from(["m1", "m2", "m3"]), st.sampled_from(["apply", "force", "update"]), flat), max_size=8
)


@given(writes)
@settings(max_examples=200)
def test_ownership_against_a_plain_model(history: list[tuple[str, str, dict[str, str]]]) -> None:
    """A map of texts: the model keeps one dict of values and, for each manager, a set of keys."""
    world = World()
    world.update("first", thing({"text": "t"}))
    values: dict[str, str] = {}
    owners: dict[str, set[str]] = {}
    for manager, how, sent in history:
        if how == "update":
            world.update(manager, {**world.live, "spec": {"text": "t", "labels": sent}})
            changed = {key for key in sent if values.get(key) != sent[key]}
            gone = values.keys() - sent.keys()
            for keys in owners.values():
                keys -= changed | gone
            owners.setdefault(manager + "*", set()).update(changed)
            values = dict(sent)
        else:
            others = {key for name, keys in owners.items() if name != manager for key in keys}
            contested = {key for key in sent if key in others and values[key] != sent[key]}
            if contested and how == "apply":
                with pytest.raises(ApiError) as caught:
                    world.apply(manager, thing({"labels": sent}))
                fields = {cause["field"] for cause in caught.value.status["details"]["causes"]}
                assert fields == {f".spec.labels.{key}" for key in contested}
                continue
            world.apply(manager, thing({"labels": sent}), force=how == "force")
            abandoned = owners.get(manager, set()) - sent.keys() - others
            changed = {key for key in sent if values.get(key) != sent[key]}
            for name, keys in owners.items():
                if name != manager:
                    keys -= changed
            owners[manager] = set(sent)
            values = {key: value for key, value in {**values, **sent}.items() if key not in abandoned}
        found = {
            name: {step.removeprefix("f:") for step in fields.get("f:spec", {}).get("f:labels", {}) if step != "."}
            for name, fields in world.owners().items()
        }
        found = {name: keys for name, keys in found.items() if keys}
        assert found == {name: keys for name, keys in owners.items() if keys}
        assert (world.spec.get("labels") or {}) == values


@given(st.lists(st.tuples(st.sampled_from(["m1", "m2"]), specs), min_size=1, max_size=5), specs)
@settings(max_examples=100)
def test_what_is_applied_and_given_up_leaves_no_trace(history: list[tuple[str, Object]], spec: Object) -> None:
    """But for empty lists, which nobody owns: they go with who was the last to name their field."""
    world = World()
    for manager, sent in history:
        world.apply(manager, thing(sent), force=True)
    before = clone(world.live)
    owned = world.owners()
    new = {key: value for key, value in spec.items() if key not in before.get("spec", {})}
    world.apply("guest", thing(new))
    again = clone(world.live)
    assert world.apply("guest", thing(new)) == again, "an apply that was done does nothing"
    world.apply("guest", thing())
    assert world.owners() == owned
    left = {key: value for key, value in (world.live.get("spec") or {}).items() if key in before.get("spec", {})}
    assert left == before.get("spec", {})
