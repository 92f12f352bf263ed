"""From kubectl's client-side apply to the server's."""

from __future__ import annotations

import orjson
import pytest
from applying import World, paths, thing

from cybernetes.core.api.apply.lastapplied import ANNOTATION
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import Object


def client_side(world: World, config: Object, **live: object) -> None:
    """What client-side apply leaves: the object, with the configuration in its annotation."""
    text = orjson.dumps(config).decode()
    obj = {**config, "spec": {**config["spec"], **live}}
    obj["metadata"] = {**config["metadata"], "annotations": {ANNOTATION: text}}
    world.update("kubectl-client-side-apply", obj)


def test_kubectl_has_no_conflict_with_its_former_self() -> None:
    world = World()
    client_side(world, thing({"replicas": 1, "text": "x"}))
    world.apply("kubectl", thing({"replicas": 2, "text": "y"}))
    assert world.spec == {"replicas": 2, "text": "y"}
    assert world.owners() == {
        "kubectl": paths("spec.replicas", "spec.text"),
        "kubectl-client-side-apply*": {"f:metadata": {"f:annotations": {".": {}, f"f:{ANNOTATION}": {}}}},
    }


def test_the_annotation_follows() -> None:
    world = World()
    client_side(world, thing({"replicas": 1}))
    world.apply("kubectl", thing({"replicas": 2}, annotations={"a": "b"}))
    text = world.live["metadata"]["annotations"][ANNOTATION]
    assert text.endswith("\n")
    assert orjson.loads(text) == thing({"replicas": 2}, annotations={"a": "b"})
    world.apply("kubectl", thing({"replicas": 3}, annotations={ANNOTATION: "stale"}), force=True)
    assert orjson.loads(world.live["metadata"]["annotations"][ANNOTATION]) == thing({"replicas": 3})


def test_an_annotation_that_is_too_large_goes() -> None:
    world = World()
    client_side(world, thing({"replicas": 1}))
    world.apply("kubectl", thing({"replicas": 1, "text": "x" * 300_000}))
    assert ANNOTATION not in world.live["metadata"].get("annotations", {})


def test_fields_that_have_changed_since_are_contested() -> None:
    world = World()
    client_side(world, thing({"replicas": 1, "text": "x"}), replicas=5, paused=True)
    with pytest.raises(ApiError) as caught:
        world.apply("kubectl", thing({"replicas": 2, "text": "y", "paused": False}))
    assert [cause["field"] for cause in caught.value.status["details"]["causes"]] == [".spec.paused", ".spec.replicas"]


@pytest.mark.parametrize(
    "annotation",
    [None, "", "{", "[]", '{"apiVersion":"example.com/v2"}', '{"apiVersion":"example.com/v1","spec":{"nothing":1}}'],
)
def test_an_annotation_that_says_nothing_helps_nothing(annotation: str | None) -> None:
    world = World()
    annotations = {} if annotation is None else {ANNOTATION: annotation}
    world.update("kubectl-client-side-apply", thing({"replicas": 1}, annotations=annotations))
    with pytest.raises(ApiError) as caught:
        world.apply("kubectl", thing({"replicas": 2}))
    assert caught.value.code == 409


def test_others_do_not_profit() -> None:
    world = World()
    client_side(world, thing({"replicas": 1}))
    with pytest.raises(ApiError):
        world.apply("robot", thing({"replicas": 2}))
    world.apply("robot", thing({"replicas": 2}), force=True)
    assert orjson.loads(world.live["metadata"]["annotations"][ANNOTATION])["spec"] == {"replicas": 1}
