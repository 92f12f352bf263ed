"""Volumes and claims: matching, binding in any order and through any crash, provisioning, release, protection."""

import pytest
from world import Crash, World, run_pod

from cybernetes.core import errors
from cybernetes.core.controllers.ephemeral_volume import EphemeralVolumes
from cybernetes.core.controllers.interface import Erase, Settings
from cybernetes.core.controllers.protection import AttributesClassProtection, ClaimProtection, VolumeProtection
from cybernetes.core.controllers.volume_binder import VolumeBinder
from cybernetes.core.controllers.volume_expansion import VolumeExpansion
from cybernetes.core.controllers.volume_provisioner import HOST_PATH
from cybernetes.core.objects import (
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
    VOLUME_ATTRIBUTES_CLASSES,
    clone,
    name_of,
)

ROOT = "/data/volumes"
SETTINGS = Settings(host_path_root=ROOT)
PROTECTION = {
    PERSISTENT_VOLUMES: "kubernetes.io/pv-protection",
    PERSISTENT_VOLUME_CLAIMS: "kubernetes.io/pvc-protection",
}


def volume(name, size="1Gi", modes=("ReadWriteOnce",), **spec):
    made = {"accessModes": list(modes), "capacity": {"storage": size}, "persistentVolumeReclaimPolicy": "Retain"}
    metadata = {"name": name, "finalizers": [PROTECTION[PERSISTENT_VOLUMES]]}
    return {"metadata": metadata, "spec": {**made, "nfs": {"server": "h", "path": "/"}, **spec}}


def claim(name="c", size="1Gi", modes=("ReadWriteOnce",), **spec):
    made = {"accessModes": list(modes), "resources": {"requests": {"storage": size}}}
    metadata = {"name": name, "namespace": "default", "finalizers": [PROTECTION[PERSISTENT_VOLUME_CLAIMS]]}
    return {"metadata": metadata, "spec": {**made, **spec}, "status": {"phase": "Pending"}}


def storage_class(name="fast", provisioner=HOST_PATH, mode="Immediate", **fields):
    made = {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode}
    return {**made, "reclaimPolicy": "Delete", **fields}


def pod(name="p", *claims, **ephemeral):
    volumes = [{"name": f"v{n}", "persistentVolumeClaim": {"claimName": one}} for n, one in enumerate(claims)]
    for volume_name, template in ephemeral.items():
        volumes.append({"name": volume_name, "ephemeral": {"volumeClaimTemplate": template}})
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def state(world, name="c"):
    found = world.read(PERSISTENT_VOLUME_CLAIMS, name)
    return found["status"].get("phase"), found["spec"].get("volumeName")


def phase(world, name):
    return world.read(PERSISTENT_VOLUMES, name, "")["status"]["phase"]


def quiet(world):
    """Nothing more is written, also after a restart."""
    count = len(world.writes)
    world.start_controllers()
    world.pass_time(1000)
    assert world.writes[count:] == []


MAKERS = (
    lambda: VolumeBinder(SETTINGS),
    VolumeProtection,
    ClaimProtection,
    AttributesClassProtection,
    EphemeralVolumes,
    VolumeExpansion,
)


@pytest.fixture
def world():
    return World(*MAKERS)


# Matching.


@pytest.mark.parametrize("volume_first", [True, False])
def test_a_claim_gets_the_smallest_volume_that_fits(world, volume_first):
    volumes = [volume("big", "10Gi"), volume("small", "500Mi"), volume("fits", "2Gi"), volume("many", "1Gi")]
    volumes[3]["spec"]["accessModes"].append("ReadOnlyMany")  # more than is asked for: only if nothing else fits
    if not volume_first:
        world.create(PERSISTENT_VOLUME_CLAIMS, claim())
        world.settle()
        assert state(world) == ("Pending", None)
        message = "no persistent volumes available for this claim and no storage class is set"
        assert world.messages("FailedBinding") == [message]
    for one in volumes:
        world.create(PERSISTENT_VOLUMES, one)
    if volume_first:
        world.settle()
        assert phase(world, "fits") == "Available"
        world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    world.settle()
    assert state(world) == ("Bound", "fits")
    bound = world.read(PERSISTENT_VOLUMES, "fits", "")
    found = world.read(PERSISTENT_VOLUME_CLAIMS, "c")
    assert bound["spec"]["claimRef"]["uid"] == found["metadata"]["uid"] and phase(world, "fits") == "Bound"
    assert found["status"] == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}}
    assert found["metadata"]["annotations"] == {
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
    }
    assert bound["metadata"]["annotations"] == {"pv.kubernetes.io/bound-by-controller": "yes"}
    quiet(world)


