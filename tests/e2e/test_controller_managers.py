"""Two controller managers on one etcd: one leads; when it is killed in mid-work the other goes on, nothing twice."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realcluster import CYBERNETES, KUBECTL, Cluster, eventually
from realetcd import Etcd

DEPLOYMENTS, REPLICAS = 20, 10


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    server = Etcd(tmp_path)
    server.start()
    yield server
    server.kill()


class Managers:
    """Two of them, each with a log of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.logs = [cluster.data_dir / "logs" / f"manager-{number}.log" for number in range(2)]
        self.processes = [self._start(log) for log in self.logs]

    def _start(self, log: Path) -> subprocess.Popen[bytes]:
        command = [CYBERNETES, "controller-manager", "--data-dir", str(self.cluster.data_dir)]
        with log.open("w") as stream:
            return subprocess.Popen(command, env=self.cluster.environment, stdout=stream, stderr=stream)

    def holder(self) -> str:
        """Who has the Lease; empty for nobody."""
        lease = ("lease", "kube-controller-manager", "-n", "kube-system")
        answer = self.cluster.kubectl("get", *lease, "-o", "jsonpath={.spec.holderIdentity}", check=False)
        return answer.out if answer.code == 0 else ""

    def kill(self, identity: str) -> None:
        """The one that says in its log that it is this."""
        (process,) = [
            process
            for process, log in zip(self.processes, self.logs, strict=True)
            if f"{identity} leads" in log.read_text()
        ]
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def managers(new_cluster: Callable[[], Cluster], etcd: Etcd) -> Iterator[Managers]:
    cluster = new_cluster()
    cluster.up("--runtime", "simulated", "--nodes", "3", "--storage", etcd.url, "--without", "controller-manager")
    made = Managers(cluster)
    yield made
    made.stop()
    cluster.cybernetes("down", "--delete-data")


def deployments() -> str:
    container = {"name": "c", "image": "x"}
    template = {"spec": {"containers": [container]}}
    made = []
    for number in range(DEPLOYMENTS):
        labels = {"app": f"d{number}"}
        spec = {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            "template": {**template, "metadata": {"labels": labels}},
        }
        metadata = {"name": f"d{number}", "namespace": "default"}
        made.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": made})


@pytest.mark.etcd
@pytest.mark.timeout(300)
def test_the_leader_is_killed(managers: Managers, tmp_path: Path) -> None:
    cluster = managers.cluster
    first = eventually(managers.holder)
    seen = tmp_path / "events"
    with seen.open("w") as stream:
        command = [KUBECTL, "get", "pods", "-w", "-o", "json", "--output-watch-events"]
        watch = subprocess.Popen(command, env=cluster.environment, stdout=stream)
    try:
        cluster.kubectl("apply", "-f", "-", stdin=deployments())
        eventually(lambda: len(cluster.get("pods")["items"]) >= DEPLOYMENTS)
        managers.kill(first)

        def all_ready() -> bool:
            found = cluster.get("deployments")["items"]
            return all((each.get("status") or {}).get("readyReplicas") == REPLICAS for each in found)

        eventually(all_ready, 150)
        assert managers.holder() not in ("", first)
        expected = {f"d{number}": REPLICAS for number in range(DEPLOYMENTS)}
        assert Counter(pod["metadata"]["labels"]["app"] for pod in cluster.get("pods")["items"]) == expected
        eventually(lambda: _added(seen.read_text()).keys() == expected.keys())
    finally:
        watch.kill()
        watch.wait()
    assert _added(seen.read_text()) <= Counter(expected), "nothing was made twice"


def _added(text: str) -> Counter[str]:
    return Counter(
        event["object"]["metadata"]["labels"]["app"] for event in _documents(text) if event["type"] == "ADDED"
    )


def _documents(text: str) -> Iterator[dict[str, Any]]:
    """The JSON documents that follow each other; a last one that was cut off is left out."""
    decoder, at = json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        try:
            document, at = decoder.raw_decode(text, at)
        except ValueError:
            return
        yield document
