"""Containers that misbehave, on both runtimes: what they do stays with them, and the node goes on."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from realcluster import Cluster, eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("docker")]

SOURCE = Path(__file__).resolve().parents[1] / "support" / "multi" / "multi.c"
IMAGE = f"cybernetes-e2e/multi:{os.getpid()}"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test image's only program (tests/support/multi), built here."""
    path = tmp_path_factory.mktemp("multi") / "multi"
    subprocess.run([os.environ.get("CC", "cc"), "-static", "-O1", "-o", str(path), str(SOURCE)], check=True)
    return path


@pytest.fixture(scope="session")
def multi_image(program: Path) -> Iterator[str]:
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(program, "multi")
    subprocess.run(["docker", "import", "-", IMAGE], input=archive.getvalue(), check=True, capture_output=True)
    yield IMAGE
    subprocess.run(["docker", "rmi", "-f", IMAGE], capture_output=True)


class Pods:
    """Pods of one container that runs the program, on one runtime."""

    def __init__(self, cluster: Cluster, image: str, program: str) -> None:
        self.cluster, self.image, self.program = cluster, image, program
        self.made: list[str] = []

    def run(self, *words: str, limits: dict[str, str] | None = None, **fields: Any) -> str:
        """Start one; ``fields`` of the pod's spec, ``container`` of its container's."""
        name = f"{words[0]}-{len(self.made)}"
        container = {"name": "c", "image": self.image, "command": [self.program, *words]} | fields.pop("container", {})
        if limits:
            container["resources"] = {"limits": limits}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 1, "restartPolicy": "Never"} | fields
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        self.made.append(name)
        return name

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get("pod", name)["status"]
        return found

    def ended(self, name: str) -> dict[str, Any]:
        def look() -> Any:
            statuses = self.status(name).get("containerStatuses") or [{"state": {}}]
            return statuses[0]["state"].get("terminated")

        found: dict[str, Any] = eventually(look, 90)
        return found

    def log(self, name: str) -> str:
        return self.cluster.kubectl("logs", name, check=False).out

    def delete(self, *names: str) -> None:
        self.cluster.kubectl("delete", "pod", *names, "--ignore-not-found", "--timeout=80s", timeout_s=90)

    def still_runs(self) -> None:
        """The node starts a pod, and that ends well."""
        name = self.run("echo", "all", "well")
        assert self.ended(name)["exitCode"] == 0 and self.log(name) == "all well\n"


@pytest.fixture(scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def pods(request: pytest.FixtureRequest, program: Path) -> Iterator[Pods]:
    if request.param == "docker":
        found = Pods(request.getfixturevalue("docker_node"), request.getfixturevalue("multi_image"), "/multi")
    else:
        found = Pods(request.getfixturevalue("node"), "host", str(program))
    yield found
    found.delete(*found.made)


def processes(*words: str) -> list[int]:
    """The host's processes that run the program with these words."""
    wanted = "\0".join(words)
    found = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_text()
        except OSError:
            continue
        if folder.name.isdigit() and "multi\0" in line and line.rstrip("\0").endswith(f"multi\0{wanted}"):
            found.append(int(folder.name))
    return found


def test_a_crash_has_its_exit_code(pods: Pods) -> None:
    ended = pods.ended(pods.run("crash", "42"))
    assert (ended["exitCode"], ended["reason"]) == (42, "Error")


def test_who_ignores_sigterm_is_killed(pods: Pods) -> None:
    name = pods.run("deaf")
    eventually(lambda: "up" in pods.log(name))
    assert processes("deaf")
    pods.delete(name)
    assert not processes("deaf")


def test_who_eats_too_much_memory_is_killed_for_it(pods: Pods) -> None:
    ended = pods.ended(pods.run("eat", "256", limits={"memory": "32Mi"}))
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
    pods.still_runs()


def test_a_fork_bomb_ends_at_the_limit_of_its_pod(pods: Pods) -> None:
    name = pods.run("fork")
    eventually(lambda: "no more after" in pods.log(name), 60)
    started = int(pods.log(name).split()[-1])
    assert 1000 < started < 8192
    pods.still_runs()
    pods.delete(name)
    assert not processes("fork")


def test_a_volume_that_is_full_is_the_pods_own_trouble(pods: Pods) -> None:
    name = pods.run(
        *("fill", "/full/file"),
        volumes=[{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}}],
        container={"volumeMounts": [{"name": "v", "mountPath": "/full"}]},
    )
    assert pods.ended(name)["exitCode"] == 28
    pods.still_runs()


def test_a_probe_that_hangs_fails_and_leaves_no_crowd(pods: Pods) -> None:
    probe = {"exec": {"command": [pods.program, "hang"]}, "periodSeconds": 1, "timeoutSeconds": 1}
    name = pods.run("serve", "8080", container={"readinessProbe": probe})
    other = pods.run("serve", "8081", container={"readinessProbe": {"tcpSocket": {"port": 8081}}})
    pods.cluster.kubectl("wait", "--for=condition=Ready", f"pod/{other}", "--timeout=60s", timeout_s=70)

    def failures() -> int:
        events = pods.cluster.get("events", "--field-selector", f"involvedObject.name={name}")["items"]
        return sum(item.get("count", 1) for item in events if item["reason"] == "Unhealthy")

    eventually(lambda: failures() >= 4, 60)
    assert pods.status(name)["containerStatuses"][0]["ready"] is False
    assert len(processes("hang")) <= 2
    pods.delete(name)
    eventually(lambda: not processes("hang"))


def test_a_flood_of_output_is_bounded_on_disk(pods: Pods) -> None:
    name = pods.run("flood", "1024")
    assert pods.ended(name)["exitCode"] == 0
    pods.still_runs()
    uid = pods.cluster.get("pod", name)["metadata"]["uid"]
    folder = next(pods.cluster.data_dir.glob(f"logs/pods/*/*_{uid}"))

    def size() -> int:
        # The engine's own files are beside the one that the link leads to.
        found = {path for path in folder.rglob("*") if path.is_file()}
        found |= {other for path in found for other in path.resolve().parent.glob(f"{path.resolve().name}*")}
        return sum(path.stat().st_size for path in found)

    eventually(lambda: size() <= 60 << 20, 60)
    assert pods.cluster.kubectl("logs", name, "--tail=1").out.startswith(("x", "flooded"))
