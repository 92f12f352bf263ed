"""What writes do to the managers of fields, and what an apply makes of an object."""

from __future__ import annotations

import pytest
from applying import World, paths, thing

from cybernetes.core.api.apply.fieldset import excluding, of_paths
from cybernetes.core.errors import ApiError


def test_an_update_owns_what_it_changes() -> None:
    world = World()
    world.update("a", thing({"replicas": 1, "text": "x"}))
    assert world.owners() == {"a*": paths("spec.replicas", "spec.text")}
    world.update("b", thing({"replicas": 2, "text": "x"}))
    assert world.owners() == {"a*": paths("spec.text"), "b*": paths("spec.replicas")}
    world.update("b", thing({"replicas": 2, "text": "x", "paused": True}))
    assert world.owners() == {"a*": paths("spec.text"), "b*": paths("spec.replicas", "spec.paused")}


def test_what_an_update_removes_is_nobodys() -> None:
    world = World()
    world.update("a", thing({"replicas": 1, "text": "x"}))
    world.update("b", thing({"replicas": 1}))
    assert world.owners() == {"a*": paths("spec.replicas")}
    world.update("b", thing({}))
    assert "managedFields" not in world.live["metadata"]


def test_the_identity_of_an_object_is_nobodys() -> None:
    world = World()
    world.update("a", thing({"replicas": 1}, namespace="n", uid="u", generation=1, creationTimestamp="t"))
    assert world.owners() == {"a*": paths("spec.replicas")}
    world.apply("b", thing(None, namespace="n", uid="u", labels={"x": "y"}))
    assert world.owners()["b"] == paths("metadata.labels.x")


def test_entries_are_sorted_and_dated() -> None:
    world = World()
    world.update("b", thing({"replicas": 1}))
    world.update("a", thing({"replicas": 1, "text": "x"}))
    world.apply("z", thing({"paused": True}))
    assert [
        (entry["manager"], entry["operation"], entry["time"]) for entry in world.live["metadata"]["managedFields"]
    ] == [
        ("z", "Apply", "2024-01-01T00:00:03Z"),
        ("b", "Update", "2024-01-01T00:00:01Z"),
        ("a", "Update", "2024-01-01T00:00:02Z"),
    ]
    entry = world.live["metadata"]["managedFields"][0]
    assert list(entry) == ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1"]
    assert entry["apiVersion"] == "example.com/v1" and entry["fieldsType"] == "FieldsV1"


def test_without_a_name_the_manager_is_unknown() -> None:
    world = World()
    world.update("", thing({"replicas": 1}))
    assert list(world.owners()) == ["unknown*"]


def test_subresources_have_entries_of_their_own() -> None:
    world = World()
    world.update("a", thing({"replicas": 1}))
    world.update("a", {**thing({"replicas": 1}), "status": {"phase": "On"}}, subresource="status")
    assert [entry.get("subresource") for entry in world.live["metadata"]["managedFields"]] == [None, "status"]


def test_what_a_write_resets_is_not_owned() -> None:
    world = World()
    world.update(
        "a", {**thing({"replicas": 1}), "status": {"phase": "On"}}, filter=excluding(of_paths([("f:status",)]))
    )
    assert world.owners() == {"a*": paths("spec.replicas")}


def test_an_apply_owns_what_it_says() -> None:
    world = World()
    obj = world.apply("a", thing({"replicas": 1, "inner": {"a": "1"}}))
    assert obj["spec"] == {"replicas": 1, "inner": {"a": "1"}}
    assert world.owners() == {"a": paths("spec.replicas", "spec.inner.a")}


def test_a_conflict_names_the_field_and_who_manages_it() -> None:
    world = World()
    world.update("kubectl-client-side-apply", thing({"replicas": 1}))
    with pytest.raises(ApiError) as caught:
        world.apply("me", thing({"replicas": 2}))
    error = caught.value
    assert error.code == 409 and error.reason == "Conflict"
    who = 'conflict with "kubectl-client-side-apply" using example.com/v1'
    assert error.message == f"Apply failed with 1 conflict: {who}: .spec.replicas"
    assert error.status["details"] == {
        "causes": [{"reason": "FieldManagerConflict", "message": who, "field": ".spec.replicas"}]
    }


def test_several_conflicts_are_grouped_by_manager() -> None:
    world = World()
    world.apply("b", thing({"parts": [{"name": "p", "image": "1"}]}))
    world.update("a", thing({**world.spec, "replicas": 1, "text": "x"}))
    with pytest.raises(ApiError) as caught:
        world.apply("me", thing({"replicas": 2, "text": "y", "parts": [{"name": "p", "image": "2"}]}))
    assert caught.value.message == (
        'Apply failed with 3 conflicts: conflicts with "a" using example.com/v1:\n'
        "- .spec.replicas\n"
        "- .spec.text\n"
        'conflicts with "b":\n'
        '- .spec.parts[name="p"].image'
    )
    assert len(caught.value.status["details"]["causes"]) == 3


