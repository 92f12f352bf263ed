import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from subjects import POD_CIDR, SUBJECTS


def _marked(subject):
    marks = {"process": [pytest.mark.root], "docker": [pytest.mark.docker]}.get(subject.name, [])
    return pytest.param(subject, id=subject.name, marks=marks)


@pytest.fixture(params=[_marked(subject) for subject in SUBJECTS])
def subject(request):
    why = request.param.unavailable()
    if why:
        pytest.skip(f"{request.param.name} runtime: {why}")
    return request.param


@pytest.fixture
async def opened(subject, tmp_path):
    """``await opened()``: a started runtime with a pod network, on the state that the one before it left."""
    made = []

    async def open_one():
        made.append(await subject.open(tmp_path))
        await made[-1].start()
        await made[-1].configure_network([POD_CIDR])
        return made[-1]

    yield open_one
    for sandbox in await made[-1].list_sandboxes():
        await made[-1].remove_sandbox(sandbox.id)
    await made[-1].stop()
    await subject.close(tmp_path)


@pytest.fixture
async def runtime(opened):
    """Nothing of it is left afterwards."""
    return await opened()


@pytest.fixture
def eventually():
    """``await eventually(condition)``: wait, bounded, until an async condition holds. Real processes need real time."""

    async def wait(condition, seconds=10.0):
        async with asyncio.timeout(seconds):
            while not (value := await condition()):
                await asyncio.sleep(0.01)
            return value

    return wait
