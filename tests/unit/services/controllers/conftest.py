"""The controller manager on a real API server over the memory store, in virtual time, with a kubelet that pretends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


class LoopClock:
    def now(self) -> float:
        return 1.7e9 + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture
def clock() -> LoopClock:
    return LoopClock()
