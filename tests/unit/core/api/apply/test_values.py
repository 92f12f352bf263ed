"""Typed values: what is owned of them, how two differ, how they are merged and taken apart."""

from __future__ import annotations

from typing import Any

import pytest
from applying import NUMBER, SPEC, STRING, keyed, listing, mapping, paths, set_of, struct

from cybernetes.core.api.apply.comparison import Comparer, Comparison, compare_values
from cybernetes.core.api.apply.extraction import to_set
from cybernetes.core.api.apply.mergetypes import DEDUCED, UNTYPED, ListRule, MapRule, MergeType, merge_type_of
from cybernetes.core.api.apply.merging import merge
from cybernetes.core.api.apply.reconciliation import reconcile
from cybernetes.core.api.apply.removal import remove, with_named_fields
from cybernetes.core.api.apply.validation import validate
from cybernetes.core.api.apply.values import ABSENT, MergeError, equal
from cybernetes.ext import fieldchanges

#: A scalar or a map: what a custom resource may say of a field.
MIXED = MergeType("mixed", scalar="untyped", map=MapRule(False, element=lambda: STRING))


@pytest.mark.parametrize(
    ("value", "owned"),
    [
        ({"replicas": 1, "text": None}, ["replicas", "text"]),
        ({"labels": {"a": "1"}, "inner": {"a": "1"}}, ["labels.a", "inner.a"]),
        ({"labels": {}, "inner": {}}, ["labels", "inner"]),
        ({"parts": [{"name": "x", "tags": ["b", "a"]}]}, [
            'parts[{"name":"x"}]', 'parts[{"name":"x"}].name', 'parts[{"name":"x"}].tags["a"]',
            'parts[{"name":"x"}].tags["b"]']),
        ({"parts": [], "tags": [], "args": []}, ["args"]),
        ({"ports": [{"port": 1}]}, ['ports[{"port":1,"protocol":"TCP"}]', 'ports[{"port":1,"protocol":"TCP"}].port']),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 1}]}, ['ports[{"port":1,"protocol":"TCP"}]']),
        ({"selector": {"a": "1"}, "place": {"zone": "z"}, "args": ["a"]}, ["selector", "place", "args"]),
        ({"anything": {"a": {"b": 1}, "c": [1], "d": {}, "e": None}}, [
            "anything.a", "anything.a.b", "anything.c", "anything.d", "anything.e"]),
        ({"numbers": [3, 2]}, ["numbers[2]", "numbers[3]"]),
    ],
)  # fmt: skip
def test_what_is_owned(value: Any, owned: list[str]) -> None:
    found = to_set(SPEC, value)
    assert found == paths(*owned)


CASES: list[tuple[Any, Any, list[str], list[str]]] = [
    ({}, {"replicas": 1}, ["replicas"], []),
    ({"replicas": 1}, {}, [], ["replicas"]),
    ({"replicas": 1}, {"replicas": 2}, ["replicas"], []),
    ({"replicas": 1}, {"replicas": 1}, [], []),
    ({"replicas": None}, {"replicas": 1}, ["replicas"], []),
    ({}, {"labels": {"a": "1"}}, ["labels", "labels.a"], []),
    ({"labels": None}, {"labels": {"a": "1"}}, ["labels.a"], []),
    ({"labels": {}}, {"labels": {"a": "1"}}, ["labels.a"], []),
    ({"labels": {"a": "1"}}, {"labels": {}}, [], ["labels.a"]),
    ({"labels": {}}, {"labels": None}, ["labels"], []),
    ({"labels": {}}, {"labels": {}}, [], []),
    ({"labels": {"a": "1", "b": "2"}}, {"labels": {"b": "3", "c": "4"}}, ["labels.b", "labels.c"], ["labels.a"]),
    ({"labels": {"a": "1"}}, {}, [], ["labels", "labels.a"]),
    ({"args": ["a"]}, {"args": ["a", "b"]}, ["args"], []),
    ({"tags": ["a", "b"]}, {"tags": ["b", "c"]}, ['tags["c"]'], ['tags["a"]']),
    ({"tags": None}, {"tags": ["c"]}, ['tags["c"]'], []),
    ({}, {"tags": ["c"]}, ["tags", 'tags["c"]'], []),
    ({"tags": []}, {"tags": None}, ["tags"], []),
    ({"numbers": [10, 9]}, {"numbers": [9]}, [], ["numbers[10]"]),
    (
        {"parts": [{"name": "a", "image": "1"}, {"name": "b"}]},
        {"parts": [{"name": "c"}, {"name": "a", "image": "2"}]},
        ['parts[{"name":"c"}]', 'parts[{"name":"c"}].name', 'parts[{"name":"a"}].image'],
        ['parts[{"name":"b"}]', 'parts[{"name":"b"}].name'],
    ),
    ({"selector": {"a": "1"}}, {"selector": {"a": "2"}}, ["selector"], []),
    ({"place": {"zone": "a", "rack": 1}}, {"place": {"rack": 1, "zone": "a"}}, [], []),
    # Elements that are there twice are compared as one value.
    ({"tags": ["a", "a"]}, {"tags": ["a", "a"]}, [], []),
    ({"tags": ["a", "a"]}, {"tags": ["a"]}, ['tags["a"]'], ['tags["a"]']),
    ({"tags": ["a"]}, {"tags": ["a", "a"]}, ['tags["a"]'], ['tags["a"]']),
    ({"ports": [{"port": 1}, {"port": 1}]}, {"ports": [{"port": 1}, {"port": 1, "name": "x"}]},
     ['ports[{"port":1,"protocol":"TCP"}]'], []),
    # What has no schema takes the form of its values.
    ({"anything": {"a": 1}}, {"anything": {"a": 1, "b": {"c": 1}}}, ["anything.b", "anything.b.c"], []),
    ({"anything": {"a": [1]}}, {"anything": {"a": [2]}}, ["anything.a"], []),
    ({"anything": {"a": 1}}, {"anything": 5}, ["anything"], ["anything.a"]),
    ({"anything": 5}, {"anything": {"a": 1}}, ["anything", "anything.a"], []),
    ({"anything": {"a": 1}}, {"anything": {"a": True}}, ["anything.a"], []),
    ({"anything": {"a": 1}}, {"anything": {"a": 1.0}}, [], []),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "changed", "removed"), CASES)
