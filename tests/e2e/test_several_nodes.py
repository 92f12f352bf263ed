"""Several real nodes on one machine: everyone reaches everyone, whichever node they are on, and nothing is left."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realcluster import Cluster, eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("docker")]


def pod(name: str, node: str, container: str, *, port: int = 8080, host_network: bool = False) -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: web}}}}
spec:
  nodeName: {node}
  hostNetwork: {str(host_network).lower()}
  dnsPolicy: ClusterFirstWithHostNet
  terminationGracePeriodSeconds: 1
  containers:
  - {container}
    ports: [{{name: web, containerPort: {port}}}]
    readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}
---"""


#: No two clusters share a range, not even one after the other.
_NUMBERS = itertools.count(os.getpid())


@pytest.fixture(
    scope="module",
    params=["process", pytest.param("docker", marks=pytest.mark.docker)],
)
def nodes(
    request: pytest.FixtureRequest, new_cluster: Callable[[], Cluster], ranges: Callable[[], tuple[str, str]]
) -> Iterator[Cluster]:
    """Two nodes; on each a pod and one in the node's own network, and a Service before the first two."""
    cluster = new_cluster()
    services, pods = ranges()
    node_cidr = f"10.79.{next(_NUMBERS) % 250}.0/24"
    cluster.up(
        *("--runtime", request.param, "--nodes", "2"),
        *("--service-cidr", services, "--pod-cidr", pods, "--node-cidr", node_cidr),
    )
    image = request.getfixturevalue("image") if request.param == "docker" else "host"

    texts = []
    for number in (1, 2):
        for host_network in (False, True):
            port = 18080 if host_network else 8080
            if request.param == "docker":
                command = f'[sh, -c, "mkdir /www; hostname > /www/index.html; exec httpd -f -p {port} -h /www"]'
            else:
                serve = f"mkdir /tmp/www; cd /tmp/www; hostname > index.html; exec python3 -m http.server {port}"
                command = f'[sh, -c, "{serve}"]'
            container = f"name: c\n    image: {image}\n    command: {command}"
            kind = "own" if host_network else "pod"
            text = pod(f"{kind}-{number}", f"node-{number}", container, port=port, host_network=host_network)
            texts.append(text.replace("app: web", "app: own") if host_network else text)
    service = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: web}]}
"""
    cluster.kubectl("apply", "-f", "-", stdin="\n".join(texts) + service)
    names = [f"pod/{kind}-{number}" for kind in ("pod", "own") for number in (1, 2)]
    cluster.kubectl("wait", "--for=condition=Ready", *names, "--timeout=90s", timeout_s=100)
    yield cluster
    cluster.down()  # before the next one starts: both would listen at the ports of the host


def has_docker(cluster: Cluster) -> bool:
    version: str = cluster.get("node", "node-2")["status"]["nodeInfo"]["containerRuntimeVersion"]
    return version.startswith("docker")


def fetch(cluster: Cluster, asked: Iterable[str]) -> tuple[str, ...]:
    """A command that prints, for each place, what is served there. Debian's static busybox dies of its own wget."""
    if has_docker(cluster):
        one = r"echo {0}:{1} $(printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 30 {0} {1} | tail -n 1)"
        return "sh", "-c", "; ".join(one.format(*where.rsplit(":", 1)) for where in asked)
    script = "import sys, urllib.request as u\nfor where in sys.argv[1:]: "
    script += "print(where, u.urlopen(f'http://{where}/', timeout=30).read().decode().strip())"
    return "python3", "-c", script, *asked


def node_address(cluster: Cluster, name: str) -> str:
    found: list[dict[str, str]] = cluster.get("node", name)["status"]["addresses"]
    return next(address["address"] for address in found if address["type"] == "InternalIP")


def everywhere(cluster: Cluster) -> dict[str, set[str]]:
    """Where to ask -> who may answer."""
    found: dict[str, set[str]] = {}
    for item in cluster.get("pods")["items"]:
        name, ip = item["metadata"]["name"], item["status"]["podIP"]
        found[f"{ip}:18080" if name.startswith("own") else f"{ip}:8080"] = {name.replace("own", "node")}
    service = cluster.get("service", "web")["spec"]
    found[f"{service['clusterIP']}:80"] = {"pod-1", "pod-2"}
    for number in (1, 2):
        found[f"{node_address(cluster, f'node-{number}')}:{service['ports'][0]['nodePort']}"] = {"pod-1", "pod-2"}
    return found


