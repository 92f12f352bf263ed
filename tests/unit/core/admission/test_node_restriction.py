import base64

import pytest

from cybernetes.core.admission.node_restriction import NodeRestriction
from cybernetes.core.auth import User, certificates
from cybernetes.core.clock import Random
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import (
    CERTIFICATE_SIGNING_REQUESTS,
    CONFIG_MAPS,
    LEASES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SERVICE_ACCOUNTS,
    Gvr,
)

AGENT = User("system:node:a", groups=("system:nodes",))
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "node-1", "controller": True}
MIRROR = {"kubernetes.io/config.mirror": "hash"}


def admit(world, gvr, obj, **more):
    NodeRestriction().admit(world.write(gvr, obj, **{"user": AGENT, **more}), world)


def refusal(world, gvr, obj, **more):
    with pytest.raises(ApiError) as caught:
        admit(world, gvr, obj, **more)
    assert caught.value.code == 403
    return caught.value.message.partition(" is forbidden: ")[2]


def pod(node="a", labels=None, annotations=None, owners=(), status=None, **spec):
    metadata = {
        "name": "p",
        "namespace": "default",
        "uid": "pod-1",
        "labels": labels or {},
        "annotations": annotations or {},
    }
    if owners:
        metadata["ownerReferences"] = list(owners)
    return {
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": [{"name": "c"}], **spec},
        "status": status or {},
    }


def mirror(owner=OWNER, **more):
    return pod(annotations=MIRROR, owners=[owner] if owner else [], **more)


def node(labels=None, name="a", **spec):
    return {"metadata": {"name": name, "labels": labels or {}, "uid": "node-1"}, "spec": spec}


def test_others_are_not_restricted(world):
    admit(world, NODES, node(name="b"), user=User("jane"), namespace="")
    admit(world, NODES, node(name="b"), user=User("system:node:a"), namespace="")
    admit(world, CONFIG_MAPS, {"metadata": {"name": "m"}})
    nobody = User("system:node:", groups=("system:nodes",))
    assert (
        refusal(world, NODES, node(), user=nobody, namespace="") == 'could not determine node from user "system:node:"'
    )


def test_mirror_pods(world):
    world.put(NODES, node())
    admit(world, PODS, mirror())
    assert refusal(world, PODS, pod()) == (
        'pod does not have "kubernetes.io/config.mirror" annotation, node "a" can only create mirror pods'
    )
    only = 'node "a" can only create pods with'
    assert refusal(world, PODS, mirror(node="b")) == f"{only} spec.nodeName set to itself"
    assert refusal(world, PODS, mirror(None)) == f"{only} an owner reference set to itself"
    assert refusal(world, PODS, mirror({**OWNER, "name": "b"})) == f"{only} an owner reference set to itself"
    assert (
        refusal(world, PODS, pod(annotations=MIRROR, owners=[OWNER, OWNER]))
        == f"{only} a single owner reference set to itself"
    )
    assert (
        refusal(world, PODS, mirror({**OWNER, "controller": False}))
        == f"{only} a controller owner reference set to itself"
    )
    blocking = mirror({**OWNER, "blockOwnerDeletion": True})
    assert refusal(world, PODS, blocking) == 'node "a" must not set blockOwnerDeletion on an owner reference'
    assert refusal(world, PODS, mirror({**OWNER, "uid": "x"})) == "node a UID mismatch: expected x got node-1"


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ({"serviceAccountName": "x"}, "serviceaccounts"),
        ({"imagePullSecrets": [{"name": "x"}]}, "secrets"),
        ({"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "x"}}]}]}, "configmaps"),
        ({"resourceClaims": [{"name": "x"}]}, "resourceclaims"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]}, "persistentvolumeclaims"),
        ({"volumes": [{"name": "v", "ephemeral": {}}]}, "persistentvolumeclaims (via ephemeral volumes)"),
        ({"volumes": [{"name": "v", "csi": {"driver": "x"}}]}, "csidrivers (via CSI volumes)"),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {}}]}}]},
            "serviceaccounts (via projected volumes)",
        ),
    ],
)
def test_mirror_pods_name_nothing(world, spec, kind):
    world.put(NODES, node())
    assert refusal(world, PODS, mirror(**spec)) == f'node "a" can not create pods that reference {kind}'
    harmless = [
        {"name": "v", "hostPath": {"path": "/"}},
        {"name": "w", "projected": {"sources": [{"downwardAPI": {}}]}},
    ]
    admit(world, PODS, mirror(volumes=harmless))


