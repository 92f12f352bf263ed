"""The kernel that writes a pod's key against its slow twin, and keys against what they stand for."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.scheduling.podshape import PodShape, plain_shape_key, shape_key

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
containers = st.lists(
    st.dictionaries(
        st.sampled_from(["name", "image", "resources", "ports", "env", "volumeMounts"]), values, max_size=4
    ),
    max_size=2,
)
volumes = st.lists(
    st.sampled_from(
        [
            {"name": "a", "emptyDir": {}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "d", "csi": {}},
        ]
    ),
    max_size=3,
)
specs = st.fixed_dictionaries(
    {"containers": containers},
    optional={
        "initContainers": st.none() | containers,
        "volumes": st.none() | volumes,
        "affinity": st.none() | st.dictionaries(st.text(max_size=3), values, max_size=2),
        "tolerations": values,
        "priority": st.integers(-5, 5),
        "hostNetwork": st.booleans(),
        "restartPolicy": st.text(max_size=3),
    },
)
pods = st.builds(
    lambda spec, meta: {"metadata": meta, "spec": spec},
    specs,
    st.dictionaries(st.sampled_from(["name", "namespace"]), st.text(max_size=4)),
)


@given(pods)
def test_kernel_writes_what_its_twin_writes(pod: dict[str, Any]) -> None:
    assert shape_key(pod) == plain_shape_key(pod)


@given(pods, pods)
def test_equal_keys_are_equal_shapes(one: dict[str, Any], other: dict[str, Any]) -> None:
    if shape_key(one) == shape_key(other):
        assert PodShape(one).spec == PodShape(other).spec


def test_what_placing_never_reads_is_not_in_the_key() -> None:
    plain = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    other = {
        "metadata": {"name": "b", "labels": {"x": "y"}, "uid": "u"},
        "spec": {
            "containers": [
                {"name": "c", "image": "i", "env": [{"name": "E"}], "volumeMounts": [{"name": "kube-api-access-x"}]}
            ],
            "volumes": [{"name": "kube-api-access-x", "projected": {}}],
            "restartPolicy": "Never",
        },
        "status": {"phase": "Pending"},
    }
    assert shape_key(plain) == shape_key(other)
