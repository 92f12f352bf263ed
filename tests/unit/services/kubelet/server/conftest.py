import sys
from pathlib import Path

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from serverworld import Node

from cybernetes.core.clock import SystemClock
from cybernetes.services.kubelet.server.auth import Authorizer
from cybernetes.services.kubelet.server.server import KubeletServer


@pytest.fixture
def node():
    return Node()


@pytest.fixture
async def server(node):
    clock = SystemClock()
    made = KubeletServer(node, Authorizer(clock, "n1"), clock, address="127.0.0.1", port=0)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def client(server):
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        yield session
