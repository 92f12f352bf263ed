"""The small process that starts the others, says when they are ready, and starts again what dies.

    up ── supervisor ─┬─ store
                      ├─ control-plane    (API server, scheduler, controllers, simulated nodes)
                      └─ node             (kubelet, proxy, DNS), one for each real node

1. Each part is started at once, so that they import at the same time, and told on its stdin who is ready: a line
   ``ready NAME``. A part waits for those that it needs.
2. A part says on its ready pipe what it has done, a line each: ``component NAME DETAIL``, ``ready``, ``nodes-ready``,
   ``failed MESSAGE``. A failure before the first ``ready`` ends everything: it is told to the user, not retried.
3. A part that dies later is started again alone, after a pause that doubles from 0.1 s to 10 s and is forgotten after a
   minute of running.
4. SIGTERM and SIGINT stop the parts in reverse order, and nodes take down what they started. When the supervisor is
   killed, the parts see their stdin end and leave; containers go on running for the next ``up``.

It is single-threaded, sleeps in ``select``, and imports next to nothing: about 10 MB.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cybernetes.core.clock import Clock

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 10.0
STEADY_AFTER_S = 60.0
STOP_TIMEOUT_S = 40.0
READY_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Part:
    """One process: its name, and what follows ``cybernetes`` on its command line."""

    name: str
    arguments: Sequence[str]
    log: Path


@dataclass(slots=True)
class Running:
    part: Part
    process: subprocess.Popen[bytes] | None = None
    ready_pipe: int = -1
    unread: bytes = b""
    is_ready: bool = False
    was_ready: bool = False
    started_at: float = 0.0
    pause_s: float = PAUSE_FIRST_S
    start_again_at: float | None = None
    failure: str = ""
    told: set[str] = field(default_factory=set)


class Supervisor:
    """``announce`` gets each line for the user: (component, detail). ``run`` returns the exit code."""

    def __init__(
        self,
        parts: Sequence[Part],
        clock: Clock,
        announce: Callable[[str, str], None],
        on_ready: Callable[[], None],
        *,
        waits_for_nodes: bool,
    ) -> None:
        self._parts = [Running(part) for part in parts]
        self._clock = clock
        self._announce = announce
        self._on_ready = on_ready
        self._nodes_ready = not waits_for_nodes
        self._is_up = False
        self._ready_until = 0.0
        self._is_stopping = False
        self.failure = ""
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        woken, wakes = socket.socketpair()
        for end in (woken, wakes):
            end.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: setattr(self, "_is_stopping", True))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(woken, selectors.EVENT_READ, None)
        try:
            self._ready_until = self._clock.monotonic() + READY_TIMEOUT_S
            for running in self._parts:
                self._start(running)
            while not self._is_stopping:
                for key, _ in self._selector.select(self._next_start_in()):
                    if key.data is None:
                        woken.recv(4096)
                    else:
                        self._read(key.data)
                self._collect()
                self._start_due()
                self._check_progress()
        finally:
            self._stop_all()
            self._selector.close()
            signal.set_wakeup_fd(-1)
            woken.close()
            wakes.close()
        return 1 if self.failure else 0

    # Starting

    def _start(self, running: Running) -> None:
        read_end, write_end = os.pipe()
        log = os.open(running.part.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        command = [sys.executable, "-m", "cybernetes", *running.part.arguments, "--ready-fd", str(write_end)]
        try:
            running.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(write_end,),
                start_new_session=True,  # an interrupt at the terminal is ours to pass on, in order
                restore_signals=True,
            )
        finally:
            os.close(write_end)
            os.close(log)
        running.ready_pipe = read_end
        running.unread = b""
        running.is_ready = False
        running.told = set()
        running.start_again_at = None
        running.started_at = self._clock.monotonic()
        self._selector.register(read_end, selectors.EVENT_READ, running)
        self._tell_who_is_ready()

    def _check_progress(self) -> None:
        """A cluster that does not become ready is not left half done."""
        if self._is_up or self._is_stopping or self._clock.monotonic() < self._ready_until:
            return
        waiting = [item.part.name for item in self._parts if not item.is_ready] or ["nodes"]
        logs = ", ".join(str(item.part.log) for item in self._parts)
        self.failure = f"not ready after {READY_TIMEOUT_S:.0f} s, waiting for {', '.join(waiting)}; see {logs}"
        self._is_stopping = True

    def _next_start_in(self) -> float | None:
        due = [item.start_again_at for item in self._parts if item.start_again_at is not None]
        if not self._is_up:
            due.append(self._ready_until)
        return max(0.0, min(due) - self._clock.monotonic()) if due else None

    def _start_due(self) -> None:
        now = self._clock.monotonic()
        for running in self._parts:
            if not self._is_stopping and running.start_again_at is not None and running.start_again_at <= now:
                self._start(running)

    # What the parts say

    def _read(self, running: Running) -> None:
        data = os.read(running.ready_pipe, 65536)
        if not data:
            self._selector.unregister(running.ready_pipe)
            os.close(running.ready_pipe)
            running.ready_pipe = -1
            return
        *lines, running.unread = (running.unread + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == "component":
                name, _, detail = rest.partition(" ")
                if not running.was_ready:
                    self._announce(name, detail)
            elif word == "ready":
                running.is_ready = running.was_ready = True
                self._tell_who_is_ready()
            elif word == "nodes-ready":
                if not self._nodes_ready:
                    self._announce("nodes", rest)
                self._nodes_ready = True
            elif word == "failed":
                running.failure = rest
        if not self._is_up and self._nodes_ready and all(item.is_ready for item in self._parts):
            self._is_up = True
            self._on_ready()

    def _tell_who_is_ready(self) -> None:
        ready = {item.part.name for item in self._parts if item.is_ready}
        for running in self._parts:
            if running.process is None or running.process.stdin is None:
                continue
            for name in sorted(ready - running.told):
                try:
                    running.process.stdin.write(f"ready {name}\n".encode())
                    running.process.stdin.flush()
                except BrokenPipeError:
                    break  # it is gone: the next round notices
                running.told.add(name)

    # Ends

    def _collect(self) -> None:
        for running in self._parts:
            if running.process is None or running.process.poll() is None:
                continue
            if running.ready_pipe >= 0:
                self._read(running)  # its last words
            code = running.process.returncode
            self._forget(running)
            if not running.was_ready:
                reason = running.failure or f"{running.part.name} ended with code {code}, see {running.part.log}"
                self.failure = self.failure or reason
                self._is_stopping = True
                continue
            ran_s = self._clock.monotonic() - running.started_at
            running.pause_s = PAUSE_FIRST_S if ran_s > STEADY_AFTER_S else min(PAUSE_MAX_S, running.pause_s * 2)
            running.start_again_at = self._clock.monotonic() + running.pause_s
            self._announce(running.part.name, f"ended with code {code}, starting again in {running.pause_s:.1f} s")

    def _forget(self, running: Running) -> None:
        if running.ready_pipe >= 0:
            self._selector.unregister(running.ready_pipe)
            os.close(running.ready_pipe)
            running.ready_pipe = -1
        if running.process is not None and running.process.stdin is not None:
            try:
                running.process.stdin.close()
            except BrokenPipeError:
                running.process.stdin = None
        running.process = None
        running.is_ready = False

    def _stop_all(self) -> None:
        """Nodes first, while the API still answers them; the store last."""
        for running in reversed(self._parts):
            if running.process is None:
                continue
            running.process.terminate()
            try:
                running.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._announce(running.part.name, f"did not stop in {STOP_TIMEOUT_S:.0f} s and was killed")
                running.process.kill()
                running.process.wait()
            self._forget(running)
