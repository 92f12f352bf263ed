"""The pytest plugin: clusters as fixtures, and what happened in them in the report of a test that fails.

    cluster         one for the session (and xdist worker), on the system's clock, in a thread of its own; synchronous
                    tests call it, asynchronous tests await it
    namespace       the name of a fresh namespace in it, deleted with everything in it afterwards
    kubeconfig      the path of a kubeconfig for it: for any client, in any language
    fresh_cluster   a fork of it for one test, thrown away afterwards. In an asynchronous test it lives in the loop of
                    the test, on virtual time: ``await fresh_cluster.advance(days=30)``

Options of the ini file: ``cybernetes_nodes`` (3), and ``cybernetes_manifests``: YAML files that the session's cluster
starts with (CustomResourceDefinitions, say).

Nothing of the cluster is imported before a test asks for one of these.
"""

from __future__ import annotations

import datetime
import inspect
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

try:
    import pytest_asyncio
except ImportError:  # then there are no asynchronous tests either
    pytest_asyncio = None  # type: ignore[assignment]

_CLUSTERS = ("cluster", "fresh_cluster")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("cybernetes_nodes", "how many simulated nodes the session's cluster has", default="3")
    parser.addini("cybernetes_manifests", "YAML files that the session's cluster starts with", type="paths", default=[])


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The session's cluster."""
    from cybernetes.services.testing.cluster import Cluster
    from cybernetes.services.testing.portal import Portal

    nodes = int(request.config.getini("cybernetes_nodes"))
    with Portal(lambda: Cluster(nodes=nodes, clock="system")) as running:
        for path in request.config.getini("cybernetes_manifests"):
            running.apply(*_objects(Path(path)))
        running.settle()
        yield running


@pytest.fixture
def namespace(cluster: Any) -> Iterator[str]:
    """The name of a namespace of one's own."""
    name = cluster.create_namespace()
    yield name
    cluster.delete_namespace(name)


@pytest.fixture
def kubeconfig(cluster: Any, tmp_path: Path) -> Path:
    """For clients that are not in this process, or do not know this library."""
    path: Path = cluster.kubeconfig(tmp_path / "kubeconfig")
    return path


@pytest.fixture
def fresh_cluster(request: pytest.FixtureRequest) -> Any:
    """A fork of the session's cluster."""
    is_async = inspect.iscoroutinefunction(getattr(request, "function", None))
    return request.getfixturevalue("_fresh_async_cluster" if is_async and pytest_asyncio else "_fresh_sync_cluster")


@pytest.fixture
def _fresh_sync_cluster(cluster: Any) -> Iterator[Any]:
    from cybernetes.services.testing.cluster import Cluster
    from cybernetes.services.testing.portal import Portal

    image, nodes = cluster.image(), cluster.node_names
    with Portal(lambda: Cluster(nodes=nodes, clock="system", image=image)) as running:
        yield running


if pytest_asyncio is not None:

    @pytest_asyncio.fixture
    async def _fresh_async_cluster(cluster: Any) -> AsyncIterator[Any]:
        from cybernetes.services.testing.cluster import Cluster
        from cybernetes.services.testing.virtualtime import VirtualTime

        image = cluster.image()
        start = datetime.datetime.fromtimestamp(image.now_s, datetime.UTC)
        async with Cluster(nodes=cluster.node_names, clock=VirtualTime(start), image=image) as running:
            yield running


# The report.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    for running in _used(item):
        running.mark = running.activity.revision
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    outcome = yield
    if outcome.when == "call" and outcome.failed:
        for running in _used(item):
            from cybernetes.services.testing.report import report

            text = report(running, getattr(running, "mark", 0))
            if text:
                outcome.sections.append(("what happened in the cluster", text))
    return outcome


def _used(item: pytest.Item) -> list[Any]:
    """The clusters that a test was given by the fixtures of this plugin."""
    cluster = sys.modules.get("cybernetes.services.testing.cluster")
    portal = sys.modules.get("cybernetes.services.testing.portal")
    if cluster is None or portal is None:
        return []
    given = getattr(item, "funcargs", {})
    used = [given[name] for name in _CLUSTERS if isinstance(given.get(name), (cluster.Cluster, portal.StandIn))]
    return [running for running in used if running.is_running]


def _objects(path: Path) -> list[Any]:
    import yaml

    return [obj for obj in yaml.safe_load_all(path.read_text()) if obj]