@pytest.mark.parametrize(
    ("offer", "wish", "is_match"),
    [
        ({}, {}, True),
        ({"storageClassName": "a"}, {"storageClassName": "a"}, True),
        ({"storageClassName": "a"}, {"storageClassName": ""}, False),
        ({"storageClassName": "a"}, {"storageClassName": "b"}, False),
        ({"volumeMode": "Block"}, {}, False),
        ({"volumeMode": "Block"}, {"volumeMode": "Block"}, True),
        ({"volumeMode": "Filesystem"}, {}, True),
        ({"modes": ["ReadWriteMany"]}, {}, False),
        ({"modes": ["ReadWriteMany", "ReadWriteOnce"]}, {}, True),
        ({"volumeAttributesClassName": "gold"}, {}, False),
        ({"volumeAttributesClassName": "gold"}, {"volumeAttributesClassName": "gold"}, True),
        ({"labels": {"zone": "a"}}, {"selector": {"matchLabels": {"zone": "a"}}}, True),
        ({"labels": {"zone": "b"}}, {"selector": {"matchLabels": {"zone": "a"}}}, False),
        ({"claimRef": {"namespace": "default", "name": "c"}}, {}, True),
        ({"claimRef": {"namespace": "default", "name": "c"}, "storageClassName": "a"}, {}, True),
        ({"claimRef": {"namespace": "default", "name": "other"}}, {}, False),
        ({"claimRef": {"namespace": "default", "name": "c", "uid": "another"}}, {}, False),
        ({"size": "1023Mi"}, {}, False),
    ],
)
def test_what_fits(world, offer, wish, is_match):
    offer = dict(offer)
    labels = offer.pop("labels", {})
    made = volume("v", offer.pop("size", "1Gi"), offer.pop("modes", ["ReadWriteOnce"]), **offer)
    made["metadata"]["labels"] = labels
    world.create(PERSISTENT_VOLUMES, made)
    world.create(PERSISTENT_VOLUME_CLAIMS, claim(**wish))
    world.settle()
    assert state(world) == (("Bound", "v") if is_match else ("Pending", None))


def test_a_reserved_volume_keeps_no_mark_of_ours(world):
    world.create(PERSISTENT_VOLUMES, volume("small"))
    reserved = volume("reserved", "9Gi", claimRef={"namespace": "default", "name": "c"})
    world.create(PERSISTENT_VOLUMES, reserved)
    world.settle()
    assert phase(world, "reserved") == "Available"
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    world.settle()
    assert state(world) == ("Bound", "reserved")
    assert not world.read(PERSISTENT_VOLUMES, "reserved", "")["metadata"].get("annotations")


# Claims that name a volume.


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        ({"size": "1Mi"}, 'Cannot bind to requested volume "v": requested PV is too small'),
        ({"storageClassName": "x"}, 'Cannot bind to requested volume "v": storageClassName does not match'),
        ({"volumeMode": "Block"}, 'Cannot bind to requested volume "v": incompatible volumeMode'),
        ({"modes": ["ReadOnlyMany"]}, 'Cannot bind to requested volume "v": incompatible accessMode'),
        (
            {"volumeAttributesClassName": "x"},
            'Cannot bind to requested volume "v": volumeAttributesClassName does not match',
        ),
        ({"claimRef": {"namespace": "x", "name": "y"}}, 'volume "v" already bound to a different claim.'),
    ],
)
def test_a_named_volume_that_does_not_fit_is_told(world, offer, message):
    offer = dict(offer)
    world.create(
        PERSISTENT_VOLUMES, volume("v", offer.pop("size", "1Gi"), offer.pop("modes", ["ReadWriteOnce"]), **offer)
    )
    world.create(PERSISTENT_VOLUME_CLAIMS, claim(volumeName="v"))
    world.settle()
    assert state(world) == ("Pending", "v")
    assert set(world.messages()) == {message}
    quiet(world)


