"""Attachments: made for pods that have a node, one node at a time, and gone when nothing needs them."""

import pytest
from world import World, run_pod

from cybernetes.core.controllers.attach_detach import CSI_DRIVERS, AttachDetach, attachment_name, unique_name
from cybernetes.core.objects import (
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTACHMENTS,
)


def volume(name="v", modes=("ReadWriteOnce",), **source):
    source = source or {"csi": {"driver": "d", "volumeHandle": "h"}}
    reference = {"namespace": "default", "name": "c"}
    return {"metadata": {"name": name}, "spec": {"accessModes": list(modes), "claimRef": reference, **source}}


def claim(volume_name="v"):
    return {"metadata": {"name": "c", "namespace": "default"}, "spec": {"volumeName": volume_name}}


def pod(name="p"):
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def attached(world):
    return sorted(one["spec"]["nodeName"] for one in world.all(VOLUME_ATTACHMENTS))


def answer(world, node):
    """What the driver's attacher does."""
    name = attachment_name(world.read(PERSISTENT_VOLUMES, "v", ""), node)
    world.change(VOLUME_ATTACHMENTS, name, {"status": {"attached": True}}, "", "status")


@pytest.fixture
def world():
    world = World(AttachDetach)
    for name in ("n1", "n2"):
        world.create(NODES, {"metadata": {"name": name}})
    return world


def ready(world, **options):
    world.create(PERSISTENT_VOLUMES, volume(**options))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())


def test_a_volume_is_attached_where_its_pod_is(world):
    ready(world)
    made = world.create(PODS, pod())
    world.settle()
    assert attached(world) == []
    run_pod(world, made, node="n1")
    world.settle()
    (found,) = world.all(VOLUME_ATTACHMENTS)
    assert found["spec"] == {"attacher": "d", "nodeName": "n1", "source": {"persistentVolumeName": "v"}}
    assert "volumesAttached" not in world.read(NODES, "n1", "").get("status", {})
    answer(world, "n1")
    world.settle()
    listed = world.read(NODES, "n1", "")["status"]["volumesAttached"]
    assert listed == [{"name": "kubernetes.io/csi/d^h", "devicePath": ""}]
    assert world.messages("SuccessfulAttachVolume") == ['AttachVolume.Attach succeeded for volume "v" ']
    count = len(world.writes)
    world.start_controllers()
    world.settle()
    assert len(world.writes) == count


def test_a_claim_that_is_bound_late(world):
    world.create(PERSISTENT_VOLUMES, volume())
    world.create(PERSISTENT_VOLUME_CLAIMS, claim(None))
    run_pod(world, world.create(PODS, pod()))
    world.settle()
    assert attached(world) == []
    world.change(PERSISTENT_VOLUME_CLAIMS, "c", {"spec": {"volumeName": "v"}})
    world.settle()
    assert attached(world) == ["n1"]


@pytest.mark.parametrize(
    ("options", "driver"),
    [({"hostPath": {"path": "/x"}}, None), ({}, {"attachRequired": False})],
)
def test_what_needs_no_attachment(world, options, driver):
    if driver is not None:
        world.create(CSI_DRIVERS, {"metadata": {"name": "d"}, "spec": driver})
    ready(world, **options)
    run_pod(world, world.create(PODS, pod()))
    world.settle()
    assert world.writes == []


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteMany"])
def test_a_volume_of_one_node_waits_for_the_other(world, mode):
    ready(world, modes=(mode,))
    for name, node in (("a", "n1"), ("b", "n2")):
        run_pod(world, world.create(PODS, pod(name)), node=node)
        world.settle()
    if mode == "ReadWriteMany":
        assert attached(world) == ["n1", "n2"] and world.messages("FailedAttachVolume") == []
        return
    assert attached(world) == ["n1"]
    assert world.messages("FailedAttachVolume") == [
        'Multi-Attach error for volume "v" Volume is already used by pod(s) a'
    ]
    world.drop(PODS, world.read(PODS, "a"))
    world.settle()
    assert attached(world) == ["n2"]


def test_a_node_that_uses_a_volume_keeps_it_for_a_while(world):
    ready(world)
    run_pod(world, world.create(PODS, pod()))
    world.settle()
    in_use = [unique_name(world.read(PERSISTENT_VOLUMES, "v", ""))]
    world.change(NODES, "n1", {"status": {"volumesInUse": in_use}}, "", "status")
    world.drop(PODS, world.read(PODS, "p"))
    world.pass_time(300)
    assert attached(world) == ["n1"]
    world.pass_time(100)
    assert attached(world) == []


@pytest.mark.parametrize("how", ["unmounted", "out of service", "gone"])
def test_detached_as_soon_as_possible(world, how):
    ready(world)
    run_pod(world, world.create(PODS, pod()))
    world.settle()
    answer(world, "n1")
    in_use = [unique_name(world.read(PERSISTENT_VOLUMES, "v", ""))]
    world.change(NODES, "n1", {"status": {"volumesInUse": in_use}}, "", "status")
    world.drop(PODS, world.read(PODS, "p"))
    world.settle()
    assert attached(world) == ["n1"]
    if how == "unmounted":
        world.change(NODES, "n1", {"status": {"volumesInUse": None}}, "", "status")
    elif how == "out of service":
        taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
        world.change(NODES, "n1", {"spec": {"taints": [taint]}}, "")
    else:
        world.drop(NODES, world.read(NODES, "n1", ""))
    world.settle()
    assert attached(world) == []
    if how != "gone":
        assert not world.read(NODES, "n1", "")["status"].get("volumesAttached")


@pytest.mark.parametrize("fatal", range(4))
def test_every_crash_converges(fatal):
    world = World(AttachDetach)
    for name in ("n1", "n2"):
        world.create(NODES, {"metadata": {"name": name}})
    left = [fatal]

    def crash(action):
        left[0] -= 1
        return left[0] == -1

    world.crash = crash
    ready(world)
    run_pod(world, world.create(PODS, pod("a")), node="n1")
    world.settle()
    answer(world, "n1")
    world.settle()
    run_pod(world, world.create(PODS, pod("b")), node="n2")
    world.drop(PODS, world.read(PODS, "a"))
    world.pass_time(1000)
    assert attached(world) == ["n2"]
    assert not world.read(NODES, "n1", "")["status"].get("volumesAttached")


@pytest.mark.parametrize("has_volume", [True, False])
def test_attachments_of_others_are_left_alone(world, has_volume):
    if has_volume:
        ready(world)
    spec = {"attacher": "other", "nodeName": "n1", "source": {"persistentVolumeName": "v"}}
    world.create(VOLUME_ATTACHMENTS, {"metadata": {"name": "by-hand"}, "spec": spec})
    world.settle()
    assert [one["metadata"]["name"] for one in world.all(VOLUME_ATTACHMENTS)] == ["by-hand"]
