from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cybernetes.core.auth.certificates import new_key_pem
from cybernetes.core.auth.keys import Key
from cybernetes.core.clock import ManualClock, Random
from cybernetes.core.objects import SERVICE_ACCOUNTS
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer, Config, Listener

sys.path.insert(0, str(Path(__file__).parent))

from schedulerworld import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock, random = ManualClock(), Random(7)
    server = ApiServer(
        MemoryStore(),
        clock,
        random,
        listeners=[Listener("127.0.0.1", 0)],
        config=Config(service_account_keys=[Key(new_key_pem(random))]),
    )
    await server.start()
    world = World(server, clock, random)
    await world.add(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
    yield world
    for service in world.services:
        await service.stop()
    await server.stop()
