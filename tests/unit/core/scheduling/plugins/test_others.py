"""The small plugins: gates, names, cordons, host ports, images."""

import pytest
from builders import ask, cluster, node, pod

from cybernetes.core.scheduling.plugins.imagelocality import normalized_name
from cybernetes.core.scheduling.plugins.schedulinggates import SchedulingGates


def test_gates() -> None:
    plugin = SchedulingGates()
    assert plugin.pre_enqueue(pod()) is None
    status = plugin.pre_enqueue(pod(schedulingGates=[{"name": "example.com/foo"}, {"name": "example.com/bar"}]))
    assert status is not None
    assert status.message == "waiting for scheduling gates: [example.com/foo example.com/bar]"


def test_node_name() -> None:
    scheduler = cluster([node("a"), node("b")])
    verdict = ask(scheduler, pod(nodeName="b"))
    assert verdict.fits == ["b"]
    assert verdict.refused == {"a": ("node(s) didn't match the requested node name",)}
    assert ask(scheduler, pod("q", nodeName="gone")).fits == []


def test_cordoned_nodes() -> None:
    scheduler = cluster([node("a", unschedulable=True), node("b")])
    assert ask(scheduler, pod()).refused == {"a": ("node(s) were unschedulable",)}
    tolerant = pod(
        "q", tolerations=[{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]
    )
    assert ask(scheduler, tolerant).fits == ["a", "b"]


def ports(*entries: tuple[int, str, str]) -> list[dict]:
    return [{"containerPort": 1, "hostPort": p, "hostIP": ip, "protocol": proto} for p, ip, proto in entries]


@pytest.mark.parametrize(
    ("held", "wanted", "fits"),
    [
        ((80, "", "TCP"), (80, "", "TCP"), False),
        ((80, "", "TCP"), (81, "", "TCP"), True),
        ((80, "", "TCP"), (80, "", "UDP"), True),
        ((80, "127.0.0.1", "TCP"), (80, "127.0.0.2", "TCP"), True),
        ((80, "127.0.0.1", "TCP"), (80, "127.0.0.1", "TCP"), False),
        ((80, "127.0.0.1", "TCP"), (80, "0.0.0.0", "TCP"), False),
        ((80, "0.0.0.0", "TCP"), (80, "127.0.0.1", "TCP"), False),
        ((80, "", ""), (80, "", "TCP"), False),
        ((0, "", "TCP"), (0, "", "TCP"), True),
    ],
)
def test_host_ports(held: tuple, wanted: tuple, fits: bool) -> None:
    scheduler = cluster([node("n")], [pod("x", on="n", ports=ports(held))])
    verdict = ask(scheduler, pod(ports=ports(wanted)))
    assert verdict.fits == (["n"] if fits else [])
    if not fits:
        assert verdict.refused == {"n": ("node(s) didn't have free ports for the requested pod ports",)}


def test_a_port_is_free_again_when_its_pod_is_gone() -> None:
    scheduler = cluster([node("a"), node("b")])
    first = scheduler.schedule(pod("x", ports=ports((80, "", "TCP"))))
    second = scheduler.schedule(pod("y", ports=ports((80, "", "TCP"))))
    assert {first.node, second.node} == {"a", "b"}
    assert scheduler.schedule(pod("z", ports=ports((80, "", "TCP")))).node is None
    scheduler.remove_pod(pod("x"))
    assert scheduler.schedule(pod("z", ports=ports((80, "", "TCP")))).node == first.node


MIB = 1024 * 1024


def test_images_count_by_size_and_spread() -> None:
    nodes = [
        node("big", images={"gcr.io/250:latest": 250 * MIB, "gcr.io/10:latest": 10 * MIB}),
        node("small", images={"gcr.io/40:latest": 40 * MIB}),
    ]
    # (250 * 1/2 - 23) / (1000 - 23)
    assert ask(cluster(nodes), pod(image="gcr.io/250")).score("ImageLocality") == {"big": 10, "small": 0}
    assert ask(cluster(nodes), pod(image="gcr.io/40")).score("ImageLocality") == {"big": 0, "small": 0}
    everywhere = [node(name, images={"gcr.io/250:latest": 250 * MIB}) for name in "ab"]
    assert ask(cluster(everywhere), pod(image="gcr.io/250:latest")).score("ImageLocality") == {"a": 23, "b": 23}


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:1", "nginx:1"),
        ("host:5000/nginx", "host:5000/nginx:latest"),
        ("host:5000/nginx@sha256:ab", "host:5000/nginx@sha256:ab"),
    ],
)
def test_names_of_images(image: str, name: str) -> None:
    assert normalized_name(image) == name
