"""Makes what stands beside these tests importable; forwarders that are closed with the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from forwarding import Backends, load_twin

from cybernetes.ext.forward import Forwarder


@pytest.fixture(params=["kernel", "twin"])
def forwarder(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = Forwarder(threads=2) if request.param == "kernel" else load_twin()()
    yield made
    made.close()


@pytest.fixture
def kernel() -> Iterator[Forwarder]:
    made = Forwarder(threads=2)
    yield made
    made.close()


@pytest.fixture
def backends() -> Iterator[Backends]:
    made = Backends()
    yield made
    made.close()