def test_pods(world):
    mine, other = pod(), pod("b")
    admit(world, PODS, None, old=mine, operation="DELETE")
    assert refusal(world, PODS, None, old=other, operation="DELETE") == (
        'node "a" can only delete pods with spec.nodeName set to itself'
    )
    assert refusal(world, PODS, mine, old=mine) == (
        'unexpected operation "UPDATE", node "a" can only create and delete mirror pods'
    )
    assert refusal(world, PODS, mine, subresource="binding") == (
        "unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed"
    )
    with pytest.raises(ApiError) as caught:
        admit(world, PODS, None, name="gone", operation="DELETE")
    assert caught.value.code == 404


def test_pod_status(world):
    admit(world, PODS, pod(status={"phase": "Running"}), old=pod(), subresource="status")
    assert refusal(world, PODS, pod("b"), old=pod("b"), subresource="status") == (
        'node "a" can only update pod status for pods with spec.nodeName set to itself'
    )
    assert refusal(world, PODS, pod(labels={"x": "y"}), old=pod(), subresource="status") == (
        'node "a" cannot update labels through pod status'
    )
    claims = {"resourceClaimStatuses": [{"name": "x"}]}
    assert refusal(world, PODS, pod(status=claims), old=pod(), subresource="status") == (
        'node "a" cannot update resource claim statues'
    )


def test_evictions(world):
    world.put(PODS, pod())
    eviction = {"metadata": {"name": "p"}}
    admit(world, PODS, eviction, subresource="eviction")
    world.put(PODS, pod("b"))
    assert refusal(world, PODS, eviction, subresource="eviction") == (
        "node a can only evict pods with spec.nodeName set to itself"
    )


@pytest.mark.parametrize(
    ("new", "old", "text"),
    [
        (node(name="b"), None, 'node "a" is not allowed to modify node "b"'),
        (node({"kubernetes.io/hostname": "a", "mine": "x", "node.kubernetes.io/any": "x"}), None, ""),
        (
            node({"node-restriction.kubernetes.io/x": "1", "kubernetes.io/role": "master"}),
            None,
            'node "a" is not allowed to set the following labels: kubernetes.io/role, node-restriction.kubernetes.io/x',
        ),
        (node({"example.com/x": "1"}), node(), ""),
        (node({"x.k8s.io/y": "1"}), node(), "is not allowed to modify labels: x.k8s.io/y"),
        (
            node(),
            node({"node-restriction.kubernetes.io/x": "1"}),
            "is not allowed to modify labels: node-restriction.kubernetes.io/x",
        ),
        (node(taints=[]), node(taints=[{"key": "x"}]), 'node "a" is not allowed to modify taints'),
        (node(taints=[{"key": "x"}]), node(taints=[{"key": "x"}]), ""),
    ],
)
def test_nodes(world, new, old, text):
    if text:
        assert refusal(world, NODES, new, old=old, namespace="") == text
    else:
        admit(world, NODES, new, old=old, namespace="")


def test_node_owners(world):
    owned = node()
    owned["metadata"]["ownerReferences"] = [OWNER]
    assert refusal(world, NODES, owned, old=node(), namespace="") == 'node "a" is not allowed to modify ownerReferences'


def test_claims(world):
    def claim(**status):
        return {"metadata": {"name": "c", "resourceVersion": str(len(status))}, "spec": {}, "status": status}

    admit(
        world,
        PERSISTENT_VOLUME_CLAIMS,
        claim(capacity={"storage": "2Gi"}, conditions=[]),
        old=claim(),
        subresource="status",
    )
    assert refusal(world, PERSISTENT_VOLUME_CLAIMS, claim(phase="x"), old=claim(), subresource="status") == (
        'node "a" is not allowed to update fields other than status.quantity and status.conditions'
    )
    assert refusal(world, PERSISTENT_VOLUME_CLAIMS, claim(), old=claim()) == "may only update PVC status"


