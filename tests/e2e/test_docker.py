"""The same flow on a Docker engine: what a pod shares, what docker sees, and what reaches the cgroup."""

from __future__ import annotations

import subprocess
import urllib.request
from pathlib import Path

import pytest

from realcluster import Cluster, eventually

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.xdist_group("docker")]


@pytest.fixture(scope="module")
def pods(docker_node: Cluster, image: str) -> Cluster:
    docker_node.kubectl(
        "apply",
        "-f",
        "-",
        stdin=f"""
apiVersion: v1
kind: Pod
metadata: {{name: two, labels: {{app: two}}}}
spec:
  terminationGracePeriodSeconds: 2
  volumes: [{{name: shared, emptyDir: {{}}}}]
  containers:
  - name: server
    image: {image}
    command: [sh, -c, "echo from the server > /data/index.html; echo started; exec httpd -f -p 8080 -h /data"]
    volumeMounts: [{{name: shared, mountPath: /data}}]
    resources: {{limits: {{cpu: 500m, memory: 64Mi}}}}
  - name: client
    image: {image}
    command: [sh, -c, "sleep 1000"]
    volumeMounts: [{{name: shared, mountPath: /other}}]
---
apiVersion: v1
kind: Service
metadata: {{name: two}}
spec: {{selector: {{app: two}}, ports: [{{port: 80, targetPort: 8080}}]}}
""",
    )
    docker_node.kubectl("wait", "--for=condition=Ready", "pod/two", "--timeout=60s")
    return docker_node


def container_id(cluster: Cluster, name: str) -> str:
    for status in cluster.get("pod", "two")["status"]["containerStatuses"]:
        if status["name"] == name:
            scheme, _, identifier = status["containerID"].partition("://")
            assert scheme == "docker"
            return str(identifier)
    raise AssertionError(name)


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def test_containers_of_a_pod_share_network_and_volumes(pods: Cluster) -> None:
    out = pods.kubectl("exec", "two", "-c", "client", "--", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/").out
    assert out == "from the server\n"
    assert pods.kubectl("exec", "two", "-c", "client", "--", "cat", "/other/index.html").out == "from the server\n"


def test_docker_shows_the_pause_sandbox(pods: Cluster) -> None:
    uid = pods.get("pod", "two")["metadata"]["uid"]
    listed = docker("ps", "--filter", f"label=io.cybernetes.pod.uid={uid}", "--format", "{{.Image}} {{.Names}}")
    assert len(listed.splitlines()) == 3
    assert any(
        line.startswith("cybernetes/pause:") and f"k8s_POD_two_default_{uid}_0" in line for line in listed.splitlines()
    )
    sandbox = next(line.split()[1] for line in listed.splitlines() if "k8s_POD" in line)
    sandbox_id = docker("inspect", "-f", "{{.Id}}", sandbox).strip()
    mode = docker("inspect", "-f", "{{.HostConfig.NetworkMode}}", container_id(pods, "server")).strip()
    assert mode == f"container:{sandbox_id}"


def test_limits_arrive_in_the_cgroup(pods: Cluster) -> None:
    identifier = container_id(pods, "server")
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        folder = next(root.glob(f"**/*{identifier}*"))
        assert (folder / "memory.max").read_text().strip() == str(64 << 20)
        assert (folder / "cpu.max").read_text().split() == ["50000", "100000"]
    else:
        memory = next((root / "memory").glob(f"**/*{identifier}*"))
        assert (memory / "memory.limit_in_bytes").read_text().strip() == str(64 << 20)
        cpu = next((root / "cpu").glob(f"**/*{identifier}*"))
        assert (cpu / "cpu.cfs_quota_us").read_text().strip() == "50000"


def test_the_service_answers_and_logs_come(pods: Cluster) -> None:
    ip = pods.get("service", "two")["spec"]["clusterIP"]

    def answer() -> str:
        with urllib.request.urlopen(f"http://{ip}/", timeout=5) as response:
            return str(response.read().decode())

    assert eventually(answer) == "from the server\n"
    assert pods.kubectl("logs", "two", "-c", "server").out == "started\n"
    stamped = pods.kubectl("logs", "two", "-c", "server", "--timestamps").out
    assert stamped.endswith("Z started\n")


def test_exec_with_exit_code(pods: Cluster) -> None:
    done = pods.kubectl("exec", "two", "-c", "client", "--", "sh", "-c", "echo out; exit 3", check=False)
    assert (done.out, done.code) == ("out\n", 3)
    assert pods.kubectl("exec", "-i", "two", "-c", "client", "--", "cat", stdin="in\n").out == "in\n"


def test_image_that_cannot_be_pulled(pods: Cluster) -> None:
    pods.kubectl("run", "nowhere", "--image=registry.invalid/none:1")
    waiting = eventually(
        lambda: [
            status["state"]["waiting"]
            for status in pods.get("pod", "nowhere")["status"].get("containerStatuses", ())
            if status["state"].get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff")
        ]
    )
    assert "registry.invalid" in waiting[0]["message"]
    events = eventually(
        lambda: pods.get("events", "--field-selector", "involvedObject.name=nowhere,reason=Failed")["items"]
    )
    assert any("registry.invalid/none:1" in event["message"] for event in events)
    pods.kubectl("delete", "pod", "nowhere", "--wait=false")


def test_killed_container_is_restarted(pods: Cluster) -> None:
    docker("kill", container_id(pods, "client"))
    eventually(
        lambda: any(
            status["name"] == "client" and status["restartCount"] == 1 and status["ready"]
            for status in pods.get("pod", "two")["status"]["containerStatuses"]
        )
    )


def test_down_leaves_no_container(pods: Cluster) -> None:
    uid = pods.get("pod", "two")["metadata"]["uid"]
    pods.down()
    assert docker("ps", "-a", "-q", "--filter", f"label=io.cybernetes.pod.uid={uid}") == ""