def test_how_two_differ(old: Any, new: Any, changed: list[str], removed: list[str]) -> None:
    expected = Comparison(paths(*changed), paths(*removed))
    assert compare_values(SPEC, old, new) == expected
    by_kernel = fieldchanges.compare(SPEC.kernel_node, old, new)
    if by_kernel is not None:
        assert by_kernel == tuple(expected)


def test_the_kernel_leaves_what_is_odd_to_the_twin() -> None:
    def refuses(type_: MergeType, old: Any, new: Any) -> bool:
        return fieldchanges.compare(type_.kernel_node, old, new) is None

    assert refuses(SPEC, {"tags": ["a", "a"]}, {"tags": ["a"]})
    assert refuses(SPEC, {}, {"parts": [{"image": "x"}]}), "no key"
    assert refuses(SPEC, {}, {"parts": [None]})
    assert refuses(SPEC, {}, {"unknown": 1})
    assert refuses(SPEC, {}, {"labels": []})
    assert refuses(SPEC, {"anything": {"a": 1}}, {"anything": 1})
    assert refuses(struct(x=MIXED), {}, {"x": 1})
    assert refuses(set_of(STRING), [1.5], ["a"])
    assert not refuses(SPEC, {"anything": {"a": 1}}, {"anything": None})


def test_fields_come_in_the_order_of_their_names() -> None:
    new = {
        "text": "x",
        "args": [],
        "ports": [{"port": 443}, {"port": 80}],
        "labels": {"b": "", "a": ""},
        "paused": True,
    }
    changed, _ = fieldchanges.compare(SPEC.kernel_node, {}, new)  # type: ignore[misc]
    assert list(changed) == ["f:args", "f:labels", "f:paused", "f:ports", "f:text"]
    assert list(changed["f:labels"]) == [".", "f:a", "f:b"]
    assert list(changed["f:ports"]) == [
        ".",
        'k:{"port":80,"protocol":"TCP"}',
        'k:{"port":443,"protocol":"TCP"}',
    ]


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ({"replicas": 1, "text": "x"}, {"replicas": 2}, {"replicas": 2, "text": "x"}),
        ({"labels": {"a": "1"}}, {"labels": {"b": "2"}}, {"labels": {"a": "1", "b": "2"}}),
        ({"labels": {"a": "1"}}, {"labels": None}, {"labels": {"a": "1"}}),
        ({"args": ["a"]}, {"args": []}, {"args": []}),
        ({"selector": {"a": "1"}}, {"selector": {"b": "2"}}, {"selector": {"b": "2"}}),
        ({"tags": ["a"]}, {"tags": []}, {"tags": ["a"]}),
        ({"tags": list("abc")}, {"tags": list("cxa")}, {"tags": list("bcxa")}),
        ({"tags": list("abc")}, {"tags": list("xb")}, {"tags": list("axbc")}),
        ({"tags": list("abcd")}, {"tags": list("db")}, {"tags": list("acdb")}),
        ({"tags": list("ab")}, {"tags": list("ba")}, {"tags": list("ba")}),
        ({"tags": list("ab")}, {"tags": list("cd")}, {"tags": list("abcd")}),
        ({"tags": list("aab")}, {"tags": list("a")}, {"tags": list("ab")}),
        (
            {"parts": [{"name": "a", "image": "1", "tags": ["x"]}]},
            {"parts": [{"name": "a", "image": "2", "tags": ["y"]}, {"name": "b"}]},
            {"parts": [{"name": "a", "image": "2", "tags": ["x", "y"]}, {"name": "b"}]},
        ),
        ({"anything": {"a": 1}}, {"anything": 5}, {"anything": 5}),
        ({"anything": [1]}, {"anything": [2]}, {"anything": [2]}),
    ],
)
def test_how_a_configuration_is_merged(old: Any, new: Any, merged: Any) -> None:
    assert merge(SPEC, old, new) == merged


