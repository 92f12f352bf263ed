"""Reading a container's log file, and following it until the container has ended.

Files are read in the event loop's executor, 256 KiB at a time, so a large log neither blocks probes nor fills memory.
Following waits for the kernel to say that the file grew or was rotated (its name is another file then): no polling.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from cybernetes.core.kubelet.logs import LogOptions, LogReader, tail_offset
from cybernetes.services.kubelet import inotify

_BLOCK_BYTES = 256 * 1024


async def read_log(path: Path, options: LogOptions, ended: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
    """What a reader gets of the log at ``path``. ``ended`` returns when the container has; asked for only to follow.

    Raises FileNotFoundError when there is no such log and it is not followed.
    """
    reader = LogReader(options)
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    watcher = inotify.Watcher(changed.set) if options.follow else None
    end = asyncio.ensure_future(ended()) if options.follow else None
    log: _OpenLog | None = None
    try:
        if watcher is not None:
            end_was_seen = False
            watcher.add(path.parent, inotify.FOLDER)
        log = await loop.run_in_executor(None, _OpenLog.at, path, options.tail_lines)
        if log is None and not options.follow:
            raise FileNotFoundError(path)
        if watcher is not None and log is not None:
            watcher.add(path, inotify.GROWING)
        while True:
            changed.clear()
            end_was_seen = end is None or end.done()
            while log is not None and (data := await loop.run_in_executor(None, log.read)):
                output = reader.feed(data)
                if output:
                    yield output
                if reader.is_done:
                    return
            successor = await loop.run_in_executor(None, _successor, log, path)
            if successor is not None and watcher is not None:
                if log is not None:
                    # Nothing is written to the old file any more, but something may have been since it was read.
                    while data := await loop.run_in_executor(None, log.read):
                        if output := reader.feed(data):
                            yield output
                    log.close()
                log = successor
                watcher.add(path, inotify.GROWING)
                continue
            if end_was_seen or end is None:
                return
            waiter = asyncio.ensure_future(changed.wait())
            await asyncio.wait((waiter, end), return_when=asyncio.FIRST_COMPLETED)
            waiter.cancel()
    finally:
        if end is not None:
            end.cancel()
        if watcher is not None:
            watcher.close()
        if log is not None:
            log.close()


class _OpenLog:
    """An open log file and how far it has been read."""

    __slots__ = ("_descriptor", "_offset", "identity")

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        status = os.fstat(descriptor)
        self.identity = (status.st_dev, status.st_ino)

    @classmethod
    def at(cls, path: Path, tail_lines: int | None) -> _OpenLog | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        offset = 0
        if tail_lines is not None:
            size = os.fstat(descriptor).st_size
            offset = tail_offset(size, lambda begin, length: os.pread(descriptor, length, begin), tail_lines)
        return cls(descriptor, offset)

    def read(self) -> bytes:
        data = os.pread(self._descriptor, _BLOCK_BYTES, self._offset)
        self._offset += len(data)
        return data

    def close(self) -> None:
        os.close(self._descriptor)


def _successor(log: _OpenLog | None, path: Path) -> _OpenLog | None:
    """The file that is at ``path`` now, when it is another one than ``log``."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if log is not None and log.identity == (status.st_dev, status.st_ino):
        return None
    return _OpenLog.at(path, None)
