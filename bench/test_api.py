"""A pod on its way into the store, step by step: what one core spends on it before and after the store.

pytest bench/test_api.py

The pod is as a Deployment's controller sends it: 1.3 KB of JSON, one container with a probe, resources and mounts.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from samples import SAMPLES

from cybernetes.core.api import codec, schema, walk
from cybernetes.core.api.registry import builtin
from cybernetes.core.api.resource import Context
from cybernetes.core.clock import ManualClock, Random
from cybernetes.core.objects import Gvk, clone
from cybernetes.ext.walk import count_colons, count_entries

POD = orjson.dumps(
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "web-7d9c8f7b5-",
            "namespace": "ns",
            "labels": {"app": "web", "tier": "front", "pod-template-hash": "7d9c8f7b5"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "web-7d9c8f7b5",
                    "uid": "9b3a1c34-0f6e-4d0f-9a55-111111111111",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "containers": [
                {
                    "name": "web",
                    "image": "registry.example/web:1.2.3",
                    "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
                    "env": [
                        {"name": "A", "value": "1"},
                        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    ],
                    "resources": {
                        "requests": {"cpu": "100m", "memory": "128Mi"},
                        "limits": {"cpu": "1", "memory": "256Mi"},
                    },
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
            "serviceAccountName": "web",
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
        },
    }
)
RESOURCE = builtin().by_kind(Gvk("", "v1", "Pod"))
assert RESOURCE is not None
STRATEGY = RESOURCE.strategy
TYPE = schema.load().type(RESOURCE.type_name)
CONTEXT = Context(ManualClock(), Random(1), "system:serviceaccount:kube-system:replicaset-controller", "ns")


def sent() -> Any:
    return codec.decode(POD, codec.JSON, "Pod")


def complete() -> Any:
    """As it is before validation."""
    pod = sent()
    codec.check(RESOURCE, pod, POD, "Strict")
    pod["metadata"] |= {"name": "web-7d9c8f7b5-abcde", "uid": "u-1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    STRATEGY.default(pod)
    STRATEGY.prepare_create(pod, CONTEXT)
    return pod


def create() -> bytes:
    pod = complete()
    assert not STRATEGY.validate_create(pod)
    STRATEGY.warnings(pod)
    return codec.encode(pod)


def test_decode(benchmark: Any) -> None:
    benchmark(sent)


def test_walk_in_the_kernel(benchmark: Any) -> None:
    pod = complete()
    assert benchmark(walk.normalize, TYPE, pod) == []


def test_walk_in_the_twin(benchmark: Any) -> None:
    pod = complete()
    assert benchmark(walk.normalize_slowly, TYPE, pod) == []


def test_look_for_repeated_fields(benchmark: Any) -> None:
    pod = sent()
    assert not benchmark(lambda: count_colons(POD) != count_entries(pod))


def test_decode_and_check(benchmark: Any) -> None:
    benchmark(lambda: codec.check(RESOURCE, sent(), POD, "Strict"))


def test_default(benchmark: Any) -> None:
    pod = sent()
    codec.check(RESOURCE, pod, POD, "Strict")
    benchmark.pedantic(STRATEGY.default, setup=lambda: ((clone(pod),), {}), rounds=2000)


def test_prepare(benchmark: Any) -> None:
    pod = complete()
    benchmark.pedantic(STRATEGY.prepare_create, setup=lambda: ((clone(pod), CONTEXT), {}), rounds=2000)


def test_validate(benchmark: Any) -> None:
    pod = complete()
    assert not benchmark(STRATEGY.validate_create, pod)


def test_warnings(benchmark: Any) -> None:
    pod = complete()
    assert not benchmark(STRATEGY.warnings, pod)


def test_encode(benchmark: Any) -> None:
    benchmark(codec.encode, complete())


def test_the_whole_way(benchmark: Any) -> None:
    assert benchmark(create)


def test_load_the_structure(benchmark: Any) -> None:
    benchmark(schema.load.__wrapped__)


@pytest.mark.parametrize("sample", SAMPLES[1:14], ids=lambda sample: sample["kind"])
def test_other_kinds(benchmark: Any, sample: dict[str, Any]) -> None:
    group, _, version = sample["apiVersion"].rpartition("/")
    resource = builtin().by_kind(Gvk(group, version, sample["kind"]))
    assert resource is not None
    raw = orjson.dumps({**sample, "metadata": {"name": "x", **({"namespace": "ns"} if resource.is_namespaced else {})}})

    def whole() -> Any:
        found = codec.decode(raw, codec.JSON, resource.kind)
        codec.check(resource, found, raw, "Strict")
        resource.strategy.default(found)
        resource.strategy.prepare_create(found, CONTEXT)
        return resource.strategy.validate_create(found), codec.encode(found)

    assert benchmark(whole)
