"""DefaultStorageClass, StorageObjectInUseProtection, PersistentVolumeClaimResize, DefaultIngressClass,
TaintNodesByCondition.
"""

import pytest

from cybernetes.core.admission.default_ingress_class import DefaultIngressClass
from cybernetes.core.admission.storage import (
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from cybernetes.core.admission.taint_nodes_by_condition import TaintNodesByCondition
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import (
    INGRESS_CLASSES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    Gvr,
)

INGRESSES = Gvr("networking.k8s.io", "v1", "ingresses")


def named(name, created="2026-01-01T00:00:00Z", annotations=None, **more):
    return {"metadata": {"name": name, "creationTimestamp": created, "annotations": annotations or {}}, **more}


def admit(world, plugin, gvr, obj, **more):
    attributes = world.write(gvr, obj, **more)
    plugin.admit(attributes, world)
    return attributes.obj


DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}
BETA_DEFAULT = {"storageclass.beta.kubernetes.io/is-default-class": "true"}


def test_the_newest_default_storage_class(world):
    plugin = DefaultStorageClass()
    claim = named("c", spec={})
    assert "storageClassName" not in admit(world, plugin, PERSISTENT_VOLUME_CLAIMS, claim)["spec"]
    world.put(STORAGE_CLASSES, named("old", "2025-01-01T00:00:00Z", DEFAULT))
    world.put(STORAGE_CLASSES, named("b", "2026-01-01T00:00:00Z", BETA_DEFAULT))
    world.put(STORAGE_CLASSES, named("a", "2026-01-01T00:00:00Z", DEFAULT))
    world.put(STORAGE_CLASSES, named("newest", "2027-01-01T00:00:00Z"))
    assert admit(world, plugin, PERSISTENT_VOLUME_CLAIMS, claim)["spec"]["storageClassName"] == "a"
    none = named("c", spec={"storageClassName": ""})
    assert admit(world, plugin, PERSISTENT_VOLUME_CLAIMS, none)["spec"]["storageClassName"] == ""
    beta = named("c", annotations={"volume.beta.kubernetes.io/storage-class": "x"}, spec={})
    assert "storageClassName" not in admit(world, plugin, PERSISTENT_VOLUME_CLAIMS, beta)["spec"]


@pytest.mark.parametrize(
    ("gvr", "finalizer"),
    [
        (PERSISTENT_VOLUMES, "kubernetes.io/pv-protection"),
        (PERSISTENT_VOLUME_CLAIMS, "kubernetes.io/pvc-protection"),
        (Gvr("storage.k8s.io", "v1", "volumeattributesclasses"), "kubernetes.io/vac-protection"),
    ],
)
def test_protection(world, gvr, finalizer):
    plugin = StorageObjectInUseProtection()
    once = admit(world, plugin, gvr, {"metadata": {"name": "x", "finalizers": ["mine"]}})
    assert once["metadata"]["finalizers"] == ["mine", finalizer]
    assert admit(world, plugin, gvr, once) == once
    assert admit(world, plugin, gvr, {"metadata": {"name": "x"}}, old=once) == {"metadata": {"name": "x"}}


def claim(size, phase="Bound", class_name="fast"):
    spec = {"resources": {"requests": {"storage": size}}, "storageClassName": class_name}
    return {"metadata": {"name": "c"}, "spec": spec, "status": {"phase": phase}}


def test_growing_a_claim(world):
    plugin = PersistentVolumeClaimResize()

    def grow(old, new):
        plugin.validate(world.write(PERSISTENT_VOLUME_CLAIMS, new, old=old), world)

    grow(claim("1Gi", "Pending"), claim("1Gi"))
    grow(claim("2Gi"), claim("1Gi"))
    with pytest.raises(ApiError, match="Only bound persistent volume claims can be expanded"):
        grow(claim("1Gi", "Pending"), claim("2Gi"))
    needs = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must"
    with pytest.raises(ApiError, match=needs):
        grow(claim("1Gi"), claim("2Gi"))
    world.put(STORAGE_CLASSES, named("fast", allowVolumeExpansion=True))
    grow(claim("1Gi"), claim("1025Mi"))
    with pytest.raises(ApiError, match=needs):
        grow(claim("1Gi", class_name=""), claim("2Gi"))


def test_the_default_ingress_class(world):
    plugin = DefaultIngressClass()
    world.put(INGRESS_CLASSES, named("a", annotations={"ingressclass.kubernetes.io/is-default-class": "true"}))
    assert admit(world, plugin, INGRESSES, named("i", spec={}))["spec"] == {"ingressClassName": "a"}
    assert admit(world, plugin, INGRESSES, named("i", spec={"ingressClassName": "b"}))["spec"] == {
        "ingressClassName": "b"
    }
    old_way = named("i", annotations={"kubernetes.io/ingress.class": "x"}, spec={})
    assert admit(world, plugin, INGRESSES, old_way)["spec"] == {}


def test_new_nodes_are_tainted(world):
    plugin = TaintNodesByCondition()
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    once = admit(world, plugin, NODES, {"metadata": {"name": "n"}}, namespace="")
    assert once["spec"]["taints"] == [taint]
    assert admit(world, plugin, NODES, once, namespace="") == once
    assert admit(world, plugin, NODES, {"metadata": {"name": "n"}}, old=once, namespace="") == {
        "metadata": {"name": "n"}
    }
