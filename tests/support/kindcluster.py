"""A pytest plugin with the fixture of pytest-kind, ``k8s_cluster``: ours, in this process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cybernetes.services.testing.cluster import Cluster
from cybernetes.services.testing.portal import Portal


class KindCluster:
    """What pytest-kind's KindCluster offers to tests."""

    def __init__(self, kubeconfig: Path) -> None:
        self.name = "cybernetes"
        self.kubeconfig_path = kubeconfig
        self.kubectl_path = Path(sys.executable).with_name("kubectl")

    def kubectl(self, *arguments: str) -> str:
        command = [self.kubectl_path, f"--kubeconfig={self.kubeconfig_path}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session")
def k8s_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KindCluster]:
    with Portal(lambda: Cluster(nodes=1, clock="system")) as cluster, pytest.MonkeyPatch.context() as patch:
        path = cluster.kubeconfig(tmp_path_factory.mktemp("cluster") / "kubeconfig")
        patch.setenv("KUBECONFIG", str(path))
        for name in ("coredns", "kube-proxy"):  # kind's clusters have pods of their own, and suites count on some
            cluster.apply(_pod(name))
        cluster.settle()
        yield KindCluster(path)


def _pod(name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "kube-system", "labels": {"k8s-app": name}}
    spec = {"containers": [{"name": name, "image": name}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
