import pytest

from cybernetes.core.api import patch
from cybernetes.core.api.patch import apply_json_patch
from cybernetes.core.errors import ApiError

POD = {
    "metadata": {"labels": {"a/b": "1", "m~n": "2"}},
    "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
    "on": True,
}


def op(kind, path, **more):
    return {"op": kind, "path": path, **more}


@pytest.mark.parametrize(
    ("operations", "path", "expected"),
    [
        ([op("add", "/spec/nodeName", value="n")], ("spec", "nodeName"), "n"),
        ([op("add", "/on", value=False)], ("on",), False),
        (
            [op("add", "/spec/containers/-", value={"name": "c"})],
            ("spec", "containers"),
            [{"name": "a"}, {"name": "b"}, {"name": "c"}],
        ),
        (
            [op("add", "/spec/containers/1", value={"name": "c"})],
            ("spec", "containers"),
            [{"name": "a"}, {"name": "c"}, {"name": "b"}],
        ),
        (
            [op("add", "/spec/containers/2", value={"name": "c"})],
            ("spec", "containers"),
            [{"name": "a"}, {"name": "b"}, {"name": "c"}],
        ),
        (
            [op("add", "/spec/containers/-1", value={"name": "c"})],
            ("spec", "containers"),
            [{"name": "a"}, {"name": "b"}, {"name": "c"}],
        ),
        ([op("add", "/spec/x")], ("spec", "x"), None),
        ([op("remove", "/spec/containers/+01")], ("spec", "containers"), [{"name": "a"}]),
        (
            [op("replace", "/spec/containers/-2/name", value="z")],
            ("spec", "containers"),
            [{"name": "z"}, {"name": "b"}],
        ),
        (
            [op("move", "/spec/containers/-1", **{"from": "/spec/containers/-2"})],
            ("spec", "containers"),
            [{"name": "b"}, {"name": "a"}],
        ),
        (
            [op("copy", "/spec/containers/-2", **{"from": "/spec/containers/-1"})],
            ("spec", "containers"),
            [{"name": "a"}, {"name": "b"}, {"name": "b"}],
        ),
        ([op("add", "anything/on", value=1)], ("on",), 1),
        ([op("add", "/m~n", value=1)], ("m~n",), 1),
        ([op("add", "/01", value=1)], ("01",), 1),
        ([op("remove", "/spec/containers/0")], ("spec", "containers"), [{"name": "b"}]),
        ([op("remove", "/spec/containers/-1")], ("spec", "containers"), [{"name": "a"}]),
        ([op("remove", "/metadata/labels/a~1b")], ("metadata", "labels"), {"m~n": "2"}),
        ([op("remove", "/metadata/labels/m~0n")], ("metadata", "labels"), {"a/b": "1"}),
        ([op("replace", "/spec/containers/0/name", value="z")], ("spec", "containers"), [{"name": "z"}, {"name": "b"}]),
        (
            [op("move", "/spec/c", **{"from": "/spec/containers/1"})],
            ("spec",),
            {"containers": [{"name": "a"}], "c": {"name": "b"}},
        ),
        ([op("copy", "/c", **{"from": "/spec/containers/1"})], ("c",), {"name": "b"}),
        ([op("test", "/on", value=True), op("remove", "/on")], ("spec",), POD["spec"]),
        ([op("test", "/absent", value=None)], ("on",), True),
        ([op("test", "/spec/containers", value=[{"name": "a"}, {"name": "b"}])], ("on",), True),
        ([], ("on",), True),
    ],
)
def test_operations(operations, path, expected):
    found = apply_json_patch(POD, operations)
    for key in path:
        found = found[key]
    assert found == expected
    assert POD["spec"] == {"containers": [{"name": "a"}, {"name": "b"}]}, "the input is not changed"


