import pytest

from cybernetes.core.auth.podreferences import (
    claim_names,
    config_map_names,
    first_reference,
    resource_claim_names,
    secret_names,
)

SPEC = {
    "imagePullSecrets": [{"name": "pull"}, {}],
    "initContainers": [{"envFrom": [{"secretRef": {"name": "init"}}, {"configMapRef": {"name": "init-map"}}]}],
    "containers": [
        {
            "env": [
                {"name": "A", "value": "x"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "key-map", "key": "k"}}},
            ]
        }
    ],
    "ephemeralContainers": [{"envFrom": [{"secretRef": {"name": "debug"}}]}],
    "volumes": [
        {"name": "1", "secret": {"secretName": "volume"}},
        {"name": "2", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "csi"}}},
        {"name": "3", "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "pm"}}]}},
        {"name": "4", "configMap": {"name": "map"}},
        {"name": "5", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "6", "cephfs": {"secretRef": {"name": "ceph"}}},
        {"name": "7", "azureFile": {"secretName": "azure"}},
        {"name": "8", "emptyDir": {}},
        {"name": "9", "iscsi": {}},
    ],
}


def test_finds_every_name():
    secrets = {"pull", "init", "key", "debug", "volume", "csi", "projected", "ceph", "azure"}
    assert set(secret_names(SPEC)) == secrets
    assert set(config_map_names(SPEC)) == {"init-map", "key-map", "pm", "map"}
    assert list(claim_names(SPEC, "p")) == ["claim", "p-scratch"]
    assert list(secret_names({})) == list(config_map_names({})) == list(claim_names({}, "p")) == []


def test_finds_device_claims():
    pod = {
        "spec": {"resourceClaims": [{"name": "a", "resourceClaimName": "own"}, {"name": "b"}]},
        "status": {
            "resourceClaimStatuses": [{"name": "b", "resourceClaimName": "made"}, {"name": "c"}],
            "extendedResourceClaimStatus": {"resourceClaimName": "extended"},
        },
    }
    assert list(resource_claim_names(pod)) == ["own", "made", "extended"]
    assert list(resource_claim_names({})) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ""),
        ({"containers": [{"name": "c"}], "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, ""),
        ({"serviceAccountName": "x"}, "serviceaccounts"),
        ({"imagePullSecrets": [{"name": "x"}]}, "secrets"),
        ({"volumes": [{"configMap": {"name": "x"}}]}, "configmaps"),
        ({"resourceClaims": [{"name": "x"}]}, "resourceclaims"),
        ({"volumes": [{"persistentVolumeClaim": {"claimName": "x"}}]}, "persistentvolumeclaims"),
        ({"volumes": [{"ephemeral": {}}]}, "persistentvolumeclaims (via ephemeral volumes)"),
        ({"volumes": [{"csi": {"driver": "d"}}]}, "csidrivers (via CSI volumes)"),
        ({"volumes": [{"projected": {"sources": [{"downwardAPI": {}}]}}]}, ""),
        (
            {"volumes": [{"projected": {"sources": [{"serviceAccountToken": {}}]}}]},
            "serviceaccounts (via projected volumes)",
        ),
    ],
)
def test_names_the_first(spec, expected):
    assert first_reference(spec) == expected
