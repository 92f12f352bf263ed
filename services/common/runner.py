"""Running components as a process: the event loop, logging, signals, and the word to and from the supervisor.

A supervisor tells on stdin who is ready, a line ``ready NAME`` each, and is told on the ready pipe what has been done
(see services/cli/supervisor.py). Without one, as when a component is started by hand, everyone is taken to be ready.

A process ends in three ways. SIGTERM and SIGINT: the components stop in reverse order, with ``is_final`` set, so nodes
take down what they started. The end of stdin: the supervisor has died, the components stop and leave containers to the
next start. A failure in the background: it is logged and the process ends with 1, to be started again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from cybernetes.services.common.component import Component, Tasks

log = logging.getLogger(__name__)


#: Net allocations until the young are looked at, young collections until the middle-aged are, and so on. Python's own
#: (700, 10, 10) suit scripts: half of the time of a busy API server went into collections that found nothing, because
#: decoded objects are many containers and no cycles. A young collection of this size takes 2 ms.
GC_THRESHOLDS = (50_000, 20, 50)


def settle_memory() -> None:
    """Once a component has started: what start has made lives as long as the process, and is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


class StartFailure(Exception):
    """Why the process cannot start, in one line for the user."""


class Process:
    """One process under a supervisor. ``run`` it with a function that starts components."""

    def __init__(self, ready_fd: int = -1) -> None:
        self._ready_fd = ready_fd
        if ready_fd >= 0:
            os.set_inheritable(ready_fd, False)  # pods outlive this process: held by one, the pipe would never end
        self._ready: set[str] = set()
        self._ready_changed = asyncio.Event()
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._components: list[Component] = []
        self._tasks = Tasks("process", self.failed)
        self._last_work: list[tuple[Callable[[], Awaitable[None]], bool]] = []
        #: True when what runs on this machine is to be taken down, not left for the next start.
        self.is_final = False

    # To the supervisor

    def say(self, line: str) -> None:
        if self._ready_fd >= 0:
            try:
                os.write(self._ready_fd, line.replace("\n", " ").encode() + b"\n")
            except BrokenPipeError:
                self._ready_fd = -1  # the supervisor is gone: stdin says so, too
        else:
            log.info("%s", line)

    def component_ready(self, name: str, detail: str = "") -> None:
        self.say(f"component {name} {detail}")

    # From the supervisor

    async def wait_for(self, name: str) -> None:
        """Until the part ``name`` is ready; at once without a supervisor."""
        while self._ready_fd >= 0 and name not in self._ready:
            self._ready_changed.clear()
            await self._ready_changed.wait()

    async def _listen(self) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        try:
            while line := await reader.readline():
                word, _, name = line.decode().strip().partition(" ")
                if word == "ready":
                    self._ready.add(name)
                    self._ready_changed.set()
        finally:
            transport.close()
        self._end("the supervisor has died")

    # Components

    async def start(self, component: Component) -> None:
        """Start it, to be stopped at the end even when its start fails half way."""
        self._components.append(component)
        await component.start()

    def background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do ``work`` beside the components; a failure of it ends the process."""
        self._tasks.spawn(work, name)

    def at_the_end(self, work: Callable[[], Awaitable[None]], *, only_final: bool = False) -> None:
        """Do ``work`` after the components have stopped; with ``only_final`` not when another start will go on."""
        self._last_work.append((work, only_final))

    def failed(self, error: BaseException) -> None:
        """For ``on_failure`` of components: ends the process."""
        self._end(f"a component failed: {error!r}")

    def _end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)

    def _stop_for_good(self) -> None:
        self.is_final = True
        self._end("asked to stop")

    async def run(self, start: Callable[[Process], Awaitable[None]]) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_for_good)
        listener = asyncio.create_task(self._listen()) if self._ready_fd >= 0 else None
        starting = asyncio.ensure_future(start(self))
        code = 1
        try:
            waited: list[asyncio.Future[Any]] = [starting, self._ended]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                self.say("ready")
                settle_memory()
                reason = await self._ended
                log.info("stopping: %s", reason)
                code = 0 if self.is_final or "supervisor" in reason else 1
        except StartFailure as failure:
            self.say(f"failed {failure}")
            log.error("%s", failure)
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._tasks.cancel()
            await self._stop_components()
            if listener is not None:
                listener.cancel()
        return code

    async def _stop_components(self) -> None:
        for component in reversed(self._components):
            try:
                await component.stop()
            except Exception:  # the others must still be stopped, and this one's failure is told
                log.exception("%s did not stop cleanly", component.name)
        for work, only_final in self._last_work:
            try:
                if self.is_final or not only_final:
                    await work()
            except Exception:
                log.exception("something may be left behind")


def run_process(ready_fd: int, start: Callable[[Process], Awaitable[None]]) -> int:
    """Run until the end; returns the exit code."""
    import uvloop

    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname).1s %(name)s: %(message)s"
    )

    async def main() -> int:
        return await Process(ready_fd).run(start)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
