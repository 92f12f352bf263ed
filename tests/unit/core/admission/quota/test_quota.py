import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.admission.amounts import add, pod_amounts, read, subtract, written
from cybernetes.core.admission.quota import ResourceQuota, is_counted, matches, resource_names, usage
from cybernetes.core.clock import format_time
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICES,
    Gvr,
)
from cybernetes.core.quantity import parse

CLAIMS = Gvr("resource.k8s.io", "v1", "resourceclaims")
NOW = 1_700_000_000.0


def container(name="c", requests=None, limits=None, **more):
    return {"name": name, "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


def pod(*containers, status=None, metadata=None, **spec):
    listed = list(containers) or [container()]
    return {
        "metadata": {"name": "p", **(metadata or {})},
        "spec": {"containers": listed, **spec},
        "status": status or {},
    }


def quota(hard, used=None, name="q", **spec):
    used = dict.fromkeys(hard, "0") if used is None else used
    metadata = {"name": name, "namespace": "default", "resourceVersion": "7"}
    return {"metadata": metadata, "spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used}}


def used_by(gvr, obj, now=NOW):
    return written(usage(gvr, obj, now))


def charge(world, gvr, obj, **more):
    return [each["status"]["used"] for each in ResourceQuota().charge(world.write(gvr, obj, **more), world)]


def refusal(world, gvr, obj, **more):
    with pytest.raises(ApiError) as caught:
        charge(world, gvr, obj, **more)
    assert caught.value.code == 403
    return caught.value.message.partition(" is forbidden: ")[2]


def test_what_a_pod_uses():
    made = pod(
        container("a", {"cpu": "500m", "memory": "1Gi", "example.com/gpu": "2", "hugepages-2Mi": "4Mi"}, {"cpu": "1"}),
        container("b", {"cpu": "500m", "ephemeral-storage": "1Gi"}),
        initContainers=[container("i", {"memory": "3Gi"}), container("s", {"cpu": "1"}, restartPolicy="Always")],
        overhead={"cpu": "100m", "memory": "1Mi"},
    )
    assert used_by(PODS, made) == {
        "count/pods": "1",
        "cpu": "2100m",
        "ephemeral-storage": "1Gi",
        "hugepages-2Mi": "4Mi",
        "limits.cpu": "1100m",
        "memory": "3073Mi",
        "pods": "1",
        "requests.cpu": "2100m",
        "requests.ephemeral-storage": "1Gi",
        "requests.example.com/gpu": "2",
        "requests.hugepages-2Mi": "4Mi",
        "requests.memory": "3073Mi",
    }


def test_pods_that_have_ended_use_only_their_place():
    assert used_by(PODS, pod(status={"phase": "Succeeded"})) == {"count/pods": "1"}
    deleted = {"deletionTimestamp": format_time(NOW), "deletionGracePeriodSeconds": 30}
    assert "pods" in used_by(PODS, pod(metadata=deleted), NOW + 30)
    assert used_by(PODS, pod(metadata=deleted), NOW + 31) == {"count/pods": "1"}


def test_a_pod_that_is_resized_uses_the_most():
    statuses = [{"name": "c", "resources": {"requests": {"cpu": "2"}}, "allocatedResources": {"cpu": "3"}}]
    made = pod(container(requests={"cpu": "1"}), status={"containerStatuses": statuses})
    assert str(pod_amounts(made, "requests", uses_status=True)["cpu"]) == "3"
    assert str(pod_amounts(made, "requests")["cpu"]) == "1"
    made["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "9"
    made["status"]["conditions"] = [{"type": "PodResizePending", "reason": "Infeasible"}]
    assert str(pod_amounts(made, "requests", uses_status=True)["cpu"]) == "3"


def test_pod_level_resources():
    made = pod(container(requests={"cpu": "1", "x.io/y": "1"}), resources={"requests": {"cpu": "5", "x.io/y": "9"}})
    assert written(pod_amounts(made, "requests")) == {"cpu": "5", "x.io/y": "1"}


@pytest.mark.parametrize(
    ("spec", "node_ports", "balancers"),
    [
        ({"type": "ClusterIP", "ports": [{}, {}]}, "0", "0"),
        ({"type": "NodePort", "ports": [{}, {}]}, "2", "0"),
        ({"type": "LoadBalancer", "ports": [{}, {}]}, "2", "1"),
        (
            {"type": "LoadBalancer", "ports": [{"nodePort": 30000}, {}], "allocateLoadBalancerNodePorts": False},
            "1",
            "1",
        ),
    ],
)
def test_what_a_service_uses(spec, node_ports, balancers):
    assert used_by(SERVICES, {"metadata": {"name": "s"}, "spec": spec}) == {
        "count/services": "1",
        "services": "1",
        "services.loadbalancers": balancers,
        "services.nodeports": node_ports,
    }


def claim(size="1Gi", class_name=None, status=None, **spec):
    made = {"resources": {"requests": {"storage": size}}, **spec}
    if class_name:
        made["storageClassName"] = class_name
    return {"metadata": {"name": "c"}, "spec": made, "status": status or {}}


def test_what_a_claim_uses():
    assert used_by(PERSISTENT_VOLUME_CLAIMS, claim(class_name="gold")) == {
        "count/persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
        "persistentvolumeclaims": "1",
        "requests.storage": "1Gi",
    }
    assert used_by(PERSISTENT_VOLUME_CLAIMS, claim("500m"))["requests.storage"] == "1"
    grown = claim(status={"allocatedResources": {"storage": "2Gi"}})
    assert used_by(PERSISTENT_VOLUME_CLAIMS, grown)["requests.storage"] == "2Gi"


def test_what_a_device_claim_uses():
    requests = [
        {"exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}},
        {
            "firstAvailable": [
                {"deviceClassName": "gpu", "count": 3},
                {"deviceClassName": "gpu", "count": 1},
                {"deviceClassName": "fpga", "allocationMode": "All"},
            ]
        },
    ]
    assert used_by(CLAIMS, {"metadata": {"name": "c"}, "spec": {"devices": {"requests": requests}}}) == {
        "count/resourceclaims.resource.k8s.io": "1",
        "fpga.deviceclass.resource.k8s.io/devices": "32",
        "gpu.deviceclass.resource.k8s.io/devices": "5",
    }


def test_everything_else_is_counted():
    assert used_by(SECRETS, {}) == {"count/secrets": "1", "secrets": "1"}
    assert used_by(DEPLOYMENTS, {}) == {"count/deployments.apps": "1"}
    assert not is_counted(EVENTS)
    assert is_counted(CONFIG_MAPS)


def test_names():
    every = [
        "pods",
        "count/pods",
        "requests.example.com/gpu",
        "requests.storage",
        "hugepages-2Mi",
        "secrets",
        "services",
        "gold.storageclass.storage.k8s.io/requests.storage",
        "requests.cpu",
        "count/deployments.apps",
        "cpu",
    ]
    assert resource_names(PODS, every) == [
        "count/pods",
        "cpu",
        "hugepages-2Mi",
        "pods",
        "requests.cpu",
        "requests.example.com/gpu",
    ]
    assert resource_names(PERSISTENT_VOLUME_CLAIMS, every) == [
        "gold.storageclass.storage.k8s.io/requests.storage",
        "requests.storage",
    ]
    assert resource_names(DEPLOYMENTS, every) == ["count/deployments.apps"]


def selector(name, operator, *values):
    return {"scopeSelector": {"matchExpressions": [{"scopeName": name, "operator": operator, "values": list(values)}]}}


GUARANTEED = container(requests={"cpu": "1", "memory": "1Gi"}, limits={"cpu": "1", "memory": "1Gi"})
TERM = {"labelSelector": {}, "topologyKey": "x"}


@pytest.mark.parametrize(
    ("spec", "obj", "expected"),
    [
        ({"scopes": ["BestEffort"]}, pod(), True),
        ({"scopes": ["BestEffort"]}, pod(GUARANTEED), False),
        ({"scopes": ["NotBestEffort"]}, pod(GUARANTEED), True),
        ({"scopes": ["Terminating"]}, pod(activeDeadlineSeconds=5), True),
        ({"scopes": ["NotTerminating"]}, pod(activeDeadlineSeconds=5), False),
        ({"scopes": ["NotTerminating", "BestEffort"]}, pod(), True),
        ({"scopes": ["PriorityClass"]}, pod(priorityClassName="high"), True),
        ({"scopes": ["PriorityClass"]}, pod(), False),
        (selector("PriorityClass", "In", "high", "low"), pod(priorityClassName="high"), True),
        (selector("PriorityClass", "In", "low"), pod(priorityClassName="high"), False),
        (selector("PriorityClass", "NotIn", "low"), pod(priorityClassName="high"), True),
        (selector("PriorityClass", "DoesNotExist"), pod(), True),
        ({"scopes": ["CrossNamespacePodAffinity"]}, pod(), False),
        (
            {"scopes": ["CrossNamespacePodAffinity"]},
            pod(
                affinity={
                    "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{**TERM, "namespaces": ["x"]}]}
                }
            ),
            True,
        ),
        (
            {"scopes": ["CrossNamespacePodAffinity"]},
            pod(
                affinity={
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"podAffinityTerm": {**TERM, "namespaceSelector": {}}}
                        ]
                    }
                }
            ),
            True,
        ),
        ({"scopes": ["Nonsense"]}, pod(), False),
    ],
)
def test_scopes_of_pods(spec, obj, expected):
    assert matches(quota({"pods": "1"}, **spec), PODS, obj) is expected


def test_scopes_of_claims_and_others():
    by_class = quota({"requests.storage": "1Gi"}, **selector("VolumeAttributesClass", "In", "gold"))
    assert matches(by_class, PERSISTENT_VOLUME_CLAIMS, claim(volumeAttributesClassName="gold"))
    assert not matches(by_class, PERSISTENT_VOLUME_CLAIMS, claim(volumeAttributesClassName="tin"))
    assert not matches(
        quota({"services": "1"}, scopes=["BestEffort"]), SERVICES, {"metadata": {"name": "s"}, "spec": {}}
    )


def test_charging(world):
    world.put(
        RESOURCE_QUOTAS,
        quota(
            {"pods": "2", "requests.memory": "4Gi", "services": "1"},
            {"pods": "1", "requests.memory": "1Gi", "services": "0"},
        ),
    )
    world.put(RESOURCE_QUOTAS, quota({"services": "1"}, name="other"))
    made = pod(container(requests={"memory": "512Mi"}))
    assert charge(world, PODS, made) == [{"pods": "2", "requests.memory": "1536Mi", "services": "0"}]
    assert charge(world, PODS, made, dry_run=True) == []
    assert charge(world, PODS, made, namespace="elsewhere") == []
    assert charge(world, PODS, made, old=made) == []
    assert charge(world, PODS, made, subresource="status") == []
    assert charge(world, EVENTS, {"metadata": {"name": "e"}}) == []
    assert charge(world, PODS, None, old=made, operation="DELETE") == []
    stored = world.get(RESOURCE_QUOTAS, "default", "q")
    assert stored["status"]["used"]["pods"] == "1", "the stored quota is not changed"


def test_no_room(world):
    world.put(RESOURCE_QUOTAS, quota({"pods": "2", "requests.cpu": "1"}, {"pods": "2", "requests.cpu": "500m"}))
    big = pod(container(requests={"cpu": "600m"}))
    assert refusal(world, PODS, big) == (
        "exceeded quota: q, requested: pods=1,requests.cpu=600m, used: pods=2,requests.cpu=500m, limited: "
        "pods=2,requests.cpu=1"
    )
    assert refusal(world, PODS, big, dry_run=True).startswith("exceeded quota: q")


def test_what_has_to_be_stated(world):
    world.put(RESOURCE_QUOTAS, quota({"requests.cpu": "9", "limits.memory": "9Gi", "pods": "9"}))
    assert refusal(world, PODS, pod(container("b"), container("a", {"cpu": "1"}))) == (
        "failed quota: q: must specify limits.memory for: a,b; requests.cpu for: b"
    )
    assert charge(world, PODS, pod(container(), resources={"requests": {"cpu": "1"}})) == [
        {"limits.memory": "0", "pods": "1", "requests.cpu": "1"}
    ]


def test_unknown_usage(world):
    world.put(RESOURCE_QUOTAS, quota({"pods": "2", "count/pods": "3"}, {"pods": "0"}))
    assert refusal(world, PODS, pod()) == "status unknown for quota: q, resources: count/pods,pods"


def test_negative_requests(world):
    world.put(RESOURCE_QUOTAS, quota({"requests.cpu": "2"}))
    assert refusal(world, PODS, pod(container(requests={"cpu": "-1"}))) == (
        "quota usage is negative for resource(s): cpu,requests.cpu"
    )


def test_updates_pay_the_difference(world):
    world.put(
        RESOURCE_QUOTAS,
        quota({"services.nodeports": "3", "services": "5"}, {"services.nodeports": "2", "services": "2"}),
    )

    def service(kind, ports):
        return {"metadata": {"name": "s"}, "spec": {"type": kind, "ports": [{}] * ports}}

    assert charge(world, SERVICES, service("NodePort", 2), old=service("NodePort", 1)) == [
        {"services": "2", "services.nodeports": "3"}
    ]
    assert charge(world, SERVICES, service("NodePort", 1), old=service("NodePort", 2)) == []
    assert refusal(world, SERVICES, service("NodePort", 3), old=service("ClusterIP", 3)).startswith(
        "exceeded quota: q, requested: services.nodeports=3"
    )


def test_a_pod_that_gets_a_deadline_changes_scope(world):
    world.put(RESOURCE_QUOTAS, quota({"pods": "1"}, scopes=["Terminating"]))
    assert charge(world, PODS, pod(activeDeadlineSeconds=5), old=pod()) == [{"pods": "1"}]
    assert charge(world, PODS, pod(), old=pod(activeDeadlineSeconds=5)) == []


def test_claims_may_pass_their_quota_by_status(world):
    world.put(RESOURCE_QUOTAS, quota({"requests.storage": "1Gi"}, {"requests.storage": "1Gi"}))
    grown = claim(status={"allocatedResources": {"storage": "2Gi"}})
    assert charge(world, PERSISTENT_VOLUME_CLAIMS, grown, old=claim(), subresource="status") == [
        {"requests.storage": "2Gi"}
    ]


few_amounts = st.dictionaries(st.sampled_from(["cpu", "memory", "x"]), st.sampled_from(["0", "1", "500m", "1Gi", "3"]))


@given(few_amounts, few_amounts)
def test_arithmetic(first, second):
    left, right = read(first), read(second)
    total = add(left, right)
    assert total.keys() == left.keys() | right.keys()
    assert all(total[name] == left.get(name, parse("0")) + right.get(name, parse("0")) for name in total)
    back = subtract(total, right)
    assert all(back[name] == left.get(name, parse("0")) for name in back)
    assert all(not quantity for quantity in subtract(left, total).values())


def test_what_an_earlier_attempt_counted_is_not_counted_again(world):
    for name in ("first", "second"):
        world.put(RESOURCE_QUOTAS, quota({"pods": "1"}, name=name))
    write = world.write(PODS, pod())
    assert [each["metadata"]["name"] for each in ResourceQuota().charge(write, world)] == ["first", "second"]
    world.put(RESOURCE_QUOTAS, quota({"pods": "1"}, {"pods": "1"}, name="first"))
    assert [each["metadata"]["name"] for each in ResourceQuota().charge(write, world, ["first"])] == ["second"]
