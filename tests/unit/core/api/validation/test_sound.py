"""What is remembered of right specs must not let a wrong one pass."""

from __future__ import annotations

from typing import Any

import pytest

from cybernetes.core.api.validation.pods import check_pod
from cybernetes.core.api.validation.sound import SPECS_MAX, Sound, spec_key


def pod(volume: str = "kube-api-access-abcde", **spec: Any) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": "i",
        "imagePullPolicy": "Always",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [{"name": volume, "mountPath": "/token"}],
    }
    base = {
        "containers": [container],
        "volumes": [{"name": volume, "emptyDir": {}}],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "serviceAccountName": "default",
    }
    return {"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": {**base, **spec}}


def test_pods_of_one_workload_have_one_key() -> None:
    assert spec_key(pod("kube-api-access-abcde")["spec"]) == spec_key(pod("kube-api-access-vwxyz")["spec"])
    assert spec_key(pod("data")["spec"]) != spec_key(pod("logs")["spec"])


@pytest.mark.parametrize(
    "volume", ["kube-api-access-_____", "kube-api-access-ABCDE", "*" * 21, "kube-api-access-abcd\n"]
)
def test_a_name_that_admission_could_not_draw_is_looked_at(volume: str) -> None:
    assert check_pod(pod()) == []
    assert check_pod(pod(volume)) != []
    assert check_pod(pod()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"restartPolicy": "Sometimes"},
        {"terminationGracePeriodSeconds": None},
        {"containers": []},
        {"tolerations": [{"key": "k", "operator": "Maybe"}]},
        {"activeDeadlineSeconds": 0},
    ],
)
def test_a_wrong_spec_is_wrong_every_time(wrong: dict[str, Any]) -> None:
    assert check_pod(pod()) == []
    first = check_pod(pod(**wrong))
    assert first
    assert check_pod(pod(**wrong)) == first


def test_true_is_not_one() -> None:
    assert spec_key(pod(hostUsers=True)["spec"]) != spec_key(pod(hostUsers=1)["spec"])


def test_what_depends_on_the_pods_name_is_not_remembered() -> None:
    assert spec_key(pod(resourceClaims=[{"name": "c", "resourceClaimName": "x"}])["spec"]) is None
    assert spec_key(pod(volumes=[{"name": "v", "ephemeral": {}}])["spec"]) is None


def test_the_memory_is_bounded() -> None:
    sound = Sound()
    for number in range(SPECS_MAX + 1):
        sound.add(b"%d" % number)
    assert len(sound._specs) == 1
    sound.add(b"x" * 100_000)
    assert b"x" * 100_000 not in sound
    assert None not in sound
