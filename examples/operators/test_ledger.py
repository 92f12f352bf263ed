"""The ledger in a cluster inside the test; and how a schedule of faults finds what no other test does.

Every example starts from the same image of a cluster, forked in a millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kr8s
import pytest
import yaml
from hypothesis import find, given, settings
from ledger import Hasty, Ledger

from cybernetes.core.objects import Gvr
from cybernetes.services.testing.strategies import fault_schedules
from cybernetes.testing import Cluster, Fault, Image

CRDS = list(yaml.safe_load_all((Path(__file__).parent / "ledger.crd.yaml").read_text()))
ACCOUNTS = Gvr("bank.example.com", "v1", "accounts")
AMOUNTS = (5, 7, 11)


def thing(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    made = {"apiVersion": "bank.example.com/v1", "kind": kind, "metadata": {"name": name}}
    return {**made, "spec": spec} if spec else made


@contextlib.asynccontextmanager
async def at_work(ledger: type[Ledger], cluster: Cluster, path: Path) -> Any:
    await cluster.kubeconfig(path, in_memory=True)
    api = await kr8s.asyncio.api(kubeconfig=str(path))
    task = asyncio.create_task(ledger(api).run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def balance(cluster: Cluster) -> int:
    account = await cluster.api.get(ACCOUNTS, "alice", "default")
    found: int = account.get("status", {}).get("balance", 0)
    return found


async def story(ledger: type[Ledger], image: Image, path: Path, faults: Sequence[Fault] = ()) -> int:
    """Three deposits, with ``faults`` on the way; what the balance is in the end."""
    cluster = Cluster(nodes=0, without=("controllers", "scheduler", "nodes"), image=image)
    async with cluster, at_work(ledger, cluster, path):
        await cluster.settle()
        cluster.faults.add(*faults)
        for number, amount in enumerate(AMOUNTS):
            await cluster.apply(thing("Deposit", f"d{number}", account="alice", amount=amount))
            await cluster.settle()
        cluster.faults.clear()
        await cluster.apply(thing("Deposit", "last", account="alice", amount=0))
        await cluster.advance(minutes=1)
        await cluster.settle()
        return await balance(cluster)


@pytest.fixture(scope="module")
def image() -> Image:
    """A cluster with an empty account, as of when it had settled."""

    async def make() -> Image:
        async with Cluster(nodes=0) as cluster:
            await cluster.apply(*CRDS)
            await cluster.settle()
            await cluster.apply(thing("Account", "alice"))
            await cluster.settle()
            return cluster.image()

    return asyncio.run(make())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger") / "kubeconfig"


@pytest.mark.parametrize("ledger", [Ledger, Hasty])
def test_without_faults_both_are_right(ledger: type[Ledger], image: Image, path: Path) -> None:
    assert asyncio.run(story(ledger, image, path)) == sum(AMOUNTS)


schedules = fault_schedules(
    kinds=("lost-response", "error", "lost-request", "cut"),
    resources=("accounts", "deposits"),
    verbs=("patch", "list"),
    codes=(500, 503),
    at_max=4,
    faults_max=4,
)


@settings(max_examples=15, deadline=None, database=None, derandomize=True)
@given(schedules)
def test_the_ledger_is_right_under_every_schedule(image: Image, path: Path, schedule: list[Fault]) -> None:
    assert asyncio.run(story(Ledger, image, path, schedule)) == sum(AMOUNTS)


def test_a_schedule_finds_the_bug_and_shrinks_to_one_fault(image: Image, path: Path) -> None:
    found = find(
        schedules,
        lambda schedule: asyncio.run(story(Hasty, image, path, schedule)) != sum(AMOUNTS),
        settings=settings(max_examples=200, deadline=None, database=None, derandomize=True),
    )
    assert found == [Fault("lost-response", verb="patch", resource="accounts")]