def token(audiences=(), **reference):
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "pod-1", **reference}
    return {"metadata": {}, "spec": {"audiences": list(audiences), "boundObjectRef": bound}}


def test_tokens(world):
    def ask(obj):
        admit(world, SERVICE_ACCOUNTS, obj, subresource="token", name="app")

    def no(obj):
        return refusal(world, SERVICE_ACCOUNTS, obj, subresource="token", name="app")

    volume = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
    vault = {"name": "w", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}
    world.put(PODS, pod(volumes=[volume, vault]))
    ask(token())
    ask(token(["vault"]))
    assert no({"metadata": {}, "spec": {}}) == "node requested token not bound to a pod"
    assert no(token(uid="")) == "node requested token with a pod binding without a uid"
    assert no(token(uid="x")).startswith("the UID in the bound object reference (x) does not match the UID in record")
    assert no(token(["a", "b"])) == "node may only request 0 or 1 audiences"
    assert no(token(["other"])) == (
        'audience "other" not found in pod spec volume, system:node:a is not authorized to request tokens for this '
        "audience"
    )
    world.allowed = {("request-serviceaccounts-token-audience", "other", "app")}
    ask(token(["other"]))
    world.put(PODS, pod("b"))
    assert no(token()) == "node requested token bound to a pod scheduled on a different node"


def test_tokens_for_drivers(world):
    drivers = Gvr("storage.k8s.io", "v1", "csidrivers")
    world.put(drivers, {"metadata": {"name": "d"}, "spec": {"tokenRequests": [{"audience": "cloud"}]}})
    claim = {"metadata": {"name": "c", "namespace": "default"}, "spec": {"volumeName": "pv"}}
    world.put(PERSISTENT_VOLUME_CLAIMS, claim)
    world.put(Gvr("", "v1", "persistentvolumes"), {"metadata": {"name": "pv"}, "spec": {"csi": {"driver": "d"}}})
    for volume in ({"csi": {"driver": "d"}}, {"persistentVolumeClaim": {"claimName": "c"}}):
        world.put(PODS, pod(volumes=[{"name": "v", **volume}]))
        admit(world, SERVICE_ACCOUNTS, token(["cloud"]), subresource="token", name="app")


def test_leases_and_csi_nodes(world):
    lease = {"metadata": {"name": "a"}}
    admit(world, LEASES, lease, namespace="kube-node-lease")
    assert refusal(world, LEASES, lease) == 'can only access leases in the "kube-node-lease" system namespace'
    assert refusal(world, LEASES, {"metadata": {"name": "b"}}, namespace="kube-node-lease") == (
        "can only access node lease with the same name as the requesting node"
    )
    csi_nodes = Gvr("storage.k8s.io", "v1", "csinodes")
    admit(world, csi_nodes, lease, namespace="")
    assert refusal(world, csi_nodes, {"metadata": {"name": "b"}}, namespace="") == (
        "can only access CSINode with the same name as the requesting node"
    )


def test_resource_slices(world):
    slices = Gvr("resource.k8s.io", "v1", "resourceslices")
    mine, other = ({"metadata": {"name": "s"}, "spec": {"nodeName": name}} for name in "ab")
    admit(world, slices, mine, namespace="")
    assert refusal(world, slices, other, namespace="") == (
        "can only create ResourceSlice with the same NodeName as the requesting node"
    )
    assert refusal(world, slices, None, old=other, operation="DELETE", namespace="") == (
        "can only delete ResourceSlice with the same NodeName as the requesting node"
    )


def test_certificate_requests(world):
    def request(name, signer="kubernetes.io/kubelet-serving"):
        pem = certificates.new_request(name, ["system:nodes"], Random(1)).certificate
        return {"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": base64.b64encode(pem).decode()}}

    admit(world, CERTIFICATE_SIGNING_REQUESTS, request("system:node:a"), namespace="")
    admit(world, CERTIFICATE_SIGNING_REQUESTS, request("anyone", "example.com/x"), namespace="")
    assert refusal(world, CERTIFICATE_SIGNING_REQUESTS, request("system:node:b"), namespace="") == (
        "can only create a node CSR with CN=system:node:a"
    )