@pytest.mark.parametrize(
    ("operations", "why"),
    [
        ([op("add", "/no/where", value=1)], "member 'no' not found"),
        ([op("add", "", value=1)], 'doc is missing path: ""'),
        ([op("add", "/spec/containers/x", value=1)], "'x' is not a valid sequence index"),
        ([op("add", "/spec/containers/3", value=1)], "can't insert outside of list"),
        ([op("add", "/spec/containers/-4", value=1)], "'-1' is not a valid sequence index"),
        ([op("add", "/spec/containers/99999999999999999999999", value=1)], "can't insert outside of list"),
        ([op("add", "/on/x", value=1)], "does not support indexing"),
        ([op("remove", "/spec/nope")], "can't remove a non-existent object 'nope'"),
        ([op("remove", "/spec/containers/-")], "invalid array index '-'"),
        ([op("replace", "/spec/nope", value=1)], "can't replace a non-existent object 'nope'"),
        ([op("test", "/on", value=1)], "is not equal to tested value"),
        ([op("test", "/spec/containers/7", value=None)], "index '7' is out of bounds"),
        ([op("copy", "/a", **{"from": "/nope"})], "member 'nope' not found"),
        ([op("copy", "/a", **{"from": "/spec/containers/-"})], "there is nothing at /spec/containers/-"),
        ([op("move", "/a", **{"from": "/spec/containers/-"})], "invalid array index '-'"),
        ([op("move", "/spec/containers/0/x", **{"from": "/spec"})], "Cannot move values into their own children"),
        ([{"op": "add", "value": 1}], "operation missing path field"),
        ([{"op": "move", "path": "/a"}], "operation missing from field"),
        ([op("jump", "/a")], "Unexpected kind: jump"),
        ([{"path": "/a"}], "Unexpected kind: unknown"),
        ([op("add", "/a", value=1), op("remove", "/nope")], "can't remove a non-existent object 'nope'"),
    ],
)
def test_what_does_not_apply(operations, why):
    with pytest.raises(ApiError) as caught:
        apply_json_patch(POD, operations)
    assert caught.value.status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "the server rejected our request due to an error in our request",
        "reason": "Invalid",
        "details": {},
        "code": 422,
    }
    assert why in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("operations", "text"),
    [
        ({}, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        ("x", "json: cannot unmarshal string into Go value of type jsonpatch.Patch"),
        ([1], "json: cannot unmarshal number into Go value of type jsonpatch.Operation"),
    ],
)
def test_what_is_no_patch(operations, text):
    with pytest.raises(ApiError) as caught:
        apply_json_patch(POD, operations)
    assert (caught.value.code, caught.value.message) == (400, text)


def test_too_many_operations():
    with pytest.raises(ApiError) as caught:
        apply_json_patch(POD, [op("add", "/a", value=1)] * (patch.OPERATIONS_MAX + 1))
    assert (caught.value.code, caught.value.reason) == (413, "RequestEntityTooLarge")
    assert "The allowed maximum operations in a JSON patch is 10000, got 10001" in caught.value.message
    assert apply_json_patch(POD, [op("add", "/a", value=1)] * patch.OPERATIONS_MAX)["a"] == 1


def test_copies_do_not_explode():
    """Each copy doubles the document: without a bound, a short patch would fill the memory."""
    doubling = [op("add", "/l", value=[0])] + [op("copy", "/l/-", **{"from": "/l"})] * 64
    with pytest.raises(ApiError) as caught:
        apply_json_patch(POD, doubling)
    assert caught.value.code == 422
    assert "exceeding the limit 3145728" in str(caught.value.__cause__)
    by_its_name = [op("add", "/-", value=[0])] + [op("copy", "/-/-", **{"from": "/-"})] * 64
    with pytest.raises(ApiError):
        apply_json_patch(POD, by_its_name)


def test_values_are_the_patchs_own():
    value = {"a": []}
    result = apply_json_patch({}, [op("add", "/x", value=value), op("add", "/x/a/-", value=1)])
    assert (result, value) == ({"x": {"a": [1]}}, {"a": []})
