"""Pull policies and pull secrets, against a registry of our own (Debian's docker-registry) that wants a password."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realcluster import Cluster, eventually

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.xdist_group("docker")]

USER, PASSWORD = "puller", "secret"
#: bcrypt of the password.
HTPASSWD = "puller:$2b$04$Rqc6tzd2Z4FRKGcn.H7OG.IORv3OEJHyDghNYnsP8QAiMymkjNIyy"


class Registry:
    """``push`` gives it an image that says which version it is."""

    def __init__(self, folder: Path, base: str) -> None:
        self._base = base
        self._config = folder / "config.yml"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        (folder / "htpasswd").write_text(f"{HTPASSWD}\n")
        self._config.write_text(
            f"""
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder / "data"}}}, delete: {{enabled: true}}}}
http: {{addr: "{self.address}"}}
auth: {{htpasswd: {{realm: test, path: {folder / "htpasswd"}}}}}
"""
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["docker-registry", "serve", str(self._config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: docker("login", "-u", USER, "-p", PASSWORD, self.address, check=False).returncode == 0)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def name(self, tag: str) -> str:
        return f"{self.address}/test:{tag}"

    def push(self, tag: str, version: str, *, keep: bool = False) -> None:
        """An image whose /version says ``version``; the engine forgets it again unless it is to be there already."""
        made = docker("create", self._base, "true").stdout.decode().strip()
        try:
            path = self._config.parent / "version"
            path.write_text(f"{version}\n")  # a line without an end stays with the engine
            docker("cp", str(path), f"{made}:/version")
            docker("commit", made, self.name(tag))
        finally:
            docker("rm", "-f", made)
        docker("push", self.name(tag))
        if not keep:
            docker("rmi", "-f", self.name(tag))


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["docker", *arguments], check=check, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[Registry]:
    if shutil.which("docker-registry") is None:
        pytest.skip("needs Debian's docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    os.environ["DOCKER_CONFIG"] = str(folder / "docker")
    registry = Registry(folder, image)
    registry.start()
    yield registry
    registry.stop()
    found = docker("images", "-q", f"{registry.address}/test").stdout.decode().split()
    for image_id in dict.fromkeys(found):
        docker("rmi", "-f", image_id, check=False)
    del os.environ["DOCKER_CONFIG"]


def pull_secret(cluster: Cluster, name: str, registry: Registry, password: str) -> None:
    login = {"auths": {registry.address: {"auth": base64.b64encode(f"{USER}:{password}".encode()).decode()}}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps(login)},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(secret))


@pytest.fixture(scope="module")
def cluster(docker_node: Cluster, registry: Registry) -> Cluster:
    pull_secret(docker_node, "right", registry, PASSWORD)
    pull_secret(docker_node, "wrong", registry, "guessed")
    return docker_node


@pytest.fixture
def run(cluster: Cluster) -> Iterator[Callable[..., str]]:
    """Start a pod; it is deleted at the end."""
    names: list[str] = []

    def start(image: str, policy: str, secrets: tuple[str, ...] = ("right",), account: str = "default") -> str:
        name = f"pull-{len(names)}"
        container = {
            "name": "c",
            "image": image,
            "imagePullPolicy": policy,
            "command": ["sh", "-c", "cat /version; sleep 1000"],
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "containers": [container],
                "serviceAccountName": account,
                "imagePullSecrets": [{"name": secret} for secret in secrets],
            },
        }
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        names.append(name)
        return name

    yield start
    if names:
        cluster.kubectl("delete", "pod", *names, "--force", "--grace-period=0")


def version_of(cluster: Cluster, name: str) -> str:
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", timeout_s=70)
    text: str = eventually(lambda: cluster.kubectl("logs", name).out)
    return text.strip()


def waiting(cluster: Cluster, name: str, reason: str) -> dict[str, Any]:
    """Why its container waits, once that is for this reason."""

    def look() -> Any:
        for status in cluster.get("pod", name)["status"].get("containerStatuses", ()):
            found = status["state"].get("waiting", {})
            if found.get("reason") == reason:
                return found
        return None

    found: dict[str, Any] = eventually(look, 60)
    return found


def test_always_takes_the_newest(cluster: Cluster, registry: Registry, run: Callable[..., str]) -> None:
    registry.push("moving", "one")
    assert version_of(cluster, run(registry.name("moving"), "IfNotPresent")) == "one"
    registry.push("moving", "two")
    assert version_of(cluster, run(registry.name("moving"), "Always")) == "two"


def test_if_not_present_keeps_what_is_there(cluster: Cluster, registry: Registry, run: Callable[..., str]) -> None:
    registry.push("stays", "old", keep=True)
    container = docker("create", registry.name("stays"), "true").stdout.decode().strip()
    try:
        docker("tag", registry.name("stays"), registry.name("local"))
        assert version_of(cluster, run(registry.name("local"), "IfNotPresent", ())) == "old"
        assert version_of(cluster, run(registry.name("local"), "Never", ())) == "old"
        failed = waiting(cluster, run(registry.name("local"), "Always"), "ErrImagePull")
        assert "manifest" in failed["message"], failed  # the registry was never given this name
    finally:
        docker("rm", "-f", container)


def test_never_asks_nobody(cluster: Cluster, registry: Registry, run: Callable[..., str]) -> None:
    registry.push("remote", "one")
    failed = waiting(cluster, run(registry.name("remote"), "Never"), "ErrImageNeverPull")
    assert failed["message"] == f'Container image "{registry.name("remote")}" is not present with pull policy of Never'


def test_a_password_is_needed_and_may_come_from_the_account(
    cluster: Cluster, registry: Registry, run: Callable[..., str]
) -> None:
    registry.push("closed", "one")
    for secrets in ((), ("wrong",)):
        name = run(registry.name("closed"), "IfNotPresent", secrets)
        assert "unauthorized" in str(waiting(cluster, name, "ErrImagePull")) or "no basic auth" in str(
            waiting(cluster, name, "ErrImagePull")
        )
    backing_off = waiting(cluster, name, "ImagePullBackOff")
    assert backing_off["message"].startswith(f'Back-off pulling image "{registry.name("closed")}"')
    # The right one may stand beside a wrong one, or come from the ServiceAccount.
    assert version_of(cluster, run(registry.name("closed"), "Always", ("wrong", "right"))) == "one"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller"}}
    account["imagePullSecrets"] = [{"name": "right"}]  # type: ignore[assignment]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(account))
    assert version_of(cluster, run(registry.name("closed"), "Always", (), "puller")) == "one"


def test_an_image_by_its_digest(cluster: Cluster, registry: Registry, run: Callable[..., str]) -> None:
    registry.push("named", "one", keep=True)
    found = docker("inspect", "--format", "{{index .RepoDigests 0}}", registry.name("named")).stdout.decode().strip()
    docker("rmi", "-f", registry.name("named"))
    name = run(found, "IfNotPresent")
    assert version_of(cluster, name) == "one"
    assert cluster.get("pod", name)["status"]["containerStatuses"][0]["image"] == found


def test_a_volume_that_is_an_image(cluster: Cluster, registry: Registry, image: str) -> None:
    registry.push("volume", "from a volume")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "image-volume"},
        "spec": {
            "imagePullSecrets": [{"name": "right"}],
            "volumes": [{"name": "v", "image": {"reference": registry.name("volume"), "pullPolicy": "Always"}}],
            "containers": [
                {
                    "name": "c",
                    "image": image,
                    "command": ["sh", "-c", "cat /v/version; touch /v/new 2>/dev/null || echo read-only; sleep 1000"],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                }
            ],
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    try:
        assert version_of(cluster, "image-volume").startswith("from a volume")
        eventually(lambda: "read-only" in cluster.kubectl("logs", "image-volume").out)
    finally:
        cluster.kubectl("delete", "pod", "image-volume", "--grace-period=1")
    assert str(cluster.data_dir / "nodes") not in Path("/proc/self/mountinfo").read_text()


def test_what_is_there_runs_without_the_registry(cluster: Cluster, registry: Registry, run: Callable[..., str]) -> None:
    registry.push("here", "one", keep=True)
    registry.stop()
    try:
        assert version_of(cluster, run(registry.name("here"), "IfNotPresent")) == "one"
        name = run(registry.name("here"), "Always")
        assert "refused" in waiting(cluster, name, "ErrImagePull")["message"]
    finally:
        registry.start()
    assert version_of(cluster, name) == "one"  # and is tried again
