import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.auth import User
from cybernetes.core.auth.attributes import Attributes
from cybernetes.core.auth.node import GVRS, Authorizer
from cybernetes.core.auth.nodegraph import RESOURCE_SLICES, Graph
from cybernetes.core.objects import PERSISTENT_VOLUMES, PODS, VOLUME_ATTACHMENTS, Gvr

STORAGE, DEVICES = "storage.k8s.io", "resource.k8s.io"


def node_user(name):
    return User(f"system:node:{name}", groups=("system:nodes",))


def pod(name, node="", *, secrets=(), maps=(), claims=(), devices=(), account="", uid="u", mirror=False, debugged=()):
    volumes = [{"name": f"s-{each}", "secret": {"secretName": each}} for each in secrets]
    volumes += [{"name": f"m-{each}", "configMap": {"name": each}} for each in maps]
    volumes += [{"name": f"c-{each}", "persistentVolumeClaim": {"claimName": each}} for each in claims]
    spec = {"volumes": volumes, "resourceClaims": [{"name": each, "resourceClaimName": each} for each in devices]}
    if node:
        spec["nodeName"] = node
    if account:
        spec["serviceAccountName"] = account
    if debugged:
        spec["ephemeralContainers"] = [{"name": x, "envFrom": [{"secretRef": {"name": x}}]} for x in debugged]
    annotations = {"kubernetes.io/config.mirror": "x"} if mirror else {}
    return {"metadata": {"namespace": "ns", "name": name, "uid": uid, "annotations": annotations}, "spec": spec}


def volume(name, claim="", **source):
    spec = dict(source)
    if claim:
        spec["claimRef"] = {"namespace": "ns", "name": claim}
    return {"metadata": {"name": name}, "spec": spec}


def on_node(name, node):
    return {"metadata": {"name": name}, "spec": {"nodeName": node}}


@pytest.fixture
def authorizer():
    result = Authorizer()
    for node in ("a", "b"):
        result.put(
            PODS,
            pod(
                f"pod-{node}",
                node,
                secrets=[f"secret-{node}", "shared"],
                maps=[f"map-{node}"],
                claims=[f"claim-{node}"],
                devices=[f"device-{node}"],
                account=f"account-{node}",
            ),
        )
        csi = {"nodeStageSecretRef": {"namespace": "ns", "name": f"stage-{node}"}}
        csi["controllerPublishSecretRef"] = {"namespace": "ns", "name": f"publish-{node}"}
        result.put(PERSISTENT_VOLUMES, volume(f"volume-{node}", f"claim-{node}", csi=csi))
        result.put(VOLUME_ATTACHMENTS, on_node(f"attachment-{node}", node))
        result.put(RESOURCE_SLICES, on_node(f"slice-{node}", node))
    return result


def asked(verb, resource, name="", namespace="ns", *, group="", sub="", node=None):
    selector = (("spec.nodeName", "=", node),) if node else ()
    return Attributes(verb, group, "v1", resource, sub, namespace, name, field_selector=selector)


