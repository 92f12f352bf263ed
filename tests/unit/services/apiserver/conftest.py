"""A real API server over the memory store, reached both ways: directly and over HTTP or HTTPS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from cybernetes.core.auth.certificates import Authority, api_server_names, new_key_pem
from cybernetes.core.auth.keys import Key
from cybernetes.core.auth.user import User
from cybernetes.core.clock import ManualClock, Random
from cybernetes.core.objects import SERVICE_ACCOUNTS, Object
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer, Config, Listener, Tls
from cybernetes.services.common.directclient import DirectClient

ADMIN = User("admin", groups=("system:masters",))
STATIC = {
    "admin-token": ADMIN,
    "jane-token": User("jane", "u1", ("dev",)),
}


@dataclass
class Answer:
    code: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


class Cluster:
    """One server and the ways to it. Requests are made as the admin unless a token is given."""

    def __init__(self, server: ApiServer, clock: ManualClock, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.clock = clock
        self.session = session
        self.base = f"http://127.0.0.1:{server.ports[0]}"

    def direct(self, user: User = ADMIN) -> DirectClient:
        return DirectClient(self.server, user, "test")

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "admin-token",
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        sent = {"Content-Type": "application/json", **(headers or {})}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = raw if raw is not None else orjson.dumps(body) if body is not None else None
        async with self.session.request(method, self.base + path, data=data, headers=sent) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any, **options: Any) -> Answer:
        return await self.request("POST", path, body, **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        return await self.request("PUT", path, body, **options)

    async def patch(self, path: str, body: Any, kind: str = "application/merge-patch+json", **options: Any) -> Answer:
        return await self.request("PATCH", path, body, headers={"Content-Type": kind}, **options)

    async def delete(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.request("DELETE", path, body, **options)


Start = Callable[..., Awaitable[Cluster]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers; keyword arguments are those of Config. ``store`` is one that exists already."""
    servers: list[ApiServer] = []
    sessions: list[aiohttp.ClientSession] = []

    async def begin(*, store: MemoryStore | None = None, **config: Any) -> Cluster:
        clock = ManualClock()
        random = Random(7)
        config.setdefault("static_tokens", STATIC)
        config.setdefault("service_account_keys", [Key(new_key_pem(random))])
        server = ApiServer(
            store or MemoryStore(),
            clock,
            random,
            listeners=[Listener("127.0.0.1", 0)],
            config=Config(**config),
        )
        servers.append(server)
        await server.start()
        session = aiohttp.ClientSession(auto_decompress=False)
        sessions.append(session)
        cluster = Cluster(server, clock, session)
        account: Object = {"metadata": {"name": "default", "namespace": "default"}}
        if store is None:  # what its controller does in a whole cluster
            await cluster.direct().create(SERVICE_ACCOUNTS, account)
        return cluster

    yield begin
    for session in sessions:
        await session.close()
    for server in servers:
        await server.stop()


@pytest.fixture
async def cluster(start: Start) -> Cluster:
    return await start()


@dataclass
class Certificates:
    """Files of an authority, a server and clients below one directory."""

    directory: Path
    authority: Authority

    @property
    def server(self) -> Tls:
        return Tls(self.directory / "server.crt", self.directory / "server.key", self.directory / "ca.crt")

    def client(self, name: str, groups: tuple[str, ...] = ()) -> ssl.SSLContext:
        """A context that presents a certificate of this user and trusts the server's."""
        pair = self.authority.issue_client(name, groups)
        (self.directory / f"{name}.crt").write_bytes(pair.certificate)
        (self.directory / f"{name}.key").write_bytes(pair.key)
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        context.load_cert_chain(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        return context


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    from cybernetes.core.clock import SystemClock

    authority = Authority.create("test-ca", SystemClock(), Random(3))
    server = authority.issue_server("kube-apiserver", api_server_names(), ["127.0.0.1"])
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    (tmp_path / "server.crt").write_bytes(server.certificate)
    (tmp_path / "server.key").write_bytes(server.key)
    return Certificates(tmp_path, authority)


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": data or {"key": "value"},
    }


def pod(name: str, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"containers": [{"name": "c", "image": "pause"}]},
    }


@pytest.fixture
def make_config_map() -> Callable[..., Object]:
    return config_map


@pytest.fixture
def make_pod() -> Callable[..., Object]:
    return pod