def test_what_cannot_be_merged() -> None:
    assert merge(SPEC, ABSENT, {"replicas": 1}) == {"replicas": 1}
    for new, message in (
        ({"tags": ["a", "a"]}, 'duplicate entries for key [="a"]'),
        ({"parts": [{"image": "x"}]}, "element 0: associative list with keys has an element that omits all key fields"),
        ({"nothing": 1}, ".nothing: field not declared in schema"),
    ):
        with pytest.raises(MergeError) as caught:
            merge(SPEC, {"replicas": 1}, new)
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("value", "gone", "left"),
    [
        ({"replicas": 1, "text": "x"}, ["replicas"], {"text": "x"}),
        ({"replicas": 1}, ["replicas"], None),
        ({"labels": {"a": "1"}}, ["labels.a"], {"labels": {}}),
        ({"labels": {"a": "1"}, "text": "x"}, ["labels"], {"text": "x"}),
        ({"tags": ["a", "b"]}, ['tags["a"]'], {"tags": ["b"]}),
        ({"tags": ["a"]}, ['tags["a"]'], {"tags": []}),
        ({"parts": [{"name": "a", "size": 1}]}, ['parts[{"name":"a"}].size'], {"parts": [{"name": "a"}]}),
        ({"parts": [{"name": "a"}]}, ['parts[{"name":"a"}].name'], {"parts": [{}]}),
        ({"replicas": 1}, ["text"], {"replicas": 1}),
    ],
)
def test_how_fields_are_taken_out(value: Any, gone: list[str], left: Any) -> None:
    assert remove(SPEC, value, paths(*gone)) == left


def test_named_fields_are_added_and_members_of_maps_are_not() -> None:
    found = with_named_fields(
        struct(spec=SPEC), paths("spec.labels.a", 'spec.parts[{"name":"x"}].image', "spec.anything.a.b")
    )
    assert found == paths(
        "spec",
        "spec.labels",
        "spec.labels.a",
        "spec.parts",
        'spec.parts[{"name":"x"}].image',
        "spec.anything",
        "spec.anything.a.b",
    )


def test_sets_of_an_older_schema() -> None:
    fields = paths("a.x", "a", "l[1]", "l[2]", "m.k", "d.x.y", 'parts[{"name":"a"}].place.zone', "gone.x")
    now = struct(
        a=struct(is_atomic=True, x=STRING),
        l=listing(NUMBER),
        m=mapping(STRING),
        d=DEDUCED,
        parts=keyed(struct(name=STRING, place=struct(is_atomic=True, zone=STRING)), "name"),
    )
    assert reconcile(now, fields) == paths("a", "l", "m.k", "d.x.y", 'parts[{"name":"a"}].place', "gone.x")
    same = paths("a", "l", "m.k")
    assert reconcile(now, same) is same
    assert reconcile(struct(x=UNTYPED), paths("x.y")) == paths("x")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"replicas": "1"}, ".replicas: expected numeric (int or float), got string"),
        ({"replicas": True}, ".replicas: expected numeric (int or float), got bool"),
        ({"text": 1}, ".text: expected string, got &value.valueUnstructured{Value:1}"),
        ({"text": {"b": [1, None], "a": True}},
         '.text: expected string, got &value.valueUnstructured{Value:map[string]interface {}{"a":true, '
         '"b":[]interface {}{1, interface {}(nil)}}}'),
        ({"paused": "yes"}, ".paused: expected boolean, got &{yes}"),
        ({"labels": "x"}, ".labels: expected map, got &{x}"),
        ({"labels": {"a": 1}}, ".labels.a: expected string, got &value.valueUnstructured{Value:1}"),
        ({"args": {"b": 2, "a": [1, "x"]}}, ".args: expected list, got &{map[a:[1 x] b:2]}"),
        ({"args": ["a", 1]}, ".args[1]: expected string, got &value.valueUnstructured{Value:1}"),
        ({"parts": [{"name": "a", "size": "x"}]},
         '.parts[name="a"].size: expected numeric (int or float), got string'),
        ({"parts": ["a"]}, ".parts: element 0: associative list with keys may not have non-map elements"),
        ({"parts": [None]}, ".parts: element 0: associative list with keys may not have a null element"),
        ({"tags": [{}]}, ".tags: element 0: associative list without keys has an element that's a map type"),
        ({"tags": [None]},
         ".tags: element 0: associative list without keys has an element that's an explicit null"),
        ({"tags": [[]]}, ".tags: element 0: not supported: associative list with lists as elements"),
        ({"tags": ["a", "a"]}, '.tags: duplicate entries for key [="a"]'),
        ({"replicas": "x", "paused": 1},
         "errors:\n  .replicas: expected numeric (int or float), got string\n  .paused: expected boolean, got &{1}"),
    ],
)  # fmt: skip
def test_what_does_not_fit(value: Any, message: str) -> None:
    with pytest.raises(MergeError) as caught:
        validate(SPEC, value)
    assert str(caught.value) == message