NO_RELATION = "no relationship found between node 'a' and this object"


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        # What its pods name, whatever the way there.
        (asked("get", "secrets", "secret-a"), None),
        (asked("list", "secrets", "secret-a"), None),
        (asked("watch", "secrets", "shared"), None),
        (asked("get", "secrets", "stage-a"), None),
        (asked("get", "configmaps", "map-a"), None),
        (asked("get", "persistentvolumeclaims", "claim-a"), None),
        (asked("patch", "persistentvolumeclaims", "claim-a", sub="status"), None),
        (asked("get", "persistentvolumes", "volume-a", ""), None),
        (asked("get", "resourceclaims", "device-a", group=DEVICES), None),
        (asked("get", "volumeattachments", "attachment-a", "", group=STORAGE), None),
        (asked("get", "serviceaccounts", "account-a"), None),
        (asked("create", "serviceaccounts", "account-a", sub="token"), None),
        (asked("get", "pods", "pod-a"), None),
        (asked("watch", "pods", "pod-a"), None),
        (asked("list", "pods", namespace="", node="a"), None),
        (asked("create", "pods"), None),
        (asked("patch", "pods", "pod-a", sub="status"), None),
        (asked("create", "pods", "pod-a", sub="eviction"), None),
        (asked("get", "nodes", "a", ""), None),
        (asked("create", "nodes", "", ""), None),
        (asked("patch", "nodes", "a", "", sub="status"), None),
        (asked("update", "leases", "a", "kube-node-lease", group="coordination.k8s.io"), None),
        (asked("create", "leases", "", "kube-node-lease", group="coordination.k8s.io"), None),
        (asked("delete", "csinodes", "a", "", group=STORAGE), None),
        (asked("update", "resourceslices", "slice-a", "", group=DEVICES), None),
        (asked("list", "resourceslices", "", "", group=DEVICES, node="a"), None),
        # The same for every node.
        (asked("list", "services", namespace=""), None),
        (asked("create", "events"), None),
        (asked("create", "events", group="events.k8s.io"), None),
        (asked("watch", "runtimeclasses", namespace="", group="node.k8s.io"), None),
        (asked("create", "subjectaccessreviews", namespace="", group="authorization.k8s.io"), None),
        (asked("delete", "services", "x"), ""),
        (asked("get", "deployments", "x", group="apps"), ""),
        (Attributes("get", path="/metrics"), ""),
        # What is another's.
        (asked("get", "secrets", "secret-b"), NO_RELATION),
        (asked("get", "secrets", "stage-b"), NO_RELATION),
        (asked("get", "secrets", "publish-a"), NO_RELATION),
        (asked("get", "secrets", "secret-a", "other"), NO_RELATION),
        (asked("list", "secrets"), "No Object name found"),
        (asked("list", "secrets", "secret-a", ""), "can only read namespaced object of this type"),
        (asked("delete", "secrets", "secret-a"), "can only read resources of this type"),
        (asked("get", "configmaps", "map-a", sub="x"), "cannot read subresource"),
        (asked("list", "persistentvolumeclaims", "claim-a"), "can only get individual resources of this type"),
        (asked("get", "persistentvolumeclaims", "claim-a", sub="status"), "can only get/update/patch this type"),
        (asked("patch", "persistentvolumeclaims", "claim-b", sub="status"), NO_RELATION),
        (asked("get", "persistentvolumes", "volume-b", ""), NO_RELATION),
        (asked("get", "volumeattachments", "attachment-b", "", group=STORAGE), NO_RELATION),
        (asked("list", "serviceaccounts"), "can only create tokens for individual service accounts"),
        (
            asked("create", "serviceaccounts", "account-a"),
            "can only create token subresource of serviceaccount",
        ),
        (asked("create", "serviceaccounts", "account-b", sub="token"), NO_RELATION),
        (asked("get", "pods", "pod-b"), NO_RELATION),
        (asked("list", "pods", namespace=""), "can only list/watch pods with spec.nodeName field selector"),
        (asked("list", "pods", namespace="", node="b"), "can only list/watch pods with spec.nodeName field selector"),
        (asked("update", "pods", "pod-a"), ""),
        (asked("list", "nodes", "", ""), "node 'a' cannot read all nodes, only its own Node object"),
        (asked("get", "nodes", "b", ""), "node 'a' cannot read 'b', only its own Node object"),
        (asked("delete", "nodes", "a", ""), ""),
        (
            asked("get", "leases", "b", "kube-node-lease", group="coordination.k8s.io"),
            "can only access node lease with the same name as the requesting node",
        ),
        (
            asked("get", "leases", "a", "kube-system", group="coordination.k8s.io"),
            'can only access leases in the "kube-node-lease" system namespace',
        ),
        (
            asked("list", "leases", "", "kube-node-lease", group="coordination.k8s.io"),
            "can only get, create, update, patch, or delete a node lease",
        ),
        (
            asked("get", "csinodes", "b", "", group=STORAGE),
            "can only access CSINode with the same name as the requesting node",
        ),
        (
            asked("list", "csinodes", "", "", group=STORAGE),
            "can only get, create, update, patch, or delete a CSINode",
        ),
        (asked("get", "csinodes", "a", "", group=STORAGE, sub="status"), "cannot authorize CSINode subresources"),
        (asked("create", "resourceslices", "", "", group=DEVICES), None),
        (
            asked("get", "resourceslices", "slice-a", "", group=DEVICES, sub="status"),
            "cannot authorize ResourceSlice subresources",
        ),
        (
            asked("bind", "resourceslices", "slice-a", "", group=DEVICES),
            "only the following verbs are allowed for a ResourceSlice: "
            "get, watch, list, create, update, patch, delete, deletecollection",
        ),
        (asked("get", "resourceslices", "slice-b", "", group=DEVICES), NO_RELATION),
        (
            asked("list", "resourceslices", "", "", group=DEVICES, node="b"),
            "can only list/watch/deletecollection resourceslices with nodeName field selector",
        ),
    ],
)
def test_judges_by_relation(authorizer, attributes, reason):
    decision = authorizer.authorize(node_user("a"), attributes)
    assert (decision.allowed, decision.reason) == (reason is None, reason or "")


