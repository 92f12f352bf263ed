"""Fixtures of the end-to-end tests: clusters that are taken down, with their data, when a module is done."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realcluster import Cluster

#: Clusters on one machine need ranges of their own; the defaults are left to whoever works on this machine.
_RANGES = itertools.count(1)


@pytest.fixture(scope="module")
def new_cluster(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Callable[[], Cluster]]:
    """Clusters that are taken down, with their data, at the end of the module."""
    made: list[Cluster] = []

    def make() -> Cluster:
        cluster = Cluster(tmp_path_factory.mktemp("cluster") / "data")
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        if cluster.data_dir.exists():
            cluster.cybernetes("down", "--delete-data")


@pytest.fixture(scope="module")
def simulated(new_cluster: Callable[[], Cluster]) -> Cluster:
    """Three simulated nodes."""
    cluster = new_cluster()
    cluster.up("--runtime", "simulated", "--nodes", "3")
    return cluster


@pytest.fixture(scope="session")
def ranges(worker_id: str) -> Callable[[], tuple[str, str]]:
    """(service CIDR, pod CIDR) that no other cluster of these tests has."""
    worker = int(worker_id.removeprefix("gw")) if worker_id.startswith("gw") else 0

    def next_ranges() -> tuple[str, str]:
        number = next(_RANGES) * 8 + worker
        return f"10.{80 + number % 8}.{number // 8}.0/24", f"10.{88 + number % 8}.0.0/16"

    return next_ranges


@pytest.fixture(scope="module")
def node(new_cluster: Callable[[], Cluster], ranges: Callable[[], tuple[str, str]]) -> Cluster:
    """One real node with local processes."""
    return start_node(new_cluster(), "process", ranges())


@pytest.fixture(scope="module")
def docker_node(new_cluster: Callable[[], Cluster], ranges: Callable[[], tuple[str, str]]) -> Cluster:
    """One real node with a Docker engine."""
    return start_node(new_cluster(), "docker", ranges())


def start_node(cluster: Cluster, runtime: str, ranges: tuple[str, str]) -> Cluster:
    cluster.node_options = ("--runtime", runtime, "--service-cidr", ranges[0], "--pod-cidr", ranges[1])
    cluster.up(*cluster.node_options)
    return cluster


IMAGE = f"cybernetes-e2e/busybox:{os.getpid()}"
BUSYBOX = shutil.which("busybox") or "/bin/busybox"


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """A static busybox with its commands, imported: no registry is needed."""
    links = subprocess.run(["ldd", BUSYBOX], capture_output=True, text=True)
    if not Path(BUSYBOX).exists() or "not a dynamic executable" not in links.stderr + links.stdout:
        pytest.skip("needs Debian's busybox-static")
    commands = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for folder in ("tmp", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)
        for command in commands:
            entry = tarfile.TarInfo(f"bin/{command}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            if command != "busybox":
                tar.addfile(entry)
    subprocess.run(["docker", "import", "-", IMAGE], input=archive.getvalue(), check=True, capture_output=True)
    yield IMAGE
    subprocess.run(["docker", "rmi", "-f", IMAGE], capture_output=True)


EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
