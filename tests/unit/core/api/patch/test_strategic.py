import pytest

from cybernetes.core.api.patch import apply_strategic_merge_patch
from cybernetes.core.api.schema import load
from cybernetes.core.errors import ApiError

POD = load().type("io.k8s.api.core.v1.PodSpec")
META = load().type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
CONTAINER = load().type("io.k8s.api.core.v1.Container")
DEPLOYMENT = load().type("io.k8s.api.apps.v1.DeploymentSpec")
VOLUMES = load().type("io.k8s.api.core.v1.PodSpec")


def named(*names, **more):
    return [{"name": name, **more} for name in names]


def names(elements):
    return [element["name"] for element in elements]


A, B, C, D = (({"name": each, "image": each.upper()}) for each in "abcd")


@pytest.mark.parametrize(
    ("type", "obj", "patch", "expected"),
    [
        # scalars and maps
        (POD, {"nodeName": "n"}, {"nodeName": "m"}, {"nodeName": "m"}),
        (POD, {"nodeName": "n"}, {"nodeName": None}, {}),
        (POD, {}, {"nodeName": None, "hostname": "h"}, {"hostname": "h"}),
        (META, {"labels": {"a": "1", "b": "2"}}, {"labels": {"a": None, "c": "3"}}, {"labels": {"b": "2", "c": "3"}}),
        (META, {}, {"labels": {"a": None, "c": "3"}}, {"labels": {"c": "3"}}),
        (
            POD,
            {"securityContext": {"runAsUser": 1}},
            {"securityContext": {"fsGroup": 2}},
            {"securityContext": {"runAsUser": 1, "fsGroup": 2}},
        ),
        # lists by merge key
        (
            POD,
            {"containers": [A, B]},
            {"containers": [{"name": "b", "image": "x"}]},
            {"containers": [A, {"name": "b", "image": "x"}]},
        ),
        (POD, {"containers": [A, B]}, {"containers": [C]}, {"containers": [C, A, B]}),
        (
            POD,
            {"containers": [A, B]},
            {"containers": [{"name": "a", "image": None}]},
            {"containers": [{"name": "a"}, B]},
        ),
        (POD, {}, {"containers": [A]}, {"containers": [A]}),
        (
            CONTAINER,
            {"ports": [{"containerPort": 80, "name": "x"}]},
            {"ports": [{"containerPort": 80, "name": "y"}]},
            {"ports": [{"containerPort": 80, "name": "y"}]},
        ),
        # atomic lists
        (CONTAINER, {"args": ["a", "b"]}, {"args": ["c"]}, {"args": ["c"]}),
        (POD, {"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "b"}]}),
        # lists of scalars that merge
        (META, {"finalizers": ["a", "b"]}, {"finalizers": ["b", "c"]}, {"finalizers": ["a", "b", "c"]}),
        (
            META,
            {"finalizers": ["a", "b", "c"]},
            {"$deleteFromPrimitiveList/finalizers": ["b"]},
            {"finalizers": ["a", "c"]},
        ),
        (
            META,
            {"finalizers": ["a", "b"]},
            {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
            {"finalizers": ["c", "b"]},
        ),
        (META, {}, {"$deleteFromPrimitiveList/finalizers": ["a"]}, {}),
        # directives
        (POD, {"containers": [A, B]}, {"containers": [{"$patch": "replace"}, C]}, {"containers": [C]}),
        (POD, {"containers": [A, B]}, {"containers": [{"$patch": "delete", "name": "a"}]}, {"containers": [B]}),
        (POD, {"containers": [A, B]}, {"containers": [{"$patch": "delete", "name": "a"}, C]}, {"containers": [C, B]}),
        (POD, {"containers": [A]}, {"containers": [{"$patch": "delete", "name": "z"}]}, {"containers": [A]}),
        (POD, {}, {"containers": [{"$patch": "delete", "name": "a"}, B]}, {"containers": [B]}),
        (META, {"labels": {"a": "1"}}, {"labels": {"$patch": "replace", "b": "2"}}, {"labels": {"b": "2"}}),
        (META, {"labels": {"a": "1"}}, {"labels": {"$patch": "delete"}}, {"labels": {}}),
        (META, {}, {"labels": {"$patch": "delete"}}, {}),
        (META, {"labels": {"a": "1"}}, {"$patch": "replace", "name": "x"}, {"name": "x"}),
        (
            DEPLOYMENT,
            {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
            {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
            {"strategy": {"type": "Recreate"}},
        ),
        (
            VOLUMES,
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]},
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
        ),
        # another kind of value replaces
        (POD, {"containers": [A]}, {"containers": {"$patch": "delete"}}, {}),
        (POD, {"nodeName": "n"}, {"nodeName": {"x": None, "y": 1}}, {"nodeName": {"y": 1}}),
    ],
)
def test_merging(type, obj, patch, expected):
    before = (repr(obj), repr(patch))
    assert apply_strategic_merge_patch(obj, patch, type) == expected
    assert (repr(obj), repr(patch)) == before, "the inputs are not changed"


def order(*listed):
    return {"$setElementOrder/containers": named(*listed)}


@pytest.mark.parametrize(
    ("live", "patch", "expected"),
    [
        ("abcd", order(*"dcba"), "dcba"),
        ("abcd", order("d", "b"), "acdb"),
        ("ab", {**order("c", "b"), "containers": named("c")}, "cab"),
        ("ab", {**order("b", "a", "c"), "containers": named("c")}, "bac"),
        ("ab", {**order("c"), "containers": named("c")}, "cab"),
        ("abc", {**order("c", "a"), "containers": [{"name": "b", "$patch": "delete"}]}, "ca"),
        ("", {**order("b", "a"), "containers": named("b", "a")}, "ba"),
        ("ab", {"$setElementOrder/containers": [], "containers": named("c", "d")}, "abdc"),
        ("abc", {"containers": named("c", "a")}, "bca"),
        ("abc", {"containers": named("x", "b")}, "xabc"),
    ],
)
def test_order(live, patch, expected):
    obj = {"containers": named(*live)} if live else {}
    assert "".join(names(apply_strategic_merge_patch(obj, patch, POD)["containers"])) == expected


def test_order_of_scalars():
    patch = {"$setElementOrder/finalizers": ["c", "a"], "finalizers": ["c"]}
    assert apply_strategic_merge_patch({"finalizers": ["a", "b"]}, patch, META) == {"finalizers": ["c", "a", "b"]}


def test_merging_is_deep():
    live = {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}]}
    patch = {
        "$setElementOrder/containers": named("a"),
        "containers": [
            {
                "name": "a",
                "$setElementOrder/env": named("Z", "Y"),
                "env": [{"name": "X", "$patch": "delete"}, {"name": "Z", "value": "3"}],
            }
        ],
    }
    merged = apply_strategic_merge_patch(live, patch, POD)
    assert merged == {"containers": [{"name": "a", "env": [{"name": "Z", "value": "3"}, {"name": "Y", "value": "2"}]}]}


@pytest.mark.parametrize(
    ("type", "obj", "patch", "code", "text"),
    [
        (
            POD,
            {"containers": [A]},
            {"containers": [{"image": "x"}]},
            500,
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            POD,
            {"containers": [A]},
            {"containers": [{"$patch": "delete"}]},
            500,
            "map: map[$patch:delete] does not contain declared merge key: name",
        ),
        (
            POD,
            {"containers": [A]},
            {"containers": [{"$patch": "merge"}]},
            500,
            "merging lists cannot yet be specified in the patch",
        ),
        (
            POD,
            {"containers": [A]},
            {"containers": [{"$patch": "x", "name": "a"}]},
            500,
            "unknown patch type: x in map: map[$patch:x name:a]",
        ),
        (
            POD,
            {"containers": [A]},
            {"containers": ["a"]},
            500,
            "list element types are not identical: [[map[image:A name:a]] [a]]",
        ),
        (
            META,
            {"labels": {"a": "b"}},
            {"labels": {"$patch": "merge"}},
            500,
            "unknown patch type: merge in map: map[$patch:merge]",
        ),
        (
            META,
            {"finalizers": ["a"]},
            {"finalizers": [["b"]]},
            500,
            "list element types are not identical: [[a] [[b]]]",
        ),
        (META, {}, {"$deleteFromPrimitiveList": ["a"]}, 400, "invalid patch format of primitive list"),
        (META, {}, {"$setElementOrder": ["a"]}, 400, "invalid patch format of setElementOrder list"),
        (META, {}, {"$setElementOrder/finalizers": "a"}, 500, "expected a []interface {}, but received a string"),
        (
            META,
            {},
            {"$setElementOrder/nope": ["a"]},
            500,
            'unable to find api field in struct ObjectMeta for the json field "nope"',
        ),
        (
            DEPLOYMENT,
            {"strategy": {"type": "x"}},
            {"strategy": {"$retainKeys": ["a"], "type": "y"}},
            400,
            "invalid patch format of retainKeys",
        ),
        (
            DEPLOYMENT,
            {"strategy": {"type": "x"}},
            {"strategy": {"$retainKeys": "type"}},
            400,
            "invalid patch format of retainKeys",
        ),
        (
            POD,
            {"containers": [A, B]},
            {**order("b", "a"), "containers": [A, B]},
            500,
            "The order in patch list:\n[map[image:A name:a] map[image:B name:b]]\n doesn't match $setElementOrder "
            "list:\n"
            "[map[name:b] map[name:a]]\n",
        ),
        (
            POD,
            {"containers": [A]},
            {"$setElementOrder/containers": [{}]},
            500,
            "map: map[] does not contain declared merge key: name",
        ),
    ],
)
def test_refusals(type, obj, patch, code, text):
    with pytest.raises(ApiError) as caught:
        apply_strategic_merge_patch(obj, patch, type)
    assert (caught.value.code, caught.value.message) == (code, text)
