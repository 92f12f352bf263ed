"""The pass over an object, by the kernel and by its twin."""

import pytest

from cybernetes.core.api import schema, walk
from cybernetes.core.objects import clone

CORE = "io.k8s.api.core.v1."


def through(which, name, obj):
    pass_ = walk.normalize if which == "kernel" else walk.normalize_slowly
    return pass_(schema.load().type(name), obj)


@pytest.mark.parametrize("which", ["kernel", "twin"])
@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        # null and empty go where they mean nothing
        (CORE + "Container", {"name": "a", "image": "", "args": [], "env": None, "tty": False}, {"name": "a"}),
        (CORE + "Container", {"name": "a"}, {"name": "a", "resources": {}}),
        # what was given stays where its absence differs
        (CORE + "PodSpec", {"containers": [], "hostUsers": False, "nodeSelector": {}}, None),
        (CORE + "SecurityContext", {"runAsUser": 0, "privileged": False}, {"runAsUser": 0, "privileged": False}),
        # quantities and times take their canonical text
        (
            CORE + "ResourceRequirements",
            {"limits": {"cpu": 0.5, "memory": "1024Ki"}},
            {"limits": {"cpu": "500m", "memory": "1Mi"}},
        ),
        (
            CORE + "ContainerStateRunning",
            {"startedAt": "2024-01-01T01:00:00+01:00"},
            {"startedAt": "2024-01-01T00:00:00Z"},
        ),
        # null in a list or map is an empty value there
        (CORE + "Container", {"name": "a", "args": [None, "b"]}, {"name": "a", "args": ["", "b"]}),
        (
            "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
            {"matchLabels": {"a": None}},
            {"matchLabels": {"a": ""}},
        ),
        # what is kept as it is
        (
            "io.k8s.api.apps.v1.ControllerRevision",
            {"revision": 1, "data": {"a": None, "b": [0]}},
            {"revision": 1, "data": {"a": None, "b": [0]}, "metadata": {}},
        ),
    ],
)
def test_the_kept_form(which, name, given, kept):
    obj = clone(given)
    assert through(which, name, obj) == []
    if kept is not None:
        shown = {key: value for key, value in obj.items() if key != "resources" or key in kept}
        assert shown == kept


@pytest.mark.parametrize("which", ["kernel", "twin"])
def test_unknown_fields_go_and_are_told(which):
    obj = {
        "metadata": {"name": "a", "foo": 1},
        "spec": {"containers": [{"name": "c"}, {"name": "d", "ports": [{"containerPort": 1, "bar": {}}]}]},
        "baz": None,
    }
    assert through(which, CORE + "Pod", obj) == [
        'unknown field "metadata.foo"',
        'unknown field "spec.containers[1].ports[0].bar"',
        'unknown field "baz"',
    ]
    assert "foo" not in obj["metadata"]
    assert "baz" not in obj


@pytest.mark.parametrize("which", ["kernel", "twin"])
@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"spec": []}, "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"),
        (
            {"spec": {"containers": {}}},
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            {"spec": {"containers": [{"name": 1, "image": 2}]}},
            "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string",
        ),
        (
            {"spec": {"activeDeadlineSeconds": 1.5}},
            "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
        ),
        (
            {"spec": {"hostNetwork": "yes"}},
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            {"spec": {"containers": [{"ports": [{"containerPort": 2**31}]}]}},
            "json: cannot unmarshal number 2147483648 into Go struct field"
            " ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            {"metadata": {"labels": []}},
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
    ],
)
def test_wrong_types_are_told_as_go_tells_them(which, obj, message):
    with pytest.raises(walk.DecodeError) as refused:
        through(which, CORE + "Pod", clone(obj))
    assert str(refused.value) == message


@pytest.mark.parametrize("which", ["kernel", "twin"])
@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        ("", True),
        ("eA==", True),
        ("eHl6", True),
        ("eA=\n=", True),
        ("eA=", False),
        ("e", False),
        ("eA==x", False),
        ("é", False),
    ],
)
def test_bytes_are_base64(which, text, is_good):
    secret = {"data": {"a": text}}
    if is_good:
        assert through(which, CORE + "Secret", secret) == []
    else:
        with pytest.raises(walk.DecodeError, match="illegal base64 data at input byte"):
            through(which, CORE + "Secret", secret)


@pytest.mark.parametrize("which", ["kernel", "twin"])
def test_json_schemas_may_hold_one_of_two_forms(which):
    def schema_of(**parts):
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": parts}}
        return {"spec": {"group": "g", "names": {}, "scope": "x", "versions": [version]}}

    name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"
    for extra in (True, False, {"type": "string"}):
        obj = schema_of(additionalProperties=extra)
        assert through(which, name, obj) == []
        assert obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == {"additionalProperties": extra}
    with pytest.raises(walk.DecodeError, match="boolean or JSON schema expected"):
        through(which, name, schema_of(additionalProperties=1))


def test_too_deep_objects_are_refused_and_break_nothing():
    obj = value = {}
    for _ in range(5000):
        value["openAPIV3Schema"] = value["not"] = {}
        value = value["not"]
    name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
    with pytest.raises(walk.DecodeError):
        walk.normalize(schema.load().type(name), {"not": obj})


@pytest.mark.parametrize("which", ["kernel", "twin"])
def test_a_second_pass_changes_nothing(which):
    obj = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": 1}}}]}}
    assert through(which, CORE + "Pod", obj) == []
    again = clone(obj)
    assert through(which, CORE + "Pod", again) == []
    assert again == obj


@pytest.mark.parametrize("which", ["kernel", "twin"])
def test_a_hundred_complaints_are_enough(which):
    obj = {f"f{number}": 1 for number in range(500)}
    assert len(through(which, CORE + "Pod", obj)) == walk.STRICT_ERRORS_MAX
    assert set(obj) == {"metadata", "spec", "status"}
