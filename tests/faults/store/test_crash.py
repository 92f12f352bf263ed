"""Power cuts: at every point of a recorded run, whatever the disk kept, the store opens and has lost nothing.

The engine's writes and syncs are recorded once; from the recording any number of crashed disks is made (crashimages).
Each must open and hold the acknowledged batches and at most the one in flight, whole, with every readable revision and
event right, and must go on working. The same check catches engines that are broken on purpose.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from crashimages import Expected, Step, crashes, image, recorded

from cybernetes.core.clock import Random
from cybernetes.core.store.interface import Put
from cybernetes.core.store.lmdb import files
from cybernetes.core.store.lmdb.engine import LmdbEngine

HERE = Path(__file__).parent
DATA = f"store/{files.DATA}"


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("shim") / "recordio.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", target, HERE / "native" / "recordio.c", "-ldl"], check=True
    )
    return target


def recording(shim: Path, path: Path, seed: int, mode: str = "right") -> list[Step]:
    directory = path / f"run-{seed}"
    directory.mkdir()
    log = path / f"log-{seed}"
    environment = {**os.environ, "LD_PRELOAD": str(shim), "RECORDIO_DIR": str(directory), "RECORDIO_LOG": str(log)}
    subprocess.run([sys.executable, HERE / "crashdriver.py", directory, str(seed), mode], env=environment, check=True)
    return recorded(log, directory)


def check(content: bytes | None, expected: Expected, path: Path) -> None:
    """Raises AssertionError or StoreError when the disk is not what it must be."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    if content is not None:
        (path / files.DATA).write_bytes(content)
    engine = LmdbEngine(path, sync=False)
    try:
        if not expected.acknowledged:  # it was not even ready
            assert engine.revision == 1
            return
        revision, compacted = engine.revision, engine.compacted
        assert revision in (expected.acknowledged, expected.in_flight)
        assert compacted in (expected.compacted, expected.compacting)
        for at in {compacted, (compacted + revision) // 2, revision}:
            state = expected.states[at - 1]
            assert list(engine.range(b"", b"", revision=at).records) == [state[key] for key in sorted(state)]
        assert engine.events(compacted, limit=10_000) == expected.events[compacted - 1 : revision - 1]
        while engine.sweep(7):
            pass
        state = expected.states[revision - 1]
        assert list(engine.range(b"", b"").records) == [state[key] for key in sorted(state)]
        assert engine.commit([Put(b"/after", bytes(5000), 0)])[0][0].mod_revision == revision + 1
    finally:
        engine.close()


def crash(steps: list[Step], count: int, seed: int, path: Path) -> None:
    random = Random(seed)
    points = [random.below(len(steps)) for _ in range(count)]
    for point, expected in crashes(steps, points):
        try:
            check(image(steps, point, DATA, random), expected, path / "image")
        except Exception as error:
            error.add_note(f"crash at step {point} of {len(steps)}, seed {seed}")
            raise


def test_200_crash_points(shim: Path, tmp_path: Path) -> None:
    for seed in range(4):
        crash(recording(shim, tmp_path, seed), 50, seed, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_10_000_crash_points(shim: Path, tmp_path: Path) -> None:
    for seed in range(100, 140):
        crash(recording(shim, tmp_path, seed), 250, seed, tmp_path)


@pytest.mark.parametrize("mode", ["not synced", "meta not synced", "answered early"])
def test_an_engine_that_is_broken_is_caught(shim: Path, tmp_path: Path, mode: str) -> None:
    with pytest.raises(Exception) as caught:
        crash(recording(shim, tmp_path, 1, mode), 200, 1, tmp_path)
    assert any("crash at step" in note for note in caught.value.__notes__), "the check failed, not the driver"
