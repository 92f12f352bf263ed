import base64

import pytest
from podhelpers import container, pod

from cybernetes.core.kubelet.downward import Surroundings, field_value, format_map, resource_value
from cybernetes.core.kubelet.environment import ConfigurationError, Sources, environment, read_variable, references
from cybernetes.core.kubelet.payload import Data, PayloadError, TokenKey, payload, token_owner, wanted

AROUND = Surroundings(("10.0.0.5", "fd00::5"), ("192.0.2.1",), {"cpu": "4", "memory": "8Gi"})


def secret(**values):
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}}


SOURCES = Sources(
    config_maps={"cm": {"data": {"a": "1", "b": "2"}}, "gone": None},
    secrets={"s": secret(x="9"), "gone": None},
    services={"KUBERNETES_SERVICE_HOST": "10.96.0.1", "A": "service"},
    read_file=lambda volume, path: "KEY='value'\n",
)


def env(*variables, env_from=(), given=None):
    return dict(environment(given or pod(), container(env=list(variables), envFrom=list(env_from)), SOURCES, AROUND))


def var(name, value=None, **value_from):
    return {"name": name, "value": value} if value is not None else {"name": name, "valueFrom": value_from}


def test_values_expand_what_was_declared_before_them_and_services():
    result = env(var("A", "1"), var("B", "$(A)$(LATER)$(KUBERNETES_SERVICE_HOST)"), var("LATER", "x"))
    assert result["B"] == "1$(LATER)10.96.0.1"
    assert result["A"] == "1" and result["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_whole_objects_come_first_and_single_variables_win():
    sources = [{"configMapRef": {"name": "cm"}, "prefix": "P_"}, {"secretRef": {"name": "s"}}]
    result = env(var("P_a", "mine"), env_from=sources)
    assert result["P_a"] == "mine" and result["P_b"] == "2" and result["x"] == "9"


@pytest.mark.parametrize(
    ("value_from", "message"),
    [
        ({"configMapKeyRef": {"name": "gone", "key": "a"}}, 'configmap "gone" not found'),
        ({"secretKeyRef": {"name": "gone", "key": "a"}}, 'secret "gone" not found'),
        ({"configMapKeyRef": {"name": "cm", "key": "z"}}, "couldn't find key z in ConfigMap ns/cm"),
        ({"secretKeyRef": {"name": "s", "key": "z"}}, "couldn't find key z in Secret ns/s"),
        ({"fieldRef": {"fieldPath": "spec.containers"}}, "field label not supported: spec.containers"),
        ({"resourceFieldRef": {"resource": "limits.x"}}, "unsupported container resource : limits.x"),
        (
            {"fileKeyRef": {"volumeName": "v", "path": "f", "key": "OTHER"}},
            'environment variable key "OTHER" not found in file "f"',
        ),
    ],
)
def test_what_is_missing_is_named(value_from, message):
    with pytest.raises(ConfigurationError) as caught:
        env(var("A", **value_from))
    assert str(caught.value) == message
    kind = next(iter(value_from))
    if kind.endswith("KeyRef"):
        assert "X" not in env(var("X", **{kind: {**value_from[kind], "optional": True}}))


def test_whole_objects_may_be_optional():
    assert env(env_from=[{"configMapRef": {"name": "gone", "optional": True}}]) == dict(SOURCES.services)
    with pytest.raises(ConfigurationError, match='secret "gone" not found'):
        env(env_from=[{"secretRef": {"name": "gone"}}])


def test_references_name_everything():
    c = container(
        envFrom=[{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b"}}],
        env=[var("X", configMapKeyRef={"name": "c", "key": "k"}), var("Y", secretKeyRef={"name": "d", "key": "k"})],
    )
    assert references(c) == ({"a", "c"}, {"b", "d"})


def test_files_of_variables():
    assert env(var("A", fileKeyRef={"volumeName": "v", "path": "f", "key": "KEY"}))["A"] == "value"
    text = "# comment\n\nA='one' # why\n  B='two\nlines'\nC= 'ignored'\nD='x'"
    assert [read_variable(text, key) for key in "ABCDE"] == ["one", "two\nlines", "", "x", ""]


@pytest.mark.parametrize("text", ["A", "=x", "A ='x'", "A=x", "A='x", "A='x' y"])
def test_files_of_variables_are_strict(text):
    with pytest.raises(ValueError):
        read_variable(text, "Z")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "ns"),
        ("metadata.uid", "u"),
        ("metadata.labels", 'a="1"\nb="say \\"hi\\"\\n"'),
        ("metadata.labels['a']", "1"),
        ("metadata.annotations['x/y']", "z"),
        ("metadata.labels['none']", ""),
        ("spec.nodeName", "node"),
        ("spec.serviceAccountName", "sa"),
        ("status.hostIP", "192.0.2.1"),
        ("status.podIP", "10.0.0.5"),
        ("status.podIPs", "10.0.0.5,fd00::5"),
    ],
)
def test_fields(path, expected):
    given = pod(
        nodeName="node",
        serviceAccountName="sa",
        metadata={"labels": {"b": 'say "hi"\n', "a": "1"}, "annotations": {"x/y": "z"}},
    )
    assert field_value(given, {"fieldPath": path}, AROUND) == expected


def test_fields_that_are_not_offered():
    for path in ("status.phase", "spec.priority", "metadata.name['x']"):
        with pytest.raises(ValueError):
            field_value(pod(), {"fieldPath": path}, AROUND)
    with pytest.raises(ValueError, match="unsupported pod version: v2"):
        field_value(pod(), {"apiVersion": "v2", "fieldPath": "metadata.name"}, AROUND)