def test_what_fits() -> None:
    validate(SPEC, {"replicas": 1.5, "text": None, "labels": None, "parts": None, "tags": ["a", "b"], "anything": [1]})
    validate(struct(x=MIXED), {"x": 1})
    validate(struct(x=MIXED), {"x": {"a": "b"}})
    validate(MergeType(scalar="untyped"), 1)
    with pytest.raises(MergeError):
        validate(MergeType(scalar="untyped"), {})


def test_whole_objects_without_a_schema() -> None:
    old = {"apiVersion": "v", "kind": "K", "metadata": {"name": "x", "uid": "u"}, "spec": {"a": 1}}
    new = {"apiVersion": "v", "kind": "K", "metadata": {"name": "y", "labels": {"l": "1"}}, "spec": {"b": {"c": [1]}}}
    expected = Comparison(paths("metadata.labels", "metadata.labels.l", "spec.b", "spec.b.c"), paths("spec.a"))
    assert Comparer(DEDUCED).compare(old, new) == expected
    assert Comparer(DEDUCED).compare_slowly(old, new) == expected
    assert Comparer(DEDUCED).compare({"metadata": {}}, old).changed == paths("spec", "spec.a")


def test_equality_of_json() -> None:
    assert equal({"a": [1, None]}, {"a": [1.0, None]})
    assert not equal([1], [True]) and not equal({"a": 0}, {"a": False}) and not equal([], {}) and not equal(None, {})


@pytest.mark.parametrize(
    ("type_name", "path", "expected"),
    [
        ("core.v1.Container", "ports", ("map", ("containerPort", "protocol"), {"containerPort": 0, "protocol": "TCP"})),
        ("core.v1.ServiceSpec", "ports", ("map", ("port", "protocol"), {"port": 0, "protocol": "TCP"})),
        ("core.v1.PodSpec", "imagePullSecrets", ("map", ("name",), {"name": ""})),
        ("core.v1.PodSpec", "containers", ("map", ("name",), {"name": ""})),
        ("core.v1.Container", "args", ("atomic", (), {})),
        ("apps.v1.DeploymentStatus", "conditions", ("map", ("type",), {"type": ""})),
    ],
)
def test_lists_of_the_built_in_kinds(type_name: str, path: str, expected: tuple[str, tuple[str, ...], Any]) -> None:
    found = merge_type_of(f"io.k8s.api.{type_name}").map
    assert found is not None
    rule = found.fields[path].list
    assert isinstance(rule, ListRule)
    assert (rule.relation, rule.keys, dict(rule.defaults)) == expected


def test_maps_of_the_built_in_kinds() -> None:
    def rule(type_name: str, field: str) -> MergeType:
        found = merge_type_of(type_name).map
        assert found is not None
        return found.fields[field]

    core = "io.k8s.api.core.v1."
    assert rule(core + "ServiceSpec", "selector").map.is_atomic  # type: ignore[union-attr]
    assert rule("io.k8s.api.apps.v1.DeploymentSpec", "selector").map.is_atomic  # type: ignore[union-attr]
    assert not rule(core + "PersistentVolumeSpec", "claimRef").map.is_atomic  # type: ignore[union-attr]
    assert rule("io.k8s.api.apps.v1.ControllerRevision", "data") is UNTYPED
    metadata = rule(core + "Pod", "metadata")
    assert metadata.map is not None and metadata.map.fields["finalizers"].list.relation == "set"  # type: ignore[union-attr]