def test_has_no_opinion_of_others(authorizer):
    read = asked("get", "secrets", "secret-a")
    for user in (User("jane"), User("system:node:a"), User("a", groups=("system:nodes",))):
        assert authorizer.authorize(user, read) == (False, "")
    unnamed = authorizer.authorize(node_user(""), read)
    assert unnamed == (False, 'unknown node for user "system:node:"')
    assert not authorizer.authorize(node_user("unregistered"), read).allowed


def test_is_told_of_changes(authorizer):
    user, read = node_user("a"), asked("get", "pods", "pod-a")
    authorizer.discard(PODS, "ns", "pod-a")
    assert not authorizer.authorize(user, read).allowed
    authorizer.replace(PODS, [pod("pod-a", "a")])
    assert authorizer.authorize(user, read).allowed
    assert not authorizer.authorize(user, asked("get", "secrets", "secret-a")).allowed
    authorizer.put(RESOURCE_SLICES, {"metadata": {"name": "slice-a"}, "spec": {"allNodes": True}})
    assert not authorizer.authorize(user, asked("get", "resourceslices", "slice-a", "", group=DEVICES)).allowed
    with pytest.raises(ValueError, match="nodes are not related to secrets"):
        authorizer.put(Gvr("", "v1", "secrets"), {"metadata": {"name": "x"}})


def test_follows_pods():
    graph = Graph()

    def reads(node, name):
        return graph.leads_to(node, "secrets", "ns", name)

    graph.put(PODS, pod("p", secrets=["s"]))
    assert not reads("a", "s")
    graph.put(PODS, pod("p", "a", secrets=["s"]))
    graph.put(PODS, pod("q", "a", secrets=["s"]))
    assert reads("a", "s")
    graph.discard(PODS, "ns", "p")
    assert reads("a", "s")
    graph.discard(PODS, "ns", "q")
    graph.discard(PODS, "ns", "q")
    assert not reads("a", "s")

    graph.put(PODS, pod("p", "a", uid="1"))
    graph.put(PODS, pod("p", "a", uid="1", debugged=["d"]))
    assert reads("a", "d")
    graph.put(PODS, pod("p", "b", uid="2", secrets=["s"]))
    assert reads("b", "s")
    assert not reads("a", "d")
    graph.put(PODS, pod("p", uid="3", secrets=["s"]))
    assert not reads("b", "s")


def test_follows_made_device_claims():
    graph = Graph()
    one = pod("p", "a")
    one["spec"]["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": "t"}]
    graph.put(PODS, one)
    one["status"] = {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "p-gpu-1"}]}
    graph.put(PODS, one)
    assert graph.leads_to("a", "resourceclaims", "ns", "p-gpu-1")
    two = pod("q", "a")
    two["status"] = {"extendedResourceClaimStatus": {"resourceClaimName": "q-ext"}}
    graph.put(PODS, two)
    assert graph.leads_to("a", "resourceclaims", "ns", "q-ext")


def test_mirror_pods_give_nothing():
    graph = Graph()
    graph.put(PODS, pod("p", "a", secrets=["s"], account="x", mirror=True))
    assert not graph.leads_to("a", "secrets", "ns", "s")
    assert not graph.leads_to("a", "serviceaccounts", "ns", "x")
    assert graph.leads_to("a", "pods", "ns", "p")