def test_nodes_have_addresses_and_pods_of_their_own(nodes: Cluster) -> None:
    first, second = (nodes.get("node", f"node-{number}") for number in (1, 2))
    assert first["spec"]["podCIDR"] != second["spec"]["podCIDR"]
    assert node_address(nodes, "node-1") != node_address(nodes, "node-2")
    for number in (1, 2):
        own = nodes.get("pod", f"own-{number}")["status"]
        assert own["podIP"] == own["hostIP"] == node_address(nodes, f"node-{number}")


def test_the_host_reaches_everything(nodes: Cluster) -> None:
    def ask(where: str) -> str:
        with urllib.request.urlopen(f"http://{where}/", timeout=30) as answer:
            text: str = answer.read().decode().strip()
            return text

    for where, expected in everywhere(nodes).items():
        assert ask(where) in expected, where


@pytest.mark.parametrize("name", ["pod-1", "pod-2", "own-1", "own-2"])
def test_pods_of_both_nodes_reach_everything(nodes: Cluster, name: str) -> None:
    asked = everywhere(nodes) | {"web.default.svc.cluster.local:80": {"pod-1", "pod-2"}}
    said = nodes.kubectl("exec", name, "--", *fetch(nodes, asked))
    answers = dict(line.split(" ")[:2] for line in said.out.splitlines() if " " in line)
    assert {where for where in asked if answers.get(where) not in asked[where]} == set(), said


def test_pods_of_both_nodes_keep_their_address_among_each_other(nodes: Cluster) -> None:
    address = nodes.get("pod", "pod-1")["status"]["podIP"]
    if has_docker(nodes):
        pytest.skip("busybox keeps no record of who asked")
    nodes.kubectl("exec", "pod-1", "--", *fetch(nodes, [f"{pod_ip(nodes, 'pod-2')}:8080"]))
    eventually(lambda: address in nodes.kubectl("logs", "pod-2").out)


def pod_ip(cluster: Cluster, name: str) -> str:
    ip: str = cluster.get("pod", name)["status"]["podIP"]
    return ip


def test_logs_exec_and_port_forward_on_the_second_node(nodes: Cluster) -> None:
    assert nodes.kubectl("exec", "pod-2", "--", "hostname").out.strip() == "pod-2"
    assert nodes.kubectl("exec", "own-2", "--", "hostname").out.strip() == "node-2"
    forward = nodes.start("port-forward", "pod/pod-2", ":8080")
    try:
        assert forward.stdout is not None
        port = forward.stdout.readline().split(":")[1].split(" ")[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            assert answer.read().decode().strip() == "pod-2"
    finally:
        forward.send_signal(signal.SIGINT)
        forward.communicate(timeout=10)


def test_a_node_process_that_is_killed_finds_its_network_again(nodes: Cluster) -> None:
    before = {name: container(nodes, name) for name in ("pod-2", "own-2")}
    pid_file = nodes.data_dir / "nodes" / "node-2" / "pid"
    pid = int(pid_file.read_text())
    os.kill(pid, signal.SIGKILL)
    with urllib.request.urlopen(f"http://{pod_ip(nodes, 'pod-2')}:8080/", timeout=30) as answer:
        assert answer.read().decode().strip() == "pod-2"
    eventually(lambda: pid_file.read_text() not in ("", f"{pid}\n"))
    eventually(lambda: nodes.kubectl("exec", "pod-2", "--", "hostname", check=False).out.strip() == "pod-2")
    node_port = nodes.get("service", "web")["spec"]["ports"][0]["nodePort"]
    where = f"http://{node_address(nodes, 'node-2')}:{node_port}/"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(where, timeout=30) as answer:
                return bool(answer.read())
        except urllib.error.URLError:
            return False

    eventually(answers)
    assert {name: container(nodes, name) for name in ("pod-2", "own-2")} == before


def container(cluster: Cluster, name: str) -> Any:
    status = cluster.get("pod", name)["status"]
    return [(item["containerID"], item["restartCount"]) for item in status["containerStatuses"]]


def test_nothing_is_left(nodes: Cluster) -> None:
    first = f" {node_address(nodes, 'node-1')}/"
    switch = next(line.split()[1] for line in ip("-o", "address").splitlines() if first in line)
    tag = switch.removesuffix("-nodes")
    assert tag != switch and tag in ip("-o", "link")
    addresses = [pod_ip(nodes, name) for name in ("pod-1", "pod-2")]
    nodes.down()
    assert not [line for line in ip("-o", "link").splitlines() if tag in line]
    assert not [line for line in ip("route").splitlines() if tag in line or any(a in line for a in addresses)]
    assert str(nodes.data_dir) not in Path("/proc/self/mountinfo").read_text()
    assert nodes.processes() == {}


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout
