"""One real node with local processes: a Service that answers, and goes on answering whatever dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from realcluster import CYBERNETES, Cluster, eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("node")]

HELLO = Path(__file__).resolve().parents[2] / "examples" / "hello.yaml"


def ask(address: str, port: int = 80) -> str:
    with urllib.request.urlopen(f"http://{address}:{port}/", timeout=5) as answer:
        text: str = answer.read().decode().strip()
        return text


@pytest.fixture(scope="module")
def hello(node: Cluster) -> Cluster:
    node.kubectl("apply", "-f", str(HELLO))
    node.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    return node


def cluster_ip(cluster: Cluster, name: str = "hello") -> str:
    ip: str = cluster.get("service", name)["spec"]["clusterIP"]
    return ip


def ready_pods(cluster: Cluster) -> list[str]:
    found = []
    for pod in cluster.get("pods", "-l", "app=hello")["items"]:
        conditions = {item["type"]: item["status"] for item in pod["status"].get("conditions", ())}
        if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
            found.append(pod["metadata"]["name"])
    return sorted(found)


def endpoints(cluster: Cluster) -> set[str]:
    found = cluster.get("endpoints", "hello").get("subsets", [])
    return {address["targetRef"]["name"] for subset in found for address in subset.get("addresses", ())}


def pid_in(cluster: Cluster, pod: str) -> int:
    """The host's pid of the pod's first process."""
    uid = cluster.get("pod", pod)["metadata"]["uid"]
    for record in cluster.data_dir.glob("nodes/*/runtime/containers/*/record.json"):
        text = record.read_text()
        if uid in text and not (record.parent / "exit").exists():
            found = re.search(r'"pid":(\d+)', text)
            assert found is not None
            return int(found[1])
    raise AssertionError(f"no container of {pod}")


def test_answers_go_round(hello: Cluster) -> None:
    pods = ready_pods(hello)
    answers = [ask(cluster_ip(hello)).split()[2] for _ in range(6)]
    assert sorted(set(answers)) == pods and len(pods) == 3
    assert all(answers.count(pod) == 2 for pod in pods)


def test_pods_reach_services_and_the_api_by_name(hello: Cluster) -> None:
    script = (
        "import json, ssl, urllib.request as u; "
        "print(u.urlopen('http://hello', timeout=5).read().decode().split()[0]); "
        "d = '/var/run/secrets/kubernetes.io/serviceaccount/'; "
        "r = u.Request('https://kubernetes.default/api/v1/namespaces/default/pods', "
        "headers={'Authorization': 'Bearer ' + open(d + 'token').read()}); "
        "c = ssl.create_default_context(cafile=d + 'ca.crt'); "
        "\ntry: u.urlopen(r, timeout=5, context=c)"
        "\nexcept u.HTTPError as e: print(e.code, json.loads(e.read())['message'])"
    )
    out = hello.kubectl("exec", "deployment/hello", "--", "python3", "-c", script).out.splitlines()
    assert out[0] == "hello"
    user = "system:serviceaccount:default:default"
    expected = f'403 pods is forbidden: User "{user}" cannot list resource "pods" in API group "" in the namespace '
    assert out[1].startswith(expected)


def test_environment_of_services(hello: Cluster) -> None:
    text = hello.kubectl("exec", "deployment/hello", "--", "env").out
    variables = dict(line.partition("=")[::2] for line in text.splitlines())
    ip = cluster_ip(hello)
    assert variables["KUBERNETES_SERVICE_HOST"] == cluster_ip(hello, "kubernetes")
    # The Deployment came before its Service, so only pods that were started later have its variables.
    hello.kubectl("rollout", "restart", "deployment/hello")
    hello.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    text = hello.kubectl("exec", "deployment/hello", "--", "env").out
    variables = dict(line.partition("=")[::2] for line in text.splitlines())
    assert variables["HELLO_SERVICE_HOST"] == ip and variables["HELLO_SERVICE_PORT"] == "80"
    assert variables["HELLO_PORT_80_TCP"] == f"tcp://{ip}:80" and variables["HELLO_PORT_80_TCP_PROTO"] == "tcp"


def test_logs_exec_cp_port_forward(hello: Cluster, tmp_path: Path) -> None:
    ask(cluster_ip(hello))
    pod = ready_pods(hello)[0]
    eventually(lambda: "GET / HTTP/1.1" in hello.kubectl("logs", pod).out)
    assert len(hello.kubectl("logs", pod, "--tail=2").out.splitlines()) == 2
    follower = hello.start("logs", "-f", "--tail=1", pod)
    assert follower.stdout is not None and follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=10)

    assert hello.kubectl("exec", pod, "--", "hostname").out.strip() == pod
    failed = hello.kubectl("exec", pod, "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (failed.out, failed.code) == ("out\n", 7) and "err\n" in failed.err
    assert hello.kubectl("exec", "-i", pod, "--", "cat", stdin="through\n").out == "through\n"
    terminal = subprocess.run(
        ["script", "-qec", f"kubectl exec -it {pod} -- sh -c 'test -t 0 && echo terminal'", "/dev/null"],
        env={**hello.environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "terminal" in terminal.stdout, terminal

    source = tmp_path / "file"
    source.write_text("carried")
    hello.kubectl("cp", str(source), f"{pod}:/tmp/file")
    assert hello.kubectl("exec", pod, "--", "cat", "/tmp/file").out == "carried"
    hello.kubectl("cp", f"{pod}:/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "carried"

    forwarder = hello.start("port-forward", pod, ":8080")
    assert forwarder.stdout is not None
    port = re.search(r"127.0.0.1:(\d+)", forwarder.stdout.readline())
    assert port is not None
    assert pod in ask("127.0.0.1", int(port[1]))
    forwarder.send_signal(signal.SIGINT)
    forwarder.communicate(timeout=10)


def test_killed_container_is_restarted_and_the_service_answers(hello: Cluster) -> None:
    pod = ready_pods(hello)[0]
    os.kill(pid_in(hello, pod), signal.SIGKILL)
    for _ in range(6):
        assert ask(cluster_ip(hello)).startswith("hello from")

    def restarted() -> bool:
        status = hello.get("pod", pod)["status"]["containerStatuses"][0]
        return bool(status["restartCount"] == 1 and status["ready"])

    eventually(restarted)
    last = hello.get("pod", pod)["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "Error")
    os.kill(pid_in(hello, pod), signal.SIGKILL)  # at once again: now it is backed off
    waiting = eventually(
        lambda: hello.get("pod", pod)["status"]["containerStatuses"][0]["state"].get("waiting"), timeout_s=10
    )
    assert waiting["reason"] == "CrashLoopBackOff" and waiting["message"].startswith("back-off 10s restarting failed")
    hello.kubectl("delete", "pod", pod)


def test_deleted_pod_is_replaced_and_endpoints_follow(hello: Cluster) -> None:
    eventually(lambda: len(ready_pods(hello)) == 3 and endpoints(hello) == set(ready_pods(hello)))
    pod = ready_pods(hello)[0]
    hello.kubectl("delete", "pod", pod, "--wait=false")
    eventually(lambda: pod not in endpoints(hello), timeout_s=1.0)
    eventually(lambda: len(ready_pods(hello)) == 3 and endpoints(hello) == set(ready_pods(hello)))


def test_scale_to_ten_and_back(hello: Cluster) -> None:
    hello.kubectl("scale", "deployment/hello", "--replicas=10")
    hello.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    eventually(lambda: len(endpoints(hello)) == 10)
    assert len({ask(cluster_ip(hello)).split()[2] for _ in range(10)}) == 10
    hello.kubectl("scale", "deployment/hello", "--replicas=3")
    eventually(lambda: len(hello.get("pods", "-l", "app=hello")["items"]) == 3, timeout_s=60)


def test_node_port_and_service_without_selector(hello: Cluster) -> None:
    hello.kubectl(
        "expose", "deployment", "hello", "--name=hello-port", "--type=NodePort", "--port=80", "--target-port=http"
    )
    node_port = hello.get("service", "hello-port")["spec"]["ports"][0]["nodePort"]
    address = hello.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    eventually(lambda: _answers(address, node_port))
    ip = hello.get("pod", ready_pods(hello)[0])["status"]["podIP"]
    by_hand = f"""
