"""VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone, by cases of the Kubernetes documentation."""

from __future__ import annotations

from typing import Any

import pytest
from builders import Object, ask, cluster, node, pod

from cybernetes.core.objects import (
    CSI_NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
)
from cybernetes.core.scheduling.events import CSI_DRIVERS, CSI_STORAGE_CAPACITIES
from cybernetes.core.scheduling.profile import ProfileError

ZONE = "topology.kubernetes.io/zone"
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"


def claim(name: str, volume: str = "", size: str = "1Gi", storage_class: str = "fast", **more: Any) -> Object:
    """Bound if it has a ``volume``. ``annotations``, ``modes``, ``owner``."""
    annotations = dict(more.get("annotations", {}))
    if volume:
        annotations["pv.kubernetes.io/bind-completed"] = "yes"
    metadata: Object = {"name": name, "namespace": "default", "uid": f"uid of {name}", "annotations": annotations}
    if "owner" in more:
        metadata["ownerReferences"] = [{"uid": more["owner"], "controller": True}]
    spec: Object = {
        "storageClassName": storage_class,
        "accessModes": more.get("modes", ["ReadWriteOnce"]),
        "resources": {"requests": {"storage": size}},
    }
    if volume:
        spec["volumeName"] = volume
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Bound" if volume else "Pending"}}


def volume(name: str, size: str = "1Gi", on: str = "", storage_class: str = "fast", **more: Any) -> Object:
    """On one node if ``on`` names it. ``labels``, ``csi`` (driver), ``claim`` (the one that it is reserved for)."""
    spec: Object = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
    }
    if on:
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [on]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    if "csi" in more:
        spec["csi"] = {"driver": more["csi"], "volumeHandle": f"handle of {name}"}
    if "claim" in more:
        spec["claimRef"] = {"namespace": "default", "name": more["claim"], "uid": f"uid of {more['claim']}"}
    return {
        "metadata": {"name": name, "labels": more.get("labels", {})},
        "spec": spec,
        "status": {"phase": "Bound" if "claim" in more else "Available"},
    }


def storage_class(name: str = "fast", provisioner: str = "example.com/disk", **more: Any) -> Object:
    mode = more.pop("mode", "WaitForFirstConsumer")
    return {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode, **more}


def using(*claims: str, name: str = "p", **more: Any) -> Object:
    volumes = [{"name": f"v{i}", "persistentVolumeClaim": {"claimName": each}} for i, each in enumerate(claims)]
    return pod(name, volumes=volumes, **more)


def objects(*items: tuple[Any, Object]) -> dict[Any, list[Object]]:
    result: dict[Any, list[Object]] = {}
    for gvr, item in items:
        result.setdefault(gvr, []).append(item)
    return result


def claims(*items: Object) -> dict[Any, list[Object]]:
    return {PERSISTENT_VOLUME_CLAIMS: list(items)}


# ---- VolumeBinding


def test_a_bound_volume_says_where_its_pod_goes() -> None:
    found = claims(claim("data", "disk-a"))
    found[PERSISTENT_VOLUMES] = [volume("disk-a", on="a", claim="data")]
    verdict = ask(cluster([node("a"), node("b")], objects=found), using("data"))
    assert verdict.fits == ["a"]
    assert verdict.refused == {"b": ("node(s) didn't match PersistentVolume's node affinity",)}
    found[PERSISTENT_VOLUMES] = [volume("disk-b", on="b")]
    verdict = ask(cluster([node("a")], objects=found | {STORAGE_CLASSES: []}), using("data"))
    assert verdict.refused == {"a": ('persistentvolume "disk-a" not found',)} or verdict.fits == []


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (claims(), 'persistentvolumeclaim "data" not found'),
        (
            claims(claim("data", storage_class="slow")) | {STORAGE_CLASSES: [storage_class("slow", mode="Immediate")]},
            "pod has unbound immediate PersistentVolumeClaims",
        ),
        (
            claims({**claim("data", "gone"), "status": {"phase": "Lost"}}),
            'persistentvolumeclaim "data" bound to non-existent persistentvolume "gone"',
        ),
        (
            claims(
                {
                    **claim("data"),
                    "metadata": {**claim("data")["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"},
                }
            )
            | {STORAGE_CLASSES: [storage_class()]},
            'persistentvolumeclaim "data" is being deleted',
        ),
    ],
)
def test_claims_that_are_not_ready(found: dict[Any, list[Object]], reason: str) -> None:
    scheduler = cluster([node("a")], objects=found)
    placement = scheduler.schedule(using("data"))
    assert placement.node is None
    assert placement.message.startswith(f"0/1 nodes are available: {reason}.")


