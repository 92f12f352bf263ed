import pytest

from cybernetes.core.admission.limit_ranger import LimitRanger
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import LIMIT_RANGES, PERSISTENT_VOLUME_CLAIMS, PODS


def container(name="c", requests=None, limits=None, **more):
    resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
    return {"name": name, **({"resources": resources} if resources else {}), **more}


def pod(*containers, inits=()):
    spec = {"containers": list(containers)}
    if inits:
        spec["initContainers"] = list(inits)
    return {"metadata": {"name": "p"}, "spec": spec}


def limit_range(name="l", kind="Container", **limits):
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"limits": [{"type": kind, **limits}]}}


def admit(world, obj, gvr=PODS, **more):
    attributes = world.write(gvr, obj, **more)
    LimitRanger().admit(attributes, world)
    LimitRanger().validate(attributes, world)
    return attributes.obj


def test_defaults(world):
    world.put(LIMIT_RANGES, limit_range(default={"cpu": "2", "memory": "2Gi"}, defaultRequest={"cpu": "1"}))
    made = admit(world, pod(container("a"), container("b", limits={"cpu": "3"}), inits=[container("i", {"cpu": "5m"})]))
    assert made["spec"]["containers"] == [
        container("a", {"cpu": "1"}, {"cpu": "2", "memory": "2Gi"}),
        container("b", {"cpu": "1"}, {"cpu": "3", "memory": "2Gi"}),
    ]
    assert made["spec"]["initContainers"] == [container("i", {"cpu": "5m"}, {"cpu": "2", "memory": "2Gi"})]
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; cpu request for "
        "container b; memory limit for container b; cpu, memory limit for init container i"
    )


def test_what_is_left_alone(world):
    world.put(LIMIT_RANGES, limit_range(default={"cpu": "2"}, max={"cpu": "1"}))
    assert admit(world, pod(container()), namespace="other") == pod(container())
    assert admit(world, pod(container()), old=pod(container())) == pod(container())
    assert admit(world, pod(container()), subresource="status") == pod(container())


@pytest.mark.parametrize(
    ("limits", "made", "text"),
    [
        ({"min": {"cpu": "100m"}}, container(), "minimum cpu usage per Container is 100m.  No request is specified"),
        (
            {"min": {"cpu": "100m"}},
            container(requests={"cpu": "50m"}),
            "minimum cpu usage per Container is 100m, but request is 50m",
        ),
        (
            {"min": {"cpu": "100m"}},
            container(requests={"cpu": "1"}, limits={"cpu": "50m"}),
            "minimum cpu usage per Container is 100m, but limit is 50m",
        ),
        ({"max": {"memory": "1Gi"}}, container(), "maximum memory usage per Container is 1Gi.  No limit is specified"),
        (
            {"max": {"memory": "1Gi"}},
            container(limits={"memory": "2Gi"}),
            "maximum memory usage per Container is 1Gi, but limit is 2Gi",
        ),
        (
            {"max": {"memory": "1Gi"}},
            container(requests={"memory": "1.5Gi"}, limits={"memory": "1Gi"}),
            "maximum memory usage per Container is 1Gi, but request is 1536Mi",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            container(),
            "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            container(requests={"cpu": "1"}),
            "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            container(requests={"cpu": "1"}, limits={"cpu": "2500m"}),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
        ),
        (
            {"min": {"cpu": "1", "memory": "1Gi"}},
            container(),
            "[minimum cpu usage per Container is 1.  No request is specified, "
            "minimum memory usage per Container is 1Gi.  No request is specified]",
        ),
    ],
)
def test_bounds_of_containers(world, limits, made, text):
    world.put(LIMIT_RANGES, limit_range(**limits))
    for obj in (
        pod(made),
        pod(container("ok", {"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"}), inits=[made]),
    ):
        with pytest.raises(ApiError) as caught:
            admit(world, obj)
        assert caught.value.message == f'pods "p" is forbidden: {text}'


def test_bounds_of_pods(world):
    world.put(LIMIT_RANGES, limit_range(kind="Pod", max={"cpu": "2"}))
    admit(world, pod(container("a", limits={"cpu": "1"}), container("b", limits={"cpu": "1"})))
    sidecar = container("s", limits={"cpu": "1"}, restartPolicy="Always")
    with pytest.raises(ApiError, match="maximum cpu usage per Pod is 2, but limit is 3"):
        admit(world, pod(container("a", limits={"cpu": "1"}), inits=[sidecar, container("i", limits={"cpu": "2"})]))


def test_a_resize_is_checked(world):
    world.put(LIMIT_RANGES, limit_range(max={"cpu": "1"}))
    old = pod(container(limits={"cpu": "1"}))
    with pytest.raises(ApiError, match="but limit is 2"):
        admit(world, pod(container(limits={"cpu": "2"})), old=old, subresource="resize")
    admit(
        world,
        pod(container(limits={"cpu": "2"})),
        old={**old, "metadata": {"deletionTimestamp": "x"}},
        subresource="resize",
    )


def claim(size):
    return {"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": size}}}}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ("1Gi", "minimum storage usage per PersistentVolumeClaim is 2Gi, but request is 1Gi"),
        ("20Gi", "maximum storage usage per PersistentVolumeClaim is 10Gi, but request is 20Gi"),
    ],
)
def test_claims(world, size, text):
    world.put(LIMIT_RANGES, limit_range(kind="PersistentVolumeClaim", min={"storage": "2Gi"}, max={"storage": "10Gi"}))
    admit(world, claim("5Gi"), PERSISTENT_VOLUME_CLAIMS)
    with pytest.raises(ApiError) as caught:
        admit(world, claim(size), PERSISTENT_VOLUME_CLAIMS)
    assert caught.value.message == f'persistentvolumeclaims "c" is forbidden: {text}'