def test_a_conflict_with_a_part_of_the_resource_says_so() -> None:
    world = World()
    world.update("a", thing({"text": "x"}))
    world.update("scaler", thing({"text": "x", "replicas": 1}), subresource="scale")
    with pytest.raises(ApiError) as caught:
        world.apply("me", thing({"replicas": 2}))
    assert (
        'conflict with "scaler" with subresource "scale" using example.com/v1: .spec.replicas' in caught.value.message
    )


def test_force_takes_fields_over() -> None:
    world = World()
    world.update("a", thing({"replicas": 1, "text": "x"}))
    world.apply("me", thing({"replicas": 2}), force=True)
    assert world.spec == {"replicas": 2, "text": "x"}
    assert world.owners() == {"me": paths("spec.replicas"), "a*": paths("spec.text")}


def test_the_same_value_is_shared() -> None:
    world = World()
    world.apply("a", thing({"replicas": 1}))
    world.apply("b", thing({"replicas": 1}))
    assert world.owners() == {"a": paths("spec.replicas"), "b": paths("spec.replicas")}
    with pytest.raises(ApiError):
        world.apply("a", thing({"replicas": 2}))
    # One of the two gives it up: the other one's it stays.
    world.apply("a", thing({"text": "x"}))
    assert world.spec == {"replicas": 1, "text": "x"}
    world.apply("b", thing())
    assert world.spec == {"text": "x"} and world.owners() == {"a": paths("spec.text")}


def test_ownership_passes_to_a_controller_without_a_gap() -> None:
    """The documentation's example: the user hands the replicas to an autoscaler."""
    world = World()
    world.apply("user", thing({"replicas": 3, "text": "x"}))
    world.apply("handover", thing({"replicas": 3}))
    world.apply("user", thing({"text": "x"}))
    assert world.spec["replicas"] == 3
    world.update("autoscaler", thing({"replicas": 5, "text": "x"}))
    assert world.owners() == {"user": paths("spec.text"), "autoscaler*": paths("spec.replicas")}
    world.apply("user", thing({"text": "y"}))
    assert world.spec == {"replicas": 5, "text": "y"}


def test_abandoned_fields_are_removed() -> None:
    world = World()
    world.apply("a", thing({"replicas": 1, "labels": {"x": "1", "y": "2"}, "parts": [{"name": "p"}, {"name": "q"}]}))
    world.apply("a", thing({"labels": {"y": "2"}, "parts": [{"name": "q"}]}))
    assert world.spec == {"labels": {"y": "2"}, "parts": [{"name": "q"}]}
    assert world.owners() == {"a": paths("spec.labels.y", 'spec.parts[{"name":"q"}]', 'spec.parts[{"name":"q"}].name')}


def test_an_abandoned_element_goes_whoever_has_changed_a_part_of_it() -> None:
    world = World()
    world.apply("a", thing({"parts": [{"name": "p", "image": "1", "size": 3}]}))
    world.update("b", thing({"parts": [{"name": "p", "image": "2", "size": 3}]}))
    world.apply("a", thing({"text": "x"}))
    assert world.spec == {"text": "x"}
    assert world.owners() == {"a": paths("spec.text")}


def test_an_abandoned_element_stays_when_somebody_else_wants_it() -> None:
    world = World()
    world.apply("a", thing({"parts": [{"name": "p", "image": "1", "size": 3}]}))
    world.apply("b", thing({"parts": [{"name": "p", "size": 3}]}))
    world.apply("a", thing({"text": "x"}))
    assert world.spec == {"parts": [{"name": "p", "size": 3}], "text": "x"}


def test_defaults_inside_an_abandoned_element_go_with_it() -> None:
    world = World()
    world.apply("a", thing({"parts": [{"name": "p", "image": "1"}]}))
    world.live["spec"]["parts"][0]["size"] = 7  # nobody's: the server's own
    world.apply("a", thing({"text": "x"}))
    assert world.spec == {"text": "x"}


def test_an_apply_that_changes_nothing_changes_nothing() -> None:
    world = World()
    first = world.apply("a", thing({"replicas": 1, "tags": ["x"]}))
    assert world.apply("a", thing({"replicas": 1, "tags": ["x"]})) == first, "not even the time"