def test_the_smallest_volume_that_fits_is_taken_and_not_twice() -> None:
    scheduler = cluster(
        [node("a"), node("b")],
        objects=claims(claim("one"), claim("two", size="2Gi"), claim("three"))
        | {
            STORAGE_CLASSES: [storage_class(provisioner="kubernetes.io/no-provisioner")],
            PERSISTENT_VOLUMES: [volume("a1", on="a"), volume("a2", "5Gi", on="a"), volume("b1", on="b")],
        },
    )
    unmatched = ("node(s) didn't find available persistent volumes to bind",)
    assert ask(scheduler, using("one", "two")).fits == ["a"]
    assert ask(scheduler, using("one", "two")).refused == {"b": unmatched}
    assert ask(scheduler, using("one", "two", "three")).fits == []
    assert scheduler.schedule(using("one", "two")).node == "a"
    # now both volumes on a are spoken for
    assert ask(scheduler, using("three", name="q")).refused == {"a": unmatched}
    assert scheduler.schedule(using("three", name="q")).node == "b"


def test_a_volume_that_is_reserved_for_the_claim_is_the_only_one() -> None:
    reserved = volume("mine", "9Gi", on="b", claim="data")
    found = claims(claim("data")) | {
        STORAGE_CLASSES: [storage_class(provisioner="kubernetes.io/no-provisioner")],
        PERSISTENT_VOLUMES: [volume("a1", on="a"), reserved],
    }
    assert ask(cluster([node("a"), node("b")], objects=found), using("data")).fits == ["b"]


def test_volumes_are_made_where_the_class_allows_it() -> None:
    allowed = [{"matchLabelExpressions": [{"key": ZONE, "values": ["z1", "z2"]}]}]
    found = claims(claim("data")) | {STORAGE_CLASSES: [storage_class(allowedTopologies=allowed)]}
    nodes = [node("a", labels={ZONE: "z1"}), node("b", labels={ZONE: "z3"}), node("c")]
    verdict = ask(cluster(nodes, objects=found), using("data"))
    assert verdict.fits == ["a"]
    assert set(verdict.refused.values()) == {("node(s) didn't find available persistent volumes to bind",)}


def test_a_claim_that_was_given_a_node_keeps_it() -> None:
    chosen = claim("data", annotations={"volume.kubernetes.io/selected-node": "b"})
    found = claims(chosen) | {STORAGE_CLASSES: [storage_class()]}
    assert ask(cluster([node("a"), node("b")], objects=found), using("data")).fits == ["b"]


def test_pools_must_have_the_space() -> None:
    def pool(name: str, zone: str, capacity: str, **more: str) -> Object:
        topology = {"matchLabels": {ZONE: zone}}
        return {
            "metadata": {"name": name, "namespace": "default"},
            "storageClassName": "fast",
            "nodeTopology": topology,
            "capacity": capacity,
            **more,
        }

    found = claims(claim("data", size="10Gi")) | {
        STORAGE_CLASSES: [storage_class()],
        CSI_DRIVERS: [{"metadata": {"name": "example.com/disk"}, "spec": {"storageCapacity": True}}],
        CSI_STORAGE_CAPACITIES: [
            pool("p1", "z1", "5Gi"),
            pool("p2", "z2", "50Gi"),
            pool("p3", "z3", "50Gi", maximumVolumeSize="1Gi"),
        ],
    }
    nodes = [node(f"n{i}", labels={ZONE: f"z{i}"}) for i in (1, 2, 3)]
    verdict = ask(cluster(nodes, objects=found), using("data"))
    assert verdict.fits == ["n2"]
    assert verdict.refused == dict.fromkeys(("n1", "n3"), ("node(s) did not have enough free storage",))
    del found[CSI_DRIVERS]
    assert len(ask(cluster(nodes, objects=found), using("data")).fits) == 3


def test_ephemeral_volumes_have_claims_of_their_own() -> None:
    wanted = pod("p", volumes=[{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}])
    found: dict[Any, list[Object]] = {STORAGE_CLASSES: [storage_class()]}
    message = cluster([node("a")], objects=found).schedule(wanted).message
    assert 'waiting for ephemeral volume controller to create the persistentvolumeclaim "p-scratch"' in message
    found |= claims(claim("p-scratch", owner="somebody else"))
    message = cluster([node("a")], objects=found).schedule(wanted).message
    assert "PVC default/p-scratch was not created for pod default/p (pod is not owner)" in message
    found |= claims(claim("p-scratch", owner="uid of p"))
    assert cluster([node("a")], objects=found).schedule(wanted).node == "a"


