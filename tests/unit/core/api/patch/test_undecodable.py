import pytest

from cybernetes.core.api import codec
from cybernetes.core.api.patch import (
    apply_merge_patch,
    apply_strategic_merge_patch,
    undecodable,
    undecodable_strategic,
)
from cybernetes.core.api.registry import builtin
from cybernetes.core.api.schema import load
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import DEPLOYMENTS

RESOURCE = builtin().get(DEPLOYMENTS)
TYPE = load().type(RESOURCE.type_name)
STORED = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "a"}]}}},
}


def refused(obj):
    with pytest.raises(ApiError) as caught:
        codec.check(RESOURCE, obj, b"", "Strict")
    return caught.value


def strategic(patch):
    error = refused(apply_strategic_merge_patch(STORED, patch, TYPE))
    return undecodable_strategic(error, STORED, patch, TYPE)


def pod(**spec):
    return {"spec": {"template": {"spec": spec}}}


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ({"spec": {"replicas": "x"}}, "unrecognized type: int32"),
        ({"spec": {"replicas": 1.5}}, "cannot convert float64 to int32"),
        ({"spec": {"paused": 1}}, "unrecognized type: bool"),
        ({"spec": {"template": []}}, "cannot restore struct from: slice"),
        ({"spec": {"template": True}}, "cannot restore struct from: bool"),
        (pod(containers={}), "cannot restore slice from map"),
        (pod(containers=[{"name": "a", "imagePullPolicy": 1}]), "cannot convert int64 to v1.PullPolicy"),
        (pod(containers=[{"name": "a", "imagePullPolicy": True}]), "unrecognized type: string"),
        (pod(nodeSelector="x"), "cannot restore map from string"),
        (pod(nodeSelector={"a": 1}), "cannot convert int64 to string"),
        (
            {"spec": {"template": {"foo": 2}}},
            'strict decoding error: unknown field "spec.template.foo"',
        ),
        (
            pod(containers=[{"name": "a", "resources": {"limits": {"cpu": "much"}}}]),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_strategic_merge_patches_are_quoted(patch, why):
    error = strategic(patch)
    assert error.code == 422
    assert error.message.startswith(' "" is invalid: patch: Invalid value: "map[spec:map[')
    assert error.message.endswith(f'": {why}')
    (cause,) = error.status["details"]["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldValueInvalid", "patch")


def test_what_was_used_up_is_not_quoted():
    patch = pod(**{"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a"}], "hostPID": "x"})
    assert 'Invalid value: "map[spec:map[template:map[spec:map[hostPID:x]]]]": ' in strategic(patch).message


def test_other_patches_are_not_quoted_but_what_they_made():
    patch = {"metadata": None, "spec": {"replicas": "x", "template": None}}
    error = undecodable(refused(apply_merge_patch(STORED, patch)), apply_merge_patch(STORED, patch))
    assert error.code == 422
    assert error.message == (
        ' "" is invalid: patch: Invalid value: '
        r'"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"spec\":{\"replicas\":\"x\"}}": '
        'Deployment in version "v1" cannot be handled as a Deployment: '
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    )
