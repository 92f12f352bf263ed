"""Rotation of containers' logs: a log that has grown past its limit is renamed, the runtime opens a new one.

    0.log                        being written
    0.log.20260102-150405        the one before
    0.log.20260102-150101.gz     older ones, compressed

At most ``files_max`` in all, the oldest go first. Between two looks the process runtime's shim puts a log aside that
grows faster, under a name of the same form (ext/native/shim/log.c). An engine that keeps its own logs (they are links
here) rotates them itself. Readers that follow notice by themselves (``logfiles``).
"""

from __future__ import annotations

import asyncio
import datetime
import gzip
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

from cybernetes.core.clock import Clock
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.podrecord import PodRecord
from cybernetes.services.kubelet.runtimes.interface import NotFound, Runtime, RuntimeFailure

log = logging.getLogger(__name__)

LOG_BYTES_MAX = 10 << 20
FILES_MAX = 5


class LogRotator:
    def __init__(
        self,
        runtime: Runtime,
        directories: Directories,
        clock: Clock,
        *,
        bytes_max: int = LOG_BYTES_MAX,
        files_max: int = FILES_MAX,
    ) -> None:
        self._runtime = runtime
        self._directories = directories
        self._clock = clock
        self._bytes_max = bytes_max
        self._files_max = files_max

    async def look(self, records: Iterable[PodRecord]) -> None:
        """Rotate what has grown too large. What fails is told in our own log and tried again at the next look."""
        logs = {
            self._directories.pod_logs(record.pod) / Directories.log_path(status.name, status.attempt): status.id
            for record in records
            for status in record.observed.running()
        }
        if not logs:
            return
        for path in await asyncio.to_thread(self._too_large, list(logs)):
            try:
                renamed = await asyncio.to_thread(self._rename, path)
                try:
                    await self._runtime.reopen_log(logs[path])
                except (RuntimeFailure, NotFound):
                    await asyncio.to_thread(renamed.rename, path)  # it is still being written
                    raise
                await asyncio.to_thread(self._tidy, path, renamed)
            except (OSError, RuntimeFailure) as error:
                log.warning("log %s is not rotated: %s", path, error)

    def _too_large(self, paths: list[Path]) -> list[Path]:
        found = []
        for path in paths:
            try:
                status = path.lstat()
            except OSError:
                continue
            if status.st_size > self._bytes_max and not path.is_symlink():
                found.append(path)
        return found

    def _rename(self, path: Path) -> Path:
        moment = datetime.datetime.fromtimestamp(self._clock.now(), datetime.UTC)
        target = path.with_name(f"{path.name}.{moment:%Y%m%d-%H%M%S}")
        return path.rename(target)

    def _tidy(self, path: Path, renamed: Path) -> None:
        """Compress what came before the newest, and drop what is too many."""
        rotated = sorted(other for other in path.parent.iterdir() if other.name.startswith(f"{path.name}."))
        for other in rotated[: -(self._files_max - 1)]:
            other.unlink()
        for other in rotated[-(self._files_max - 1) :]:
            if other.suffix == ".tmp":
                other.unlink()  # of a kubelet that ended meanwhile
            elif other != renamed and other.suffix != ".gz":
                _compress(other)


def _compress(path: Path) -> None:
    target = path.with_name(path.name + ".gz")
    partial = target.with_name(target.name + ".tmp")
    with path.open("rb") as source, gzip.open(partial, "wb") as packed:
        shutil.copyfileobj(source, packed)
    partial.rename(target)
    path.unlink()
