"""``cybernetes explain`` and ``whatif`` on what kubectl wrote, and on a snapshot of a store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from cybernetes.core.api.registry import builtin
from cybernetes.core.objects import NODES, PODS
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.core.store.lmdb.store import LmdbStore
from cybernetes.services.cli import world
from cybernetes.services.cli.main import main


def node(name: str, cpu: str) -> dict[str, Any]:
    allocatable = {"cpu": cpu, "memory": "4Gi", "pods": "10"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"allocatable": allocatable}}


def pod(name: str, cpu: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    metadata = {"name": name, "namespace": "default", "uid": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


OBJECTS = [node("n1", "2"), node("n2", "3"), pod("runs", "1", nodeName="n2"), pod("waits", "2500m")]


@pytest.fixture
def dump(tmp_path: Path) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": OBJECTS}))
    return str(path)


async def save(tmp_path: Path) -> str:
    store = LmdbStore(LmdbEngine(tmp_path / "store"))
    for obj in OBJECTS:
        resource = builtin().get(PODS if obj["kind"] == "Pod" else NODES)
        assert resource is not None
        key = resource.storage_key(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        await store.put(key, orjson.dumps(obj), expected_revision=0)
    path = tmp_path / "snapshot"
    await store.snapshot(path)
    await store.close()
    return str(path)


def test_explain_says_what_would_help(dump: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--from", dump, "pod", "waits"]) == 1
    told = capsys.readouterr().out
    assert "0/2 nodes are available: 2 Insufficient cpu." in told
    assert "  node n2 with 500m less cpu" in told
    assert main(["explain", "--from", dump, "-o", "json", "pod", "runs"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["node"] == "n2"
    assert {each["node"] for each in found["nodes"] if each["is_feasible"]} == {"n1", "n2"}


def test_what_cannot_be_explained(dump: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--from", dump, "pod", "none"]) == 1
    assert capsys.readouterr().err == 'cybernetes explain: pods "none" not found in namespace "default"\n'
    assert main(["explain", "--from", dump, "service", "s"]) == 2
    assert main(["explain", "--from", dump + "?", "pod", "runs"]) == 2


def test_whatif_of_a_file(dump: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump(pod("more", "500m")))
    assert main(["whatif", "--from", dump, "-f", str(more), "--remove-node", "n2", "-o", "json"]) == 1
    outcome = json.loads(capsys.readouterr().out)
    assert {each["pod"]: each["node"] for each in outcome["placements"]} == {
        "default/runs": "n1",
        "default/waits": None,
        "default/more": "n1",
    }
    assert outcome["room"] == {"default/more": 1}
    assert main(["whatif", "--from", dump]) == 2


def test_whatif_of_a_snapshot(tmp_path: Path) -> None:
    seen = world.load(world.Source("", file=asyncio.run(save(tmp_path))))
    assert [each["metadata"]["name"] for each in seen.objects[PODS]] == ["runs", "waits"]
    assert len(seen.objects[NODES]) == 2
