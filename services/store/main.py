"""The process that owns the store's file: started by the supervisor, it serves until it is stopped.

It imports little, as it is the first of the cluster's processes that must be ready.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Callable
from pathlib import Path

from cybernetes.core.clock import Clock, SystemClock
from cybernetes.core.store.interface import Unavailable
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.core.store.sharedrevision import SharedRevision
from cybernetes.services.store.compacting import Compactor
from cybernetes.services.store.connection import Connection
from cybernetes.services.store.server import Server

log = logging.getLogger(__name__)

#: What the kernel takes for the path of a Unix socket.
_SOCKET_PATH_MAX = 107


class StoreServer:
    """A component: the engine on ``directory``, served on the Unix socket ``socket`` (mode 600).

    ``on_failure`` is called when the file cannot be used any longer; the process should end and be started again, which
    says what is wrong.
    """

    def __init__(
        self,
        directory: Path,
        socket: Path,
        clock: Clock,
        *,
        history_age_s: float = 300.0,
        history_bytes_max: int = 256 << 20,
        sync: bool = True,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._directory = directory
        self._socket = socket
        self._clock = clock
        self._history_age_s = history_age_s
        self._history_bytes_max = history_bytes_max
        self._sync = sync
        self._on_failure = on_failure
        self._engine: LmdbEngine | None = None
        self._shared: SharedRevision | None = None
        self._compactor: Compactor | None = None
        self._server: Server | None = None
        self._listener: asyncio.Server | None = None

    @property
    def name(self) -> str:
        return "store"

    async def start(self) -> None:
        """Raises Unavailable when the directory is in use, Damaged when the file is."""
        if len(os.fsencode(self._socket)) > _SOCKET_PATH_MAX:
            raise Unavailable(f"{self._socket} is too long for a socket's path: choose a shorter data directory")
        try:
            self._engine = engine = LmdbEngine(self._directory, sync=self._sync)
            self._shared = SharedRevision.create(self._socket)
            self._compactor = Compactor(
                engine, self._clock, history_age_s=self._history_age_s, history_bytes_max=self._history_bytes_max
            )
            self._server = server = Server(engine, self._shared, self._compactor, self._failed)
            self._socket.unlink(missing_ok=True)  # left by a process that was killed: the directory's lock is ours
            umask = os.umask(0o177)
            try:
                self._listener = await asyncio.get_running_loop().create_unix_server(
                    lambda: Connection(server), str(self._socket), backlog=1024
                )
            finally:
                os.umask(umask)
            self._compactor.start()
        except OSError as error:
            await self.stop()
            raise Unavailable(f"the store cannot listen on {self._socket}: {error.strerror or error}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            self._socket.unlink(missing_ok=True)
        if self._compactor is not None:
            self._compactor.stop()
        server, self._server = self._server, None
        if server is not None:
            await server.drain()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()

    def _failed(self, error: BaseException) -> None:
        log.critical("the store cannot go on: %s", error)
        if self._on_failure is not None:
            self._on_failure(error)


async def serve(
    directory: Path,
    socket: Path,
    *,
    clock: Clock | None = None,
    history_age_s: float = 300.0,
    history_bytes_max: int = 256 << 20,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Serve until cancelled; then everything is closed. Raises what keeps it from starting or makes it fail."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(error: BaseException) -> None:
        if not failed.done():
            failed.set_exception(error)

    server = StoreServer(
        directory,
        socket,
        clock or SystemClock(),
        history_age_s=history_age_s,
        history_bytes_max=history_bytes_max,
        on_failure=fail,
    )
    await server.start()
    try:
        gc.collect()
        gc.freeze()  # the index lives as long as the process
        if on_ready is not None:
            on_ready()
        await failed
    finally:
        await server.stop()