def test_a_named_volume_may_come_later(world):
    world.create(PERSISTENT_VOLUME_CLAIMS, claim(volumeName="v"))
    world.settle()
    assert state(world) == ("Pending", "v")
    world.create(PERSISTENT_VOLUMES, volume("v", "5Gi"))
    world.settle()
    assert state(world) == ("Bound", "v")
    annotations = world.read(PERSISTENT_VOLUME_CLAIMS, "c")["metadata"]["annotations"]
    assert annotations == {"pv.kubernetes.io/bind-completed": "yes"}


def test_a_claim_without_its_volume_is_lost(world):
    world.create(PERSISTENT_VOLUMES, volume("v"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    world.settle()
    world.drop(PERSISTENT_VOLUMES, world.read(PERSISTENT_VOLUMES, "v", ""))
    world.settle()
    assert state(world) == ("Lost", "v")
    assert world.messages("ClaimLost") == ["Bound claim has lost its PersistentVolume. Data on the volume is lost!"]
    quiet(world)


def test_two_claims_of_one_volume(world):
    world.create(PERSISTENT_VOLUMES, volume("v"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    world.settle()
    thief = claim("thief", volumeName="v")
    thief["metadata"]["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
    world.create(PERSISTENT_VOLUME_CLAIMS, thief)
    world.settle()
    assert state(world, "thief") == ("Lost", "v") and state(world) == ("Bound", "v")
    message = "Two claims are bound to the same volume, this one is bound incorrectly"
    assert world.messages("ClaimMisbound") == [message]


# Release.


@pytest.mark.parametrize("policy", ["Retain", "Delete", "Recycle", "Nonsense"])
def test_a_volume_whose_claim_is_gone_is_released(world, policy):
    world.create(PERSISTENT_VOLUMES, volume("v", persistentVolumeReclaimPolicy=policy))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    world.settle()
    world.delete(PERSISTENT_VOLUME_CLAIMS, world.read(PERSISTENT_VOLUME_CLAIMS, "c"))
    world.settle()
    assert world.all(PERSISTENT_VOLUME_CLAIMS) == []
    assert phase(world, "v") == ("Released" if policy == "Retain" else "Failed")
    reasons = {
        "Delete": 'error getting deleter volume plugin for volume "v": no deletable volume plugin matched',
        "Recycle": "No recycler plugin found for the volume!",
        "Nonsense": "Volume has unrecognized PersistentVolumeReclaimPolicy",
    }
    if policy in reasons:
        assert world.messages()[-1] == reasons[policy]
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    world.settle()
    assert state(world) == ("Pending", None), "what is on a released volume is the old claim's"
    quiet(world)
    # A person frees it.
    world.change(PERSISTENT_VOLUMES, "v", {"spec": {"claimRef": None}}, "")
    world.settle()
    assert state(world) == ("Bound", "v")


def test_a_volume_that_is_in_use_cannot_be_deleted(world):
    world.create(PERSISTENT_VOLUMES, volume("v"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    world.settle()
    world.delete(PERSISTENT_VOLUMES, world.read(PERSISTENT_VOLUMES, "v", ""))
    world.settle()
    assert phase(world, "v") == "Bound"
    world.delete(PERSISTENT_VOLUME_CLAIMS, world.read(PERSISTENT_VOLUME_CLAIMS, "c"))
    world.settle()
    assert world.all(PERSISTENT_VOLUMES) == []


def test_the_view_being_behind_does_not_release_a_volume(world):
    """The claim is on the server, only not in the view."""
    world.create(PERSISTENT_VOLUMES, volume("v"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    world.settle()
    cache = world.cache(PERSISTENT_VOLUME_CLAIMS)
    cache.remove("default/c", cache.get("default/c"))
    world.start_controllers()
    world.settle()
    assert phase(world, "v") == "Bound"


# Provisioning.


def test_a_volume_is_made_to_order_and_goes_with_its_claim(world):
    world.create(STORAGE_CLASSES, storage_class())
    world.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="fast"))
    world.settle()
    (made,) = world.all(PERSISTENT_VOLUMES)
    found = world.read(PERSISTENT_VOLUME_CLAIMS, "c")
    name = f"pvc-{found['metadata']['uid']}"
    assert name_of(made) == name and state(world) == ("Bound", name)
    assert made["spec"]["hostPath"] == {"path": f"{ROOT}/{name}", "type": "DirectoryOrCreate"}
    assert made["spec"]["capacity"] == {"storage": "1Gi"} and made["spec"]["storageClassName"] == "fast"
    assert made["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] == HOST_PATH
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pv-controller", "kubernetes.io/pv-protection"]
    assert found["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"] == HOST_PATH
    assert world.messages() == [f"Successfully provisioned volume {name} using {HOST_PATH}"]
    quiet(world)
    world.delete(PERSISTENT_VOLUME_CLAIMS, found)
    world.settle()
    assert world.all(PERSISTENT_VOLUMES) == [] and world.all(PERSISTENT_VOLUME_CLAIMS) == []
    assert [action.path for action in world.writes if isinstance(action, Erase)] == [f"{ROOT}/{name}"]


def test_the_default_class_is_for_claims_that_say_nothing(world):
    world.create(PERSISTENT_VOLUME_CLAIMS, claim("wants"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim("refuses", storageClassName=""))
    world.settle()
    made = storage_class()
    made["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    world.create(STORAGE_CLASSES, made)
    world.settle()
    assert state(world, "wants")[0] == "Bound" and state(world, "refuses") == ("Pending", None)
    assert world.read(PERSISTENT_VOLUME_CLAIMS, "wants")["spec"]["storageClassName"] == "fast"


def test_waiting_for_the_first_consumer(world):
    world.create(STORAGE_CLASSES, storage_class(mode="WaitForFirstConsumer"))
    world.create(PERSISTENT_VOLUMES, volume("fits", storageClassName="fast"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="fast"))
    world.settle()
    assert state(world) == ("Pending", None)
    assert set(world.messages()) == {"waiting for first consumer to be created before binding"}
    world.events.clear()
    world.create(PODS, pod("p", "c"))
    world.settle()
    assert world.messages("WaitForPodScheduled") == ["waiting for pod p to be scheduled"]
    world.create(NODES, {"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "host1"}}})
    annotation = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}}
    world.change(PERSISTENT_VOLUME_CLAIMS, "c", annotation)
    world.settle()
    assert state(world)[0] == "Bound" and state(world)[1] != "fits"
    made = world.read(PERSISTENT_VOLUMES, state(world)[1], "")
    term = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]
    assert term == {"key": "kubernetes.io/hostname", "operator": "In", "values": ["host1"]}


def test_a_volume_that_the_scheduler_reserved_is_bound(world):
    world.create(STORAGE_CLASSES, storage_class(mode="WaitForFirstConsumer"))
    world.create(PERSISTENT_VOLUMES, volume("fits", storageClassName="fast"))
    made = world.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="fast"))
    world.settle()
    reference = {"namespace": "default", "name": "c", "uid": made["metadata"]["uid"]}
    world.change(PERSISTENT_VOLUMES, "fits", {"spec": {"claimRef": reference}}, "")
    world.settle()
    assert state(world) == ("Bound", "fits")


def test_a_selected_node_that_is_gone_is_chosen_anew(world):
    world.create(STORAGE_CLASSES, storage_class(mode="WaitForFirstConsumer"))
    made = claim(storageClassName="fast")
    made["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": "gone"}
    world.create(PERSISTENT_VOLUME_CLAIMS, made)
    world.settle()
    assert world.messages("ProvisioningFailed") == ['Failed to get target node: node "gone" not found']
    annotations = world.read(PERSISTENT_VOLUME_CLAIMS, "c")["metadata"].get("annotations", {})
    assert "volume.kubernetes.io/selected-node" not in annotations


@pytest.mark.parametrize(
    ("made", "wish", "message"),
    [
        (None, {}, 'storageclass.storage.k8s.io "fast" not found'),
        (
            {"provisioner": "kubernetes.io/no-provisioner"},
            {},
            "no volume plugin matched name: kubernetes.io/no-provisioner",
        ),
        (
            {"mountOptions": ["ro", "soft"]},
            {},
            'Mount options are not supported by the provisioner but StorageClass "fast" has mount options [ro soft]',
        ),
        (
            {},
            {"volumeMode": "Block"},
            'Failed to provision volume with StorageClass "fast": kubernetes.io/host-path does not support block '
            "volume provisioning",
        ),
        (
            {},
            {"dataSource": {"kind": "VolumeSnapshot", "name": "s"}},
            'plugin "kubernetes.io/host-path" is not a CSI plugin. Only CSI plugin can provision a claim with a '
            "datasource",
        ),
    ],
)
def test_what_cannot_be_provisioned_is_told_without_a_loop(world, made, wish, message):
    if made is not None:
        world.create(STORAGE_CLASSES, storage_class(**made))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="fast", **wish))
    world.settle()
    assert world.messages("ProvisioningFailed") == [message]
    assert state(world) == ("Pending", None)
    count = world.reconciles
    world.pass_time(3600)
    assert world.reconciles == count


@pytest.mark.parametrize(
    ("provisioner", "driver"),
    [("example.com/disks", "example.com/disks"), ("kubernetes.io/aws-ebs", "ebs.csi.aws.com")],
)
def test_external_provisioners_are_asked(world, provisioner, driver):
    world.create(STORAGE_CLASSES, storage_class(provisioner=provisioner))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="fast"))
    world.settle()
    annotations = world.read(PERSISTENT_VOLUME_CLAIMS, "c")["metadata"]["annotations"]
    assert annotations["volume.kubernetes.io/storage-provisioner"] == driver
    assert annotations["volume.beta.kubernetes.io/storage-provisioner"] == driver
    assert annotations.get("pv.kubernetes.io/migrated-to") == (driver if driver != provisioner else None)
    assert f"external provisioner '{driver}'" in world.messages("ExternalProvisioning")[0]
    quiet(world)
    # It provisions.
    uid = world.read(PERSISTENT_VOLUME_CLAIMS, "c")["metadata"]["uid"]
    reference = {"namespace": "default", "name": "c", "uid": uid}
    spec = {"claimRef": reference, "storageClassName": "fast", "persistentVolumeReclaimPolicy": "Delete"}
    made = volume("ext", csi={"driver": driver, "volumeHandle": "1"}, **spec)
    del made["spec"]["nfs"]
    made["metadata"]["annotations"] = {"pv.kubernetes.io/provisioned-by": driver}
    world.create(PERSISTENT_VOLUMES, made)
    world.settle()
    assert state(world) == ("Bound", "ext")
    world.delete(PERSISTENT_VOLUME_CLAIMS, world.read(PERSISTENT_VOLUME_CLAIMS, "c"))
    world.settle()
    assert phase(world, "ext") == "Released", "its provisioner deletes it"


def test_only_what_was_made_below_the_root_is_erased(world):
    foreign = volume("v", persistentVolumeReclaimPolicy="Delete", hostPath={"path": "/etc"})
    del foreign["spec"]["nfs"]
    world.create(PERSISTENT_VOLUMES, foreign)
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    world.settle()
    world.delete(PERSISTENT_VOLUME_CLAIMS, world.read(PERSISTENT_VOLUME_CLAIMS, "c"))
    world.settle()
    assert phase(world, "v") == "Failed"
    assert world.messages("VolumeFailedDelete") == [
        f"host_path deleter only supports {ROOT}/.+ but received provided /etc"
    ]
    assert not any(isinstance(action, Erase) for action in world.writes)


def test_a_directory_that_cannot_be_erased_is_tried_again(world, monkeypatch):
    world.create(STORAGE_CLASSES, storage_class())
    world.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="fast"))
    world.settle()
    answers = ["busy", "busy"]
    do = world.do

    def with_failures(action, *rest):
        if isinstance(action, Erase) and answers:
            return answers.pop()
        return do(action, *rest)

    monkeypatch.setattr(world, "do", with_failures)
    world.delete(PERSISTENT_VOLUME_CLAIMS, world.read(PERSISTENT_VOLUME_CLAIMS, "c"))
    world.settle()
    assert phase(world, world.all(PERSISTENT_VOLUMES)[0]["metadata"]["name"]) == "Failed"
    world.pass_time(10)
    assert world.all(PERSISTENT_VOLUMES) == [] and world.messages("VolumeFailedDelete") == ["busy"]


def test_a_change_of_policy_moves_the_finalizer(world):
    world.create(STORAGE_CLASSES, storage_class())
    world.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="fast"))
    world.settle()
    name = state(world)[1]
    world.change(PERSISTENT_VOLUMES, name, {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}, "")
    world.settle()
    assert world.read(PERSISTENT_VOLUMES, name, "")["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    world.delete(PERSISTENT_VOLUME_CLAIMS, world.read(PERSISTENT_VOLUME_CLAIMS, "c"))
    world.settle()
    assert phase(world, name) == "Released"


def test_a_directory_grows_when_it_is_asked_to(world):
    world.create(STORAGE_CLASSES, storage_class(allowVolumeExpansion=True))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="fast"))
    world.create(PERSISTENT_VOLUMES, volume("v", "1Gi"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim("other"))
    world.settle()
    for name in ("c", "other"):
        world.change(PERSISTENT_VOLUME_CLAIMS, name, {"spec": {"resources": {"requests": {"storage": "3Gi"}}}})
    world.settle()
    assert world.read(PERSISTENT_VOLUMES, state(world)[1], "")["spec"]["capacity"] == {"storage": "3Gi"}
    assert world.read(PERSISTENT_VOLUME_CLAIMS, "c")["status"]["capacity"] == {"storage": "3Gi"}
    assert world.read(PERSISTENT_VOLUME_CLAIMS, "other")["status"]["capacity"] == {"storage": "1Gi"}
    assert world.messages("ExternalExpanding") == ["waiting for an external controller to expand this PVC"]
    quiet(world)


# Protection and ephemeral volumes.


def test_a_claim_stays_while_a_pod_uses_it(world):
    world.create(PERSISTENT_VOLUMES, volume("v"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    world.create(PODS, pod("waiting", "c"))
    user = world.create(PODS, pod("user", "c"))
    run_pod(world, user)
    world.settle()
    world.delete(PERSISTENT_VOLUME_CLAIMS, world.read(PERSISTENT_VOLUME_CLAIMS, "c"))
    world.settle()
    assert state(world) == ("Bound", "v")
    world.drop(PODS, world.read(PODS, "user"))
    world.settle()
    assert world.all(PERSISTENT_VOLUME_CLAIMS) == [] and phase(world, "v") == "Released"


def test_a_pod_that_the_view_does_not_know_keeps_its_claim(world):
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    run_pod(world, world.create(PODS, pod("user", "c")))
    world.settle()
    cache = world.cache(PODS)
    cache.remove("default/user", cache.get("default/user"))
    world.delete(PERSISTENT_VOLUME_CLAIMS, world.read(PERSISTENT_VOLUME_CLAIMS, "c"))
    world.settle()
    assert state(world)[0] == "Pending"


def test_finalizers_are_added_where_they_lack(world):
    for gvr, made in ((PERSISTENT_VOLUMES, volume("v", "2Mi")), (PERSISTENT_VOLUME_CLAIMS, claim())):
        del made["metadata"]["finalizers"]
        world.create(gvr, made)
    world.settle()
    assert world.read(PERSISTENT_VOLUMES, "v", "")["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    assert world.read(PERSISTENT_VOLUME_CLAIMS, "c")["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]


@pytest.mark.parametrize(
    "user", [volume("v", volumeAttributesClassName="gold"), claim(volumeAttributesClassName="gold")]
)
def test_a_class_of_attributes_stays_while_it_is_named(world, user):
    finalizers = ["kubernetes.io/vac-protection"]
    world.create(VOLUME_ATTRIBUTES_CLASSES, {"metadata": {"name": "gold"}, "driverName": "d"})
    gvr = PERSISTENT_VOLUME_CLAIMS if "resources" in user["spec"] else PERSISTENT_VOLUMES
    world.create(gvr, clone(user))
    world.settle()
    found = world.read(VOLUME_ATTRIBUTES_CLASSES, "gold", "")
    assert found["metadata"]["finalizers"] == finalizers
    world.delete(VOLUME_ATTRIBUTES_CLASSES, found)
    world.settle()
    assert world.read(VOLUME_ATTRIBUTES_CLASSES, "gold", "")["metadata"]["finalizers"] == finalizers
    world.delete(gvr, world.all(gvr)[0])
    world.settle()
    assert world.all(VOLUME_ATTRIBUTES_CLASSES) == []


def test_ephemeral_volumes_get_claims_of_their_own(world):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": claim()["spec"]}
    made = world.create(PODS, pod("p", scratch=template))
    world.settle()
    found = world.read(PERSISTENT_VOLUME_CLAIMS, "p-scratch")
    assert found["metadata"]["labels"] == {"a": "b"}
    assert found["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    world.drop(PERSISTENT_VOLUME_CLAIMS, found)
    world.settle()
    assert world.read(PERSISTENT_VOLUME_CLAIMS, "p-scratch")


def test_a_claim_of_another_is_not_taken_for_an_ephemeral_volume(world):
    world.create(PERSISTENT_VOLUME_CLAIMS, claim("p-scratch"))
    world.create(PODS, pod("p", scratch={"spec": claim()["spec"]}))
    world.settle()
    assert world.messages()[-1] == (
        "ephemeral volume scratch: PVC default/p-scratch was not created for pod default/p (pod is not owner)"
    )


def test_a_refused_ephemeral_claim_is_told_and_tried_again(world):
    def refuse(action):
        if len(world.events) < 2:
            raise errors.forbidden("", "persistentvolumeclaims", "p-scratch", "exceeded quota")

    world.refuse = refuse
    world.create(PODS, pod("p", scratch={"spec": claim()["spec"]}))
    world.pass_time(10)
    assert world.read(PERSISTENT_VOLUME_CLAIMS, "p-scratch")
    message = 'create PVC p-scratch: persistentvolumeclaims "p-scratch" is forbidden: exceeded quota'
    assert world.messages("FailedBinding")[0] == f"ephemeral volume scratch: {message}"


# Crashes and faults.


def scenario(world):
    world.create(STORAGE_CLASSES, storage_class())
    world.create(PERSISTENT_VOLUMES, volume("a", "1Gi"))
    world.create(PERSISTENT_VOLUMES, volume("b", "2Gi"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim("one"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim("two"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim("made", storageClassName="fast"))
    world.pass_time(100)
    world.delete(PERSISTENT_VOLUME_CLAIMS, world.read(PERSISTENT_VOLUME_CLAIMS, "one"))
    world.delete(PERSISTENT_VOLUME_CLAIMS, world.read(PERSISTENT_VOLUME_CLAIMS, "made"))
    world.pass_time(5000)


def outcome(world):
    claims = {name_of(one): state(world, name_of(one)) for one in world.all(PERSISTENT_VOLUME_CLAIMS)}
    return claims, {name_of(one): phase(world, name_of(one)) for one in world.all(PERSISTENT_VOLUMES)}


def bound_once(world):
    """No volume is two claims', and no claim's volume changes once it is bound."""
    homes = {}

    def observe(gvr, old, new):
        if gvr != PERSISTENT_VOLUME_CLAIMS or new is None or not new["spec"].get("volumeName"):
            return
        uid, home = new["metadata"]["uid"], new["spec"]["volumeName"]
        assert homes.setdefault(uid, home) == home
        assert list(homes.values()).count(home) == 1

    world.observers.append(observe)


def test_every_crash_between_two_writes_converges():
    straight = World(*MAKERS)
    scenario(straight)
    expected = outcome(straight)
    assert expected == ({"two": ("Bound", "b")}, {"a": "Released", "b": "Bound"})
    total = len(straight.writes)
    assert total > 15
    for fatal in range(total):
        world = World(*MAKERS)
        bound_once(world)
        left = [fatal]

        def crash(action, left=left):
            left[0] -= 1
            return left[0] == -1

        world.crash = crash
        scenario(world)
        assert outcome(world) == expected, fatal


@pytest.mark.parametrize("seed", range(30))
def test_faults_converge(seed):
    world = World(*MAKERS, seed=seed)
    bound_once(world)
    faulty = [True]

    def refuse(action):
        chance = world.random.below(100)
        if faulty[0] and chance < 10:
            raise ConnectionError("lost")
        if faulty[0] and chance < 20:
            raise errors.conflict("", "persistentvolumes", "x")

    world.refuse = refuse
    world.crash = lambda action: faulty[0] and world.random.below(100) < 5
    try:
        scenario(world)
    except Crash:
        pytest.fail("a crash outside of a reconcile")
    faulty[0] = False
    world.pass_time(5000)
    claims, volumes = outcome(world)
    assert claims["two"][0] == "Bound" and len(claims) == 1
    assert sorted(volumes.values()) == ["Bound", "Released"]


def test_objects_of_the_view_are_never_changed(world):
    world.create(PERSISTENT_VOLUMES, volume("v"))
    world.create(PERSISTENT_VOLUME_CLAIMS, claim())
    before = {gvr: clone(world.all(gvr)[0]) for gvr in (PERSISTENT_VOLUMES, PERSISTENT_VOLUME_CLAIMS)}
    seen = {gvr: world.cache(gvr).get(key) for gvr, key in zip(before, ("v", "default/c"), strict=True)}
    copies = {gvr: clone(obj) for gvr, obj in seen.items()}
    world.settle()
    assert seen == copies