def test_who_joins_without_a_change_has_no_time_yet() -> None:
    world = World()
    world.apply("a", thing({"replicas": 1}))
    world.apply("b", thing({"replicas": 1}))
    entries = {entry["manager"]: entry for entry in world.live["metadata"]["managedFields"]}
    assert "time" not in entries["b"] and entries["a"]["time"] == "2024-01-01T00:00:01Z"


def test_what_was_there_before_the_first_apply_has_a_manager_of_that_name() -> None:
    world = World()
    world.live = thing({"replicas": 1, "text": "x"})
    with pytest.raises(ApiError) as caught:
        world.apply("me", thing({"replicas": 2}))
    assert 'conflict with "before-first-apply" using example.com/v1: .spec.replicas' in caught.value.message
    world.apply("me", thing({"replicas": 2}), force=True)
    assert world.owners() == {"me": paths("spec.replicas"), "before-first-apply*": paths("spec.text")}


def test_an_update_does_not_begin_to_track() -> None:
    world = World()
    world.live = thing({"replicas": 1})
    world.update("a", thing({"replicas": 2}))
    assert world.owners() == {}


@pytest.mark.parametrize("sent", [[], [{}]])
def test_managers_are_forgotten_on_request(sent: list[object]) -> None:
    world = World()
    world.update("a", thing({"replicas": 1}))
    world.update("b", thing({"replicas": 2}, managedFields=sent))
    assert "managedFields" not in world.live["metadata"]


def test_managers_that_are_sent_count_if_they_can_be_read() -> None:
    entry = {
        "manager": "other",
        "operation": "Apply",
        "apiVersion": "example.com/v1",
        "time": "2020-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:ports": {'k:{"protocol":"TCP", "port":80.0}': {".": {}}}, "f:text": {}}},
    }
    world = World()
    world.update("a", thing({"text": "x"}))
    world.update("a", thing({"text": "x"}, managedFields=[entry]))
    assert world.owners() == {"other": paths("spec.text", 'spec.ports[{"port":80,"protocol":"TCP"}]')}
    for broken in ({"fieldsType": ""}, {"operation": "Merge"}, {"apiVersion": ""}, {"fieldsV1": {"x": {}}}):
        world.update("a", thing({"text": "x"}, managedFields=[{**entry, **broken}]))
        assert list(world.owners()) == ["other"], broken
    # A part of a resource cannot change them at all.
    world.update("a", thing({"text": "x"}, managedFields=[{**entry, "manager": "third"}]), subresource="status")
    assert list(world.owners()) == ["other"]


def test_a_renamed_manager_goes_on_as_itself() -> None:
    world = World()
    world.apply("old", thing({"labels": {"a": "1", "b": "2"}}))
    entries = [{**entry, "manager": "new"} for entry in world.live["metadata"]["managedFields"]]
    world.update("tool", {**world.live, "metadata": {**world.live["metadata"], "managedFields": entries}})
    world.apply("new", thing({"labels": {"b": "2"}}))
    assert world.spec == {"labels": {"b": "2"}}


def test_entries_of_a_version_that_is_gone_are_dropped() -> None:
    world = World()
    world.update("a", thing({"text": "x"}))
    world.live["metadata"]["managedFields"][0]["apiVersion"] = "example.com/v1alpha1"
    world.update("b", thing({"text": "x", "replicas": 1}))
    assert world.owners() == {"b*": paths("spec.replicas")}
    world.live["metadata"]["managedFields"][0]["apiVersion"] = "example.com/v1alpha1"
    world.apply("c", thing({"replicas": 2}))
    assert world.owners() == {"c": paths("spec.replicas")}


def test_a_configuration_is_of_the_kind_and_version_that_it_is_applied_to() -> None:
    world = World()
    for wrong, shown in (
        ({**thing({}), "kind": "Other"}, "example.com/v1, Kind=Other"),
        ({**thing({}), "apiVersion": "v1"}, "/v1, Kind=Thing"),
        ({}, "/, Kind="),
        (None, "/, Kind="),
    ):
        with pytest.raises(ApiError) as caught:
            world.manager().apply(None, wrong, "me", "now")
        assert caught.value.code == 400 and caught.value.message == f"invalid object type: {shown}"


def test_a_configuration_has_no_managers() -> None:
    world = World()
    for sent in ([], [{"manager": "a"}]):
        with pytest.raises(ApiError) as caught:
            world.apply("me", thing({}, managedFields=sent))
        assert caught.value.code == 400 and caught.value.message == "metadata.managedFields must be nil"


