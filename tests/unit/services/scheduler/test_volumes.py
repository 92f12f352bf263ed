"""Pods with claims that wait for their node: reserved, told, and bound when the volume controller is done."""

from __future__ import annotations

from typing import Any

from schedulerworld import World, eventually, node, pod

from cybernetes.core.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
    Object,
    annotations_of,
)

SELECTED = "volume.kubernetes.io/selected-node"
BOUND = "pv.kubernetes.io/bind-completed"


def storage_class(provisioner: str) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "local"},
        "provisioner": provisioner,
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def claim(name: str) -> Object:
    spec = {
        "storageClassName": "local",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def using(name: str) -> Object:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]
    return pod("p", volumes=volumes)


async def bind(world: World, name: str, volume: str) -> None:
    """As the volume controller does."""
    patch: dict[str, Any] = {"metadata": {"annotations": {BOUND: "yes"}}, "spec": {"volumeName": volume}}
    await world.client.patch(PERSISTENT_VOLUME_CLAIMS, name, patch, "default")


async def get_claim(world: World) -> Object:
    return await world.client.get(PERSISTENT_VOLUME_CLAIMS, "data", "default")


async def test_a_volume_is_reserved_and_the_pod_waits_for_it(world: World) -> None:
    await world.add_nodes(node("n1"), node("n2"))
    await world.add(STORAGE_CLASSES, storage_class("kubernetes.io/no-provisioner"))
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "disk"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local",
            "local": {"path": "/disk"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
    await world.add(PERSISTENT_VOLUMES, volume)
    await world.client.patch(PERSISTENT_VOLUMES, "disk", {"status": {"phase": "Available"}}, subresource="status")
    await world.add(PERSISTENT_VOLUME_CLAIMS, claim("data"))
    await world.scheduler()
    await world.add_pods(using("data"), pod("other"))

    async def reserved() -> Any:
        return (await world.client.get(PERSISTENT_VOLUMES, "disk"))["spec"].get("claimRef")

    assert (await eventually(reserved))["name"] == "data"
    assert await eventually(lambda: world.node_of("other")), "one that waits holds nobody up"
    assert await world.node_of("p") == ""
    await bind(world, "data", "disk")
    assert await eventually(lambda: world.node_of("p")) == "n2"


async def test_a_claim_is_told_its_node_and_a_failure_is_tried_again(world: World) -> None:
    await world.add_nodes(node("n1"))
    await world.add(STORAGE_CLASSES, storage_class("example.com/disk"))
    await world.add(PERSISTENT_VOLUME_CLAIMS, claim("data"))
    await world.scheduler()
    await world.add_pods(using("data"))

    async def told() -> str | None:
        return annotations_of(await get_claim(world)).get(SELECTED)

    assert await eventually(told) == "n1"
    # the provisioner gives up: it takes the node away again
    patch = {"metadata": {"annotations": {SELECTED: None}}}
    await world.client.patch(PERSISTENT_VOLUME_CLAIMS, "data", patch, "default")
    message = 'running PreBind plugin "VolumeBinding": binding volumes: provisioning failed for PVC "data"'

    async def failed() -> bool:
        return ("FailedScheduling", message) in await world.events("p")

    assert await eventually(failed)
    world.clock.advance(1)
    await world.add_nodes(node("n2", unschedulable=True))
    assert await eventually(told) == "n1"
    made = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "made"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": "disk.example.com", "volumeHandle": "made"},
        },
    }
    await world.add(PERSISTENT_VOLUMES, made)
    await bind(world, "data", "made")
    assert await eventually(lambda: world.node_of("p")) == "n1"


async def test_a_pod_that_is_deleted_meanwhile_is_let_go(world: World) -> None:
    await world.add_nodes(node("n1"))
    await world.add(STORAGE_CLASSES, storage_class("example.com/disk"))
    await world.add(PERSISTENT_VOLUME_CLAIMS, claim("data"))
    service = await world.scheduler()
    await world.add_pods(using("data"))

    async def told() -> str | None:
        return annotations_of(await get_claim(world)).get(SELECTED)

    await eventually(told)
    await world.client.delete(PODS, "p", "default")

    async def is_forgotten() -> bool:
        return not service.engine.table.pods

    assert await eventually(is_forgotten)
    any_change = {"metadata": {"labels": {"a": "b"}}}
    await world.client.patch(PERSISTENT_VOLUME_CLAIMS, "data", any_change, "default")

    async def has_ended() -> bool:
        return len(service._tasks) == 1  # the loop that decides

    assert await eventually(has_ended)