@pytest.mark.parametrize(
    ("source", "secret"),
    [
        ({"azureFile": {"secretName": "s"}}, ("ns", "s")),
        ({"azureFile": {"secretName": "s", "secretNamespace": "other"}}, ("other", "s")),
        ({"cephfs": {"secretRef": {"name": "s"}}}, ("ns", "s")),
        ({"rbd": {"secretRef": {"name": "s", "namespace": "other"}}}, ("other", "s")),
        ({"storageos": {"secretRef": {"name": "s", "namespace": "other"}}}, ("other", "s")),
        ({"csi": {"nodePublishSecretRef": {"name": "s", "namespace": "other"}}}, ("other", "s")),
        ({"csi": {"nodeExpandSecretRef": {"name": "s", "namespace": "other"}}}, ("other", "s")),
    ],
)
def test_follows_volumes_to_secrets(source, secret):
    graph = Graph()
    graph.put(PERSISTENT_VOLUMES, volume("v", "c", **source))
    assert not graph.leads_to("a", "secrets", *secret)
    graph.put(PODS, pod("p", "a", claims=["c"]))
    assert graph.leads_to("a", "secrets", *secret)
    assert not graph.leads_to("b", "secrets", *secret)
    graph.put(PERSISTENT_VOLUMES, volume("v", **source))
    assert not graph.leads_to("a", "secrets", *secret)
    graph.put(PERSISTENT_VOLUMES, volume("v", "c", **source))
    graph.discard(PERSISTENT_VOLUMES, "", "v")
    assert not graph.leads_to("a", "secrets", *secret)


def test_is_replaced():
    graph = Graph()
    for gvr in GVRS:
        objects = [on_node("x", "a"), on_node("y", "a")]
        if gvr == PODS:
            objects = [pod("x", "a"), pod("y", "a")]
        elif gvr == PERSISTENT_VOLUMES:
            graph.put(PODS, pod("p", "a", claims=["c"]))
            objects = [volume("x", "c"), volume("y", "c")]
        namespace = "ns" if gvr == PODS else ""
        graph.replace(gvr, objects)
        assert graph.leads_to("a", gvr.resource, namespace, "x")
        graph.replace(gvr, objects[1:])
        assert not graph.leads_to("a", gvr.resource, namespace, "x")
        assert graph.leads_to("a", gvr.resource, namespace, "y")


NAMES = st.sampled_from(["x", "y", "z"])
WORDS = st.lists(NAMES, max_size=3)
PLACES = st.sampled_from(["", "a", "b"])
STEPS = st.one_of(
    st.builds(lambda name: ("discard", PODS, "ns", name), NAMES),
    st.builds(lambda name: ("discard", PERSISTENT_VOLUMES, "", name), NAMES),
    st.builds(
        lambda name, node, secrets, claims, uid: (
            "put",
            PODS,
            pod(name, node, secrets=secrets, claims=claims, uid=f"{uid} {node} {secrets} {claims}"),
        ),
        NAMES,
        PLACES,
        WORDS,
        WORDS,
        st.integers(0, 1),
    ),
    st.builds(
        lambda name, claim, secret: (
            "put",
            PERSISTENT_VOLUMES,
            volume(name, claim, cephfs={"secretRef": {"name": secret}}),
        ),
        NAMES,
        st.sampled_from(["", "x", "y"]),
        NAMES,
    ),
)


@given(st.lists(STEPS, max_size=20))
def test_history_does_not_matter(steps):
    graph, pods, volumes = Graph(), {}, {}
    for kind, gvr, *rest in steps:
        objects = pods if gvr == PODS else volumes
        if kind == "put":
            graph.put(gvr, rest[0])
            objects[rest[0]["metadata"]["name"]] = rest[0]
        else:
            graph.discard(gvr, *rest)
            objects.pop(rest[1], None)

    def expected(node, resource, name):
        for one in pods.values():
            if one["spec"].get("nodeName") != node:
                continue
            named = one["spec"]["volumes"]
            claims = {each["persistentVolumeClaim"]["claimName"] for each in named if "persistentVolumeClaim" in each}
            bound = {
                key: each for key, each in volumes.items() if (each["spec"].get("claimRef") or {}).get("name") in claims
            }
            found = {
                "secrets": {each["secret"]["secretName"] for each in named if "secret" in each}
                | {each["spec"]["cephfs"]["secretRef"]["name"] for each in bound.values()},
                "persistentvolumeclaims": claims,
                "persistentvolumes": set(bound),
                "pods": {one["metadata"]["name"]},
            }
            if name in found[resource]:
                return True
        return False

    for node in ("a", "b"):
        for resource in ("secrets", "persistentvolumeclaims", "persistentvolumes", "pods"):
            namespace = "" if resource == "persistentvolumes" else "ns"
            for name in ("x", "y", "z"):
                assert graph.leads_to(node, resource, namespace, name) == expected(node, resource, name)
    for kind, gvr, *rest in steps:
        if kind == "put":
            graph.discard(gvr, rest[0]["metadata"].get("namespace", ""), rest[0]["metadata"]["name"])
    assert not graph._named
    assert not graph._secrets
