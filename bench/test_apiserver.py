"""The API server's own cost a request, without network and client: what a core can do at most.

pytest bench/test_apiserver.py. Over TLS against a store process: wrk, as the peer was measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import orjson
import pytest

from cybernetes.core.auth.user import User
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.objects import PODS, SERVICE_ACCOUNTS
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.apiserver.call import Call, Items
from cybernetes.services.apiserver.http1 import RequestReader
from cybernetes.services.apiserver.negotiation import Form, negotiate
from cybernetes.services.apiserver.request import parse_info, parse_query, split_target
from cybernetes.services.apiserver.response import Shape, list_slices
from cybernetes.services.common.directclient import DirectClient

ADMIN = User("admin", groups=("system:masters",))
PODS_STORED = 5000


def pod(name: str) -> bytes:
    container = {
        "name": "c",
        "image": "registry.k8s.io/pause:3.10",
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "ports": [{"containerPort": 80}],
        "env": [{"name": "A", "value": "1"}],
    }
    metadata = {"name": name, "labels": {"app": "web", "tier": "frontend"}}
    return orjson.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})


class Bench:
    """A server with 5,000 pods, on a loop of its own."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.server = self.runner.run(self._start())
        self.number = 0

    async def _start(self) -> ApiServer:
        server = ApiServer(MemoryStore(), SystemClock(), Random(1))
        await server.start()
        account = {"metadata": {"name": "default", "namespace": "default"}}
        await DirectClient(server, ADMIN).create(SERVICE_ACCOUNTS, account)
        self.server = server
        for number in range(PODS_STORED):
            await self._create(f"stored-{number}")
        return server

    def call(self, verb: str, name: str = "", body: bytes = b"") -> Call:
        resource = self.server.registry.get(PODS)
        assert resource is not None
        return Call(verb, resource, None, "default", name, ADMIN, {}, "bench", body, "application/json")

    async def _create(self, name: str) -> None:
        await self.server.chain.execute(self.call("create", "", pod(name)))

    def create(self, count: int) -> None:
        async def run() -> None:
            for _ in range(count):
                self.number += 1
                await self._create(f"new-{self.number}")

        self.runner.run(run())

    def get(self, count: int) -> None:
        async def run() -> None:
            for _ in range(count):
                await self.server.chain.execute(self.call("get", "stored-7"))

        self.runner.run(run())

    def list(self, accept: str) -> int:
        async def run() -> int:
            answer = await self.server.chain.execute(self.call("list"))
            assert isinstance(answer, Items)
            form: Form = negotiate(accept)
            return sum(len(piece) for piece in list_slices(answer, Shape(form, 0.0)))

        return self.runner.run(run())


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.runner.run(made.server.stop())
    made.runner.close()


def test_100_pods_created(benchmark: Callable[..., None], bench: Bench) -> None:
    benchmark(bench.create, 100)


def test_100_pods_got(benchmark: Callable[..., None], bench: Bench) -> None:
    benchmark(bench.get, 100)


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    ],
    ids=["json", "table", "metadata"],
)
def test_everything_listed(benchmark: Callable[..., int], bench: Bench, accept: str) -> None:
    assert benchmark(bench.list, accept) > 1_000_000


def test_a_request_read(benchmark: Callable[..., None]) -> None:
    head = (
        b"GET /api/v1/namespaces/default/pods/x?fieldManager=a HTTP/1.1\r\nHost: a:1\r\nAccept: application/json\r\n"
        b"User-Agent: kubectl/v1.37.1 (linux/amd64) kubernetes/abc\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    reader = RequestReader()

    def read() -> None:
        reader.feed(head)
        request = reader.next_request()
        assert request is not None
        path, query = split_target(request.target)
        parse_info(request.method, path, parse_query(query))

    benchmark(read)
