"""Makes the API in memory that stands beside these tests importable, and gives tests a clock that is the loop's."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


class LoopClock:
    """Time that passes as the event loop's does: virtual under looptime."""

    def now(self) -> float:
        return 1.7e9 + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture
def clock() -> LoopClock:
    return LoopClock()
