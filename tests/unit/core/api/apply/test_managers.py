"""Entries of managedFields, those of a Scale, and what each part of a resource resets."""

from __future__ import annotations

from typing import Any

import pytest
from applying import paths

from cybernetes.core.api.apply.fieldset import Path
from cybernetes.core.api.apply.managers import (
    Identity,
    ManagersError,
    differ_by_times,
    identity_text,
    is_reset,
    new_entry,
    ordered,
    read,
)
from cybernetes.core.api.apply.resets import filter_of
from cybernetes.core.api.apply.scale import parent_entries, scale_entries
from cybernetes.core.api.registry import builtin
from cybernetes.core.objects import Gvr

T1, T2 = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"
REPLICAS = paths("spec.replicas")


def test_entries_in_their_order() -> None:
    entries = [
        new_entry("a", "Update", "v1", "", {}, T2),
        new_entry("b", "Update", "v1", "", {}, T1),
        new_entry("a", "Update", "v1", "status", {}, T1),
        new_entry("a", "Update", "v1", "", {}, T1),
        new_entry("z", "Apply", "v1", "", {}, T2),
        new_entry("z", "Apply", "v1", "", {}),
    ]
    assert ordered(entries) == [entries[5], entries[4], entries[3], entries[2], entries[1], entries[0]]


def test_what_is_read() -> None:
    sent = [
        {"manager": "a", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:b": {}}},
        {"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"},
        {"operation": "Apply", "apiVersion": "v2", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {}}},
    ]
    assert read(sent) == [
        new_entry("a", "Update", "v1", "", {"f:b": {}}),
        new_entry("", "Apply", "v2", "", {"f:a": {}}),
    ], "who applies has one entry, whatever the version"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"operation": None}, "operation must be `Apply` or `Update`"),
        ({"operation": "Delete"}, "operation must be `Apply` or `Update`"),
        ({"apiVersion": None}, "apiVersion must not be empty"),
        ({"fieldsType": ""}, "missing fieldsType in managed fields entry 0"),
        ({"fieldsType": "V2"}, 'invalid fieldsType "V2" in managed fields entry 0'),
        ({"fieldsV1": {"x": {}}}, "error decoding versioned set from "),
    ],
)
def test_what_cannot_be_read(change: dict[str, Any], message: str) -> None:
    entry = {"manager": "a", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}
    with pytest.raises(ManagersError) as caught:
        read([{**entry, **change}])
    assert str(caught.value).startswith(message)


def test_small_questions() -> None:
    assert is_reset([]) and is_reset([{}])
    assert not is_reset(None) and not is_reset([{"manager": "a"}]) and not is_reset([{}, {}])
    one, other = new_entry("a", "Apply", "v1", "", {}, T1), new_entry("a", "Apply", "v1", "", {}, T2)
    assert differ_by_times([one, one], [one, other])
    assert not differ_by_times([one], [dict(one)]) and not differ_by_times([one], [one, other])
    assert not differ_by_times([one], [{**other, "fieldsV1": {"f:a": {}}}])
    assert not differ_by_times([one], [{**other, "manager": "b"}])
    assert identity_text(Identity("a", "Update", "v1", "status")) == (
        '{"manager":"a","operation":"Update","apiVersion":"v1","subresource":"status"}'
    )


def path_of(api_version: str) -> Path | None:
    return ("f:spec", "f:replicas") if api_version == "apps/v1" else None


def test_managers_of_a_scale() -> None:
    entries = [
        new_entry("a", "Apply", "apps/v1", "", paths("spec.replicas", "spec.paused"), T1),
        new_entry("b", "Apply", "apps/v1", "", paths("spec.paused"), T1),
        new_entry("c", "Update", "apps/v0", "", REPLICAS, T1),
    ]
    assert scale_entries(entries, path_of) == [new_entry("a", "Apply", "autoscaling/v1", "", REPLICAS, T1)]


@pytest.mark.parametrize("operation", ["Apply", "Update"])
def test_who_scales_takes_the_replicas_from_who_had_them(operation: str) -> None:
    before = [new_entry("a", operation, "apps/v1", "", paths("spec.replicas", "spec.paused"), T1)]
    scaled = [new_entry("s", "Update", "autoscaling/v1", "scale", REPLICAS, T2)]
    assert parent_entries(before, scaled, "apps/v1", path_of) == ordered(
        [
            new_entry("a", operation, "apps/v1", "", paths("spec.paused"), T1),
            new_entry("s", "Update", "apps/v1", "scale", REPLICAS),
        ]
    )
    alone = [new_entry("a", operation, "apps/v1", "", REPLICAS, T1)]
    assert parent_entries(alone, scaled, "apps/v1", path_of) == [new_entry("s", "Update", "apps/v1", "scale", REPLICAS)]


def test_who_still_manages_the_scale_keeps_its_entry() -> None:
    before = [
        new_entry("a", "Apply", "apps/v1", "", paths("spec.replicas", "spec.paused"), T1),
        new_entry("u", "Update", "apps/v1", "", REPLICAS, T1),
        new_entry("b", "Update", "apps/v1", "status", paths("status.replicas"), T1),
    ]
    kept = scale_entries(before, path_of)
    assert parent_entries(before, kept, "apps/v1", path_of) == ordered(before)
    shared = [*kept, new_entry("s", "Apply", "autoscaling/v1", "scale", REPLICAS, T2)]
    assert parent_entries(before, shared, "apps/v1", path_of) == ordered(
        [*before, new_entry("s", "Apply", "apps/v1", "scale", REPLICAS)]
    )


CONTAINER = 'spec.containers[{"name":"a"}]'
RESETS = [
    ("v1/pods", "", ["spec.x", "metadata.labels.x"], ["status.x"]),
    ("v1/pods", "status", ["status.x", "metadata.labels.x"], ["spec.x", "metadata.ownerReferences"]),
    ("v1/pods", "ephemeralcontainers", ['spec.ephemeralContainers[{"name":"a"}]'], ["spec.x", "metadata.labels.x"]),
    ("v1/pods", "resize", [f"{CONTAINER}.resources.limits"], [f"{CONTAINER}.image"]),
    ("v1/namespaces", "finalize", ["spec.finalizers"], ["status.x"]),
    ("apps/v1/deployments", "status", ["status.x", "metadata.annotations.x"], ["spec.x", "metadata.labels.x"]),
    ("apps/v1/replicasets", "status", ["status.x", "metadata.labels.x"], ["spec.x"]),
    (
        "certificates.k8s.io/v1/certificatesigningrequests",
        "approval",
        ["status.conditions"],
        ["status.certificate", "spec.x"],
    ),
    (
        "apiextensions.k8s.io/v1/customresourcedefinitions",
        "status",
        ["status.x"],
        ["metadata.labels.x", "spec.x"],
    ),
]


@pytest.mark.parametrize(("resource", "part", "kept", "dropped"), RESETS)
def test_what_a_part_of_a_resource_resets(resource: str, part: str, kept: list[str], dropped: list[str]) -> None:
    version, _, name = resource.rpartition("/")
    group, _, version = version.rpartition("/")
    found = builtin().get(Gvr(group, version, name))
    assert found is not None
    filter = filter_of(found, part)
    assert filter is not None
    assert filter(paths(*kept, *dropped)) == paths(*kept)


def test_what_has_no_status_resets_nothing() -> None:
    found = builtin().get(Gvr("", "v1", "configmaps"))
    assert found is not None and filter_of(found, "") is None