@pytest.mark.parametrize("args", [{"bindTimeoutSeconds": -1}, {"shape": [{"utilization": 0, "score": 0}]}])
def test_arguments_that_make_no_sense(args: Object) -> None:
    with pytest.raises(ProfileError, match='initializing plugin "VolumeBinding"'):
        cluster([], profile={"pluginConfig": [{"name": "VolumeBinding", "args": args}]})


# ---- VolumeZone


def test_zones_of_a_volume() -> None:
    found = claims(claim("data", "disk")) | {PERSISTENT_VOLUMES: [volume("disk", labels={OLD_ZONE: "z1__z2"})]}
    nodes = [
        node("new", labels={ZONE: "z1"}),
        node("old", labels={OLD_ZONE: "z2"}),
        node("far", labels={ZONE: "z3"}),
        node("nowhere"),
    ]
    verdict = ask(cluster(nodes, objects=found), using("data"))
    assert verdict.fits == ["new", "nowhere", "old"]
    assert verdict.refused == {"far": ("node(s) had no available volume zone",)}


# ---- VolumeRestrictions


def test_a_claim_for_one_pod_is_for_one_pod() -> None:
    found = claims(claim("data", "disk", modes=["ReadWriteOncePod"])) | {PERSISTENT_VOLUMES: [volume("disk")]}
    scheduler = cluster([node("a"), node("b")], objects=found)
    assert scheduler.schedule(using("data")).node is not None
    verdict = ask(scheduler, using("data", name="q"))
    reason = (
        "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another"
        " pod"
    )
    assert verdict.refused == dict.fromkeys(("a", "b"), (reason,))
    scheduler.remove_pod(using("data"))
    assert ask(scheduler, using("data", name="q")).fits == ["a", "b"]


@pytest.mark.parametrize(
    ("source", "is_conflict"),
    [
        ({"gcePersistentDisk": {"pdName": "d"}}, True),
        ({"gcePersistentDisk": {"pdName": "d", "readOnly": True}}, False),
        ({"awsElasticBlockStore": {"volumeID": "d", "readOnly": True}}, True),
        ({"iscsi": {"iqn": "d"}}, True),
        ({"iscsi": {"iqn": "d", "readOnly": True}}, False),
        ({"rbd": {"monitors": ["m"], "image": "d"}}, True),
        ({"rbd": {"monitors": ["m"], "image": "d", "readOnly": True}}, False),
        ({"emptyDir": {}}, False),
    ],
)
def test_a_disk_is_for_one_pod_a_node(source: Object, is_conflict: bool) -> None:
    volumes = [{"name": "v", **source}]
    scheduler = cluster([node("a"), node("b")], [pod("first", on="a", volumes=volumes)])
    verdict = ask(scheduler, pod("second", volumes=volumes))
    assert verdict.refused == ({"a": ("node(s) had no available disk",)} if is_conflict else {})


# ---- NodeVolumeLimits


def test_a_driver_attaches_so_many_volumes_to_a_node() -> None:
    names = [f"d{i}" for i in range(4)]
    found = claims(*(claim(f"c{name}", name) for name in names))
    found[PERSISTENT_VOLUMES] = [volume(name, csi="example.com/disk") for name in names]
    drivers = [{"name": "example.com/disk", "nodeID": "a", "allocatable": {"count": 2}}]
    found[CSI_NODES] = [{"metadata": {"name": "a"}, "spec": {"drivers": drivers}}]
    scheduler = cluster([node("a"), node("b")], [using("cd0", "cd1", name="first", on="a")], objects=found)
    assert ask(scheduler, using("cd2")).refused == {"a": ("node(s) exceed max volume count",)}
    assert ask(scheduler, using("cd1")).fits == ["a", "b"], "shared with a pod that is there"
    scheduler = cluster([node("a"), node("b")], [using("cd0", name="first", on="a")], objects=found)
    assert ask(scheduler, using("cd2")).fits == ["a", "b"]
    attachment = {
        "metadata": {"name": "x"},
        "spec": {"nodeName": "a", "attacher": "example.com/disk", "source": {"persistentVolumeName": "d3"}},
    }
    scheduler.cluster.put(VOLUME_ATTACHMENTS, attachment)
    assert ask(scheduler, using("cd2")).fits == ["b"], "a volume that no pod uses is still attached"


def test_volumes_still_to_be_made_count() -> None:
    found = claims(claim("one"), claim("two")) | {STORAGE_CLASSES: [storage_class()]}
    drivers = [{"name": "example.com/disk", "nodeID": "a", "allocatable": {"count": 1}}]
    found[CSI_NODES] = [{"metadata": {"name": "a"}, "spec": {"drivers": drivers}}]
    scheduler = cluster([node("a"), node("b")], objects=found)
    assert ask(scheduler, using("one", "two")).fits == ["b"]
    assert ask(scheduler, using("one")).fits == ["a", "b"]