def test_control_characters_are_escaped_as_go_does():
    assert format_map({"k": "\x07\x0b\x00é\t"}) == 'k="\\a\\v\\x00é\\t"'


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", "0", "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.cpu", "1", "1"),
        ("limits.memory", "1Mi", "64"),
        ("requests.memory", "0", "33554432"),
        ("limits.ephemeral-storage", "1", "0"),
        ("requests.hugepages-2Mi", "1Mi", "4"),
    ],
)
def test_resources(resource, divisor, expected):
    requests = {"cpu": "250m", "memory": "32Mi", "hugepages-2Mi": "4Mi"}
    given = pod(container(resources={"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": requests}))
    reference = {"resource": resource, "divisor": divisor}
    assert resource_value(given, given["spec"]["containers"][0], reference, AROUND) == expected


def test_a_limit_that_is_not_set_is_what_the_node_can_give():
    given = pod()
    c = given["spec"]["containers"][0]
    assert resource_value(given, c, {"resource": "limits.cpu"}, AROUND) == "4"
    assert resource_value(given, c, {"resource": "requests.cpu"}, AROUND) == "0"
    given["spec"]["resources"] = {"limits": {"cpu": "2"}}
    assert resource_value(given, c, {"resource": "limits.cpu"}, AROUND) == "2"
    with pytest.raises(ValueError, match="container x not found"):
        resource_value(given, None, {"resource": "limits.cpu", "containerName": "x"}, AROUND)


# Volumes that are made of such data.


def files(volume, data=None, given=None):
    return payload(given or pod(), volume, data or Data(SOURCES.config_maps, SOURCES.secrets), AROUND)


def test_all_keys_or_chosen_ones():
    assert {path: file.data for path, file in files({"configMap": {"name": "cm"}}).items()} == {"a": b"1", "b": b"2"}
    chosen = {
        "name": "cm",
        "defaultMode": 0o600,
        "items": [{"key": "a", "path": "x/y", "mode": 0o400}, {"key": "b", "path": "z"}],
    }
    result = files({"configMap": chosen})
    assert {path: (file.data, file.mode) for path, file in result.items()} == {"x/y": (b"1", 0o400), "z": (b"2", 0o600)}
    binary = Data({"cm": {"binaryData": secret(k="\x00")["data"]}})
    assert files({"configMap": {"name": "cm"}}, binary)["k"].data == b"\x00"


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "gone"}}, 'configmap "gone" not found'),
        ({"secret": {"secretName": "gone"}}, 'secret "gone" not found'),
        (
            {"configMap": {"name": "cm", "items": [{"key": "q", "path": "q"}]}},
            "configmap references non-existent config key: q",
        ),
        (
            {"secret": {"secretName": "s", "items": [{"key": "q", "path": "q"}]}},
            "references non-existent secret key: q",
        ),
        (
            {"projected": {"sources": [{"configMap": {"name": "gone"}}, {"secret": {"name": "gone"}}]}},
            '[configmap "gone" not found, secret "gone" not found]',
        ),
    ],
)
def test_what_a_volume_misses(volume, message):
    with pytest.raises(PayloadError) as caught:
        files(volume)
    assert str(caught.value) == message


def test_optional_sources_may_be_missing():
    assert files({"configMap": {"name": "gone", "optional": True}}) == {}
    source = {"secret": {"name": "s", "optional": True, "items": [{"key": "q", "path": "q"}]}}
    assert files({"projected": {"sources": [source]}}) == {}


@pytest.mark.parametrize("path", ["/abs", "a/../../b", "..data", "", "x" * 300])
def test_files_stay_in_their_volume(path):
    with pytest.raises(PayloadError, match="invalid path"):
        files({"configMap": {"name": "cm", "items": [{"key": "a", "path": path}]}})


API_ACCESS = {
    "projected": {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "cm", "items": [{"key": "a", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ],
    }
}


def test_the_volume_by_which_pods_reach_the_api():
    key = TokenKey("", 3607)
    needs = wanted(API_ACCESS)
    assert needs.config_maps == {"cm"} and needs.tokens == {key}
    data = Data(SOURCES.config_maps, tokens={key: "secret"})
    result = files(API_ACCESS, data)
    assert result["token"].data == b"secret" and result["token"].mode == 0o644
    assert result["namespace"].data == b"ns" and result["ca.crt"].data == b"1"
    someone = pod(securityContext={"runAsUser": 1000, "fsGroup": 2000})
    assert token_owner(someone) == (1000, 2000)
    token = files(API_ACCESS, data, someone)["token"]
    assert (token.mode, token.user) == (0o600, 1000)


def test_trust_bundles():
    bundles = [
        {"metadata": {"name": "b"}, "spec": {"signerName": "s", "trustBundle": "TWO\n"}},
        {"metadata": {"name": "a"}, "spec": {"signerName": "s", "trustBundle": "ONE\n"}},
    ]

    def volume(**source):
        return {"projected": {"sources": [{"clusterTrustBundle": {"path": "p", **source}}]}}

    assert files(volume(signerName="s"), Data(trust_bundles=bundles))["p"].data == b"ONE\nTWO\n"
    assert files(volume(name="b"), Data(trust_bundles=bundles))["p"].data == b"TWO\n"
    assert files(volume(name="c", optional=True), Data(trust_bundles=bundles))["p"].data == b""
    with pytest.raises(PayloadError, match='"c" not found'):
        files(volume(name="c"), Data(trust_bundles=bundles))