apiVersion: v1
kind: Service
metadata: {{name: by-hand}}
spec: {{ports: [{{port: 81, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: by-hand}}
subsets: [{{addresses: [{{ip: "{ip}"}}], ports: [{{port: 8080}}]}}]
"""
    hello.kubectl("apply", "-f", "-", stdin=by_hand)
    eventually(lambda: _answers(cluster_ip(hello, "by-hand"), 81))
    with pytest.raises(OSError):  # a port that no Service has
        ask(cluster_ip(hello), 8080)


def _answers(address: str, port: int) -> bool:
    try:
        return ask(address, port).startswith("hello from")
    except OSError:
        return False


def test_control_plane_dies(hello: Cluster) -> None:
    eventually(lambda: len(ready_pods(hello)) == 3)
    before = ready_pods(hello)
    ip = cluster_ip(hello)
    os.kill(hello.processes()["control-plane"], signal.SIGKILL)
    for _ in range(6):
        assert ask(ip).startswith("hello from")
    started = time.monotonic()
    eventually(lambda: hello.kubectl("get", "pods", check=False).code == 0)
    assert time.monotonic() - started < 15
    assert ready_pods(hello) == before
    hello.kubectl("scale", "deployment/hello", "--replicas=4")
    eventually(lambda: len(ready_pods(hello)) == 4)
    hello.kubectl("scale", "deployment/hello", "--replicas=3")


def test_all_of_it_dies_and_pods_are_adopted(hello: Cluster) -> None:
    eventually(lambda: len(hello.get("pods", "-l", "app=hello")["items"]) == 3, timeout_s=60)
    before = {pod: pid_in(hello, pod) for pod in ready_pods(hello)}
    names = hello.kubectl("get", "all,configmaps,secrets", "-A", "-o", "name").out.splitlines()
    for pid in hello.processes().values():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not hello.processes())
    assert all(Path(f"/proc/{pid}").exists() for pid in before.values())
    hello.cybernetes("up", "--detach", "--port", str(port_of(hello)), *hello.node_options)
    after = hello.kubectl("get", "all,configmaps,secrets", "-A", "-o", "name").out.splitlines()
    assert set(names) <= set(after)
    eventually(lambda: {pod: pid_in(hello, pod) for pod in ready_pods(hello)} == before)
    statuses = [pod["status"]["containerStatuses"][0] for pod in hello.get("pods", "-l", "app=hello")["items"]]
    assert [status["restartCount"] for status in statuses] == [0, 0, 0]
    eventually(lambda: len({ask(cluster_ip(hello)).split()[2] for _ in range(3)}) == 3)


def port_of(cluster: Cluster) -> int:
    found = re.search(r"server: https://[^:]+:(\d+)", cluster.kubeconfig.read_text())
    assert found is not None
    return int(found[1])


def leftovers(cluster: Cluster) -> list[str]:
    """What a cluster could leave on the machine, by what carries its name or its data directory."""
    import hashlib

    tag = hashlib.sha256(str(cluster.data_dir).encode()).hexdigest()[:8]
    found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(cluster.data_dir) in line]
    found += [path.name for path in Path("/sys/class/net").iterdir() if tag[:6] in path.name]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/cybernetes-{tag}-*")]
    found += [f"{name} {pid}" for name, pid in cluster.processes().items()]
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    found += [line for line in routes.splitlines() if tag[:6] in line]
    return found


def test_down_leaves_nothing(hello: Cluster) -> None:
    pids = [pid_in(hello, pod) for pod in ready_pods(hello)]
    hello.down()
    assert leftovers(hello) == []
    assert not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]


def test_interrupted_up_leaves_nothing(
    new_cluster: Callable[[], Cluster], ranges: Callable[[], tuple[str, str]]
) -> None:
    cluster = new_cluster()
    service, pods = ranges()
    options = ["--runtime", "process", "--port", "0", "--service-cidr", service, "--pod-cidr", pods]
    process = subprocess.Popen(
        [CYBERNETES, "up", "--data-dir", str(cluster.data_dir), *options],
        stdout=subprocess.PIPE,
        text=True,
        env=cluster.environment,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if " proxy " in line:
            process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert leftovers(cluster) == []
