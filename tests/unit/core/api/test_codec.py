import orjson
import pytest

from cybernetes.core.api import codec
from cybernetes.core.api.registry import builtin
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import DEPLOYMENTS, PODS, Gvk

POD = builtin().get(PODS)
DEPLOYMENT = builtin().get(DEPLOYMENTS)


def taken(resource, text, validation="", content_type="application/json"):
    data = text if isinstance(text, bytes) else text.encode()
    obj = codec.decode(data, content_type, resource.kind)
    return obj, codec.check(resource, obj, data, validation)


def refused(resource, text, validation="", content_type="application/json"):
    with pytest.raises(ApiError) as error:
        taken(resource, text, validation, content_type)
    return error.value


def test_what_is_absent_is_filled_in():
    obj, warnings = taken(POD, '{"spec": {"containers": []}}')
    assert obj["apiVersion"] == "v1"
    assert obj["kind"] == "Pod"
    assert warnings == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"kind": "Service", "apiVersion": "v1"}',
            'Service in version "v1" cannot be handled as a Pod: converting (v1.Service) to (core.Pod): unknown'
            " conversion",
        ),
        (
            '{"kind": "Foo", "apiVersion": "v1"}',
            'Foo in version "v1" cannot be handled as a Pod: no kind "Foo" is registered for version "v1" in scheme'
            ' "pkg/api/legacyscheme/scheme.go:30"',
        ),
        (
            "[]",
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error:"
            " json: cannot unmarshal array into Go value of type struct {…",
        ),
        (
            '{"kind": 1}',
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error:"
            ' json: cannot unmarshal number into Go struct field .kind of type string ({"kind": 1})',
        ),
        (
            '{"a":}',
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error:"
            " invalid character '}' looking for beginning of value ({\"a\":})",
        ),
        (
            '{"metadata": {"labels": {"a": 1}}}',
            'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field'
            " ObjectMeta.metadata.labels of type string",
        ),
        (
            '{"metadata": {"creationTimestamp": "tomorrow"}}',
            'Pod in version "v1" cannot be handled as a Pod: parsing time "tomorrow" as "2006-01-02T15:04:05Z07:00":'
            ' cannot parse "tomorrow" as "2006"',
        ),
        (
            '{"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}}',
            'Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression'
            " '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_what_is_no_pod(text, message):
    error = refused(POD, text)
    assert error.code == 400
    if message.endswith("…"):
        assert error.message.startswith(message[:-1])
    else:
        assert error.message == message


def test_a_number_too_large_and_one_that_is_none():
    error = refused(DEPLOYMENT, '{"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": "x"}}')
    assert error.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct'
        " field DeploymentSpec.spec.replicas of type int32"
    )
    error = refused(DEPLOYMENT, '{"spec": {"replicas": 4294967296}}')
    assert "cannot unmarshal number 4294967296 into Go struct field" in error.message


REPEATING = (
    '{"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 1, "replicas": 2, "foo": 1,'
    ' "template": {"spec": {"containers": [{"name": "a", "foo": 1}]}}}}'
)
FOUND = ['unknown field "spec.foo"', 'duplicate field "spec.replicas"']


def test_strict_refuses_unknown_and_repeated_fields_in_the_order_of_the_text():
    error = refused(DEPLOYMENT, REPEATING, "Strict")
    assert error.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: duplicate field'
        ' "spec.replicas", unknown field "spec.foo", unknown field "spec.template.spec.containers[0].foo"'
    )


def test_warn_says_the_same_and_ignore_nothing():
    obj, warnings = taken(DEPLOYMENT, REPEATING, "Warn")
    assert sorted(warnings) == sorted([*FOUND, 'unknown field "spec.template.spec.containers[0].foo"'])
    assert obj["spec"]["replicas"] == 2
    assert "foo" not in obj["spec"]
    assert taken(DEPLOYMENT, REPEATING, "Ignore")[1] == []


def test_colons_in_strings_are_no_repeated_fields():
    obj, warnings = taken(POD, '{"metadata": {"annotations": {"a:b": ":\\":{\\"x\\":1}", "c": "d"}}}', "Strict")
    assert warnings == []
    assert obj["metadata"]["annotations"] == {"a:b": ':":{"x":1}', "c": "d"}


def test_yaml_is_read_as_json_is():
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    image: i\n"
    obj, warnings = taken(POD, text, "Strict", "application/yaml")
    assert obj["metadata"] == {"name": "a"}
    assert warnings == []
    error = refused(POD, text + "  containers: []\n", "Strict", "application/yaml")
    assert (
        'strict decoding error: yaml: unmarshal errors:\n  line 8: key "containers" already set in map' in error.message
    )


def test_a_bomb_is_refused():
    error = refused(POD, b"[" * 100_000)
    assert error.code == 400
    rows = "\n".join(["a: &a [x,x,x,x,x,x,x,x,x,x]"] + [f"b{n}: &b{n} [*a,*a,*a,*a,*a,*a,*a]" for n in range(5000)])
    assert refused(POD, rows, "", "application/yaml").code == 400


def test_more_than_three_mebibytes_are_refused():
    error = refused(POD, b'{"a":"' + b"x" * (3 << 20) + b'"}')
    assert error.code == 413


def test_other_media_types_are_refused():
    assert refused(POD, "{}", "", "text/plain").code == 415


def test_the_stored_form_is_compact_ordered_and_without_a_version():
    obj = {"spec": {}, "metadata": {"resourceVersion": "5", "name": "a"}, "kind": "Pod", "apiVersion": "v1"}
    assert codec.encode(obj) == b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{}}'
    assert obj["metadata"]["resourceVersion"] == "5"


def test_types_beside_the_resources_can_be_checked():
    binding = {"target": {"name": "n"}, "foo": 1}
    found = codec.check_type("io.k8s.api.core.v1.Binding", Gvk("", "v1", "Binding"), binding)
    assert found == ['unknown field "foo"']
    assert binding["target"] == {"name": "n"}


def test_the_fast_way_and_the_slow_way_agree():
    text = orjson.dumps({"metadata": {"name": "a", "labels": {"b": "c"}}, "spec": {"containers": [{"name": "x"}]}})
    fast = taken(POD, text)[0]
    slow = taken(POD, text.replace(b'"name":"a"', b'"name":"z","name":"a"'), "Ignore")[0]
    assert fast == slow
