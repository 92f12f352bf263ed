import pytest

from cybernetes.core.admission.pod_resize import PodResizeValidator
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import NODES, PODS


def node(system="linux"):
    return {
        "metadata": {"name": "n", "labels": {"kubernetes.io/os": system}},
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}},
    }


def pod(cpu="1", memory="512Mi", node_name="n"):
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]
    return {
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": containers, **({"nodeName": node_name} if node_name else {})},
    }


def judge(world, new, old=None, subresource="resize"):
    PodResizeValidator().validate(world.write(PODS, new, old=old or pod(), subresource=subresource), world)


@pytest.mark.parametrize(
    ("new", "system", "text", "reason"),
    [
        (
            pod("2100m", "2Gi"),
            "linux",
            "node didn't have enough allocatable resources: cpu, requested: 2100, allocatable: 2000; "
            "memory, requested: 2147483648, allocatable: 1073741824",
            "NodeCapacity",
        ),
        (
            pod("1500m"),
            "windows",
            'pod resize is only supported on linux nodes, node "n" is "windows"',
            "UnsupportedPlatform",
        ),
    ],
)
def test_refuses(world, new, system, text, reason):
    world.put(NODES, node(system))
    with pytest.raises(ApiError) as caught:
        judge(world, new)
    assert caught.value.message == f'pods "p" is forbidden: {text}'
    assert caught.value.status["details"]["causes"] == [{"reason": reason}]


def test_lets_pass(world):
    judge(world, pod("9", node_name=""), pod(node_name=""))
    judge(world, pod())
    judge(world, pod("9"), subresource="status")
    with pytest.raises(ApiError, match='node "n" not found'):
        judge(world, pod("1500m"))
    world.put(NODES, node())
    judge(world, pod("2", "1Gi"))