def test_a_configuration_fits_its_type() -> None:
    world = World()
    with pytest.raises(ApiError) as caught:
        world.apply("me", thing({"replicaz": 1}, namespace="n"))
    assert caught.value.code == 500 and caught.value.reason == ""
    assert caught.value.message == (
        "failed to create typed patch object (n/x; example.com/v1, Kind=Thing): "
        ".spec.replicaz: field not declared in schema"
    )


def test_null_is_a_value_that_is_owned() -> None:
    world = World()
    world.apply("a", thing({"replicas": 1}))
    world.apply("a", thing({"replicas": None}))
    assert world.spec == {"replicas": None}, "the server makes nothing of it afterwards"
    assert world.owners() == {"a": paths("spec.replicas")}


def test_empty_maps_are_owned_and_empty_lists_are_not() -> None:
    world = World()
    world.apply("a", thing({"labels": {}, "parts": [], "args": [], "inner": {}}))
    assert world.owners() == {"a": paths("spec.labels", "spec.inner", "spec.args")}


def test_lists_that_are_one_value_are_replaced_and_sets_are_joined() -> None:
    world = World()
    world.apply("a", thing({"args": ["x", "y"], "tags": ["x", "y"], "selector": {"a": "1"}, "place": {"zone": "z"}}))
    world.apply("b", thing({"tags": ["y", "z"]}))
    assert world.spec["tags"] == ["x", "y", "z"]
    with pytest.raises(ApiError) as caught:
        world.apply("b", thing({"args": ["x"], "selector": {"b": "2"}, "place": {"rack": 1}}))
    assert [cause["field"] for cause in caught.value.status["details"]["causes"]] == [
        ".spec.args",
        ".spec.place",
        ".spec.selector",
    ]
    world.apply("b", thing({"args": ["x"], "selector": {"b": "2"}, "place": {"rack": 1}}), force=True)
    assert world.spec["args"] == ["x"] and world.spec["selector"] == {"b": "2"} and world.spec["place"] == {"rack": 1}


def test_elements_are_found_by_their_keys_and_the_defaults_of_these() -> None:
    world = World()
    world.update("a", thing({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}))
    world.apply("b", thing({"ports": [{"port": 53, "name": "dns"}]}))
    assert world.spec["ports"] == [
        {"port": 53, "protocol": "UDP"},
        {"port": 53, "protocol": "TCP", "name": "dns"},
    ]
    assert world.owners()["b"] == paths(
        'spec.ports[{"port":53,"protocol":"TCP"}]',
        'spec.ports[{"port":53,"protocol":"TCP"}].port',
        'spec.ports[{"port":53,"protocol":"TCP"}].name',
    )


def test_what_has_no_schema_is_merged_by_its_maps() -> None:
    world = World()
    world.apply("a", thing({"anything": {"x": {"y": 1}, "list": [1, 2]}}))
    world.apply("b", thing({"anything": {"x": {"z": 2}}}))
    assert world.spec["anything"] == {"x": {"y": 1, "z": 2}, "list": [1, 2]}
    with pytest.raises(ApiError) as caught:
        world.apply("b", thing({"anything": {"list": [3]}}))
    assert caught.value.status["details"]["causes"][0]["field"] == ".spec.anything.list"


def test_elements_that_are_there_twice_stay_and_may_be_replaced() -> None:
    """Old objects have such lists; nobody can apply one."""
    twice = [{"port": 80, "protocol": "TCP", "name": "a"}, {"port": 80, "protocol": "TCP", "name": "b"}]
    world = World()
    world.update("a", thing({"ports": twice}))
    assert world.owners() == {"a*": paths("spec.ports", 'spec.ports[{"port":80,"protocol":"TCP"}]')}
    world.apply("b", thing({"ports": [{"port": 81}]}))
    assert world.spec["ports"] == [*twice, {"port": 81}]
    world.apply("b", thing({"ports": [{"port": 80, "name": "c"}]}), force=True)
    assert world.spec["ports"] == [{"port": 80, "name": "c"}]
    with pytest.raises(ApiError) as caught:
        world.apply("b", thing({"ports": twice}))
    assert 'duplicate entries for key [port=80,protocol="TCP"]' in caught.value.message


def test_old_updaters_are_joined_beyond_ten() -> None:
    world = World()
    spec: dict[str, object] = {"labels": {}}
    for number in range(15):
        spec["labels"][f"l{number:02d}"] = "x"
        world.update(f"m{number:02d}", thing(spec))
    owners = world.owners()
    assert len(owners) == 10
    assert owners["ancient-changes*"] == paths("spec.labels", *(f"spec.labels.l{number:02d}" for number in range(6)))
    assert [
        entry["time"] for entry in world.live["metadata"]["managedFields"] if entry["manager"] == "ancient-changes"
    ] == ["2024-01-01T00:00:06Z"]
