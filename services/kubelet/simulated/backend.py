"""Logs, exec and port-forward of pods that only pretend: sensible answers for tools and people.

A container's log says when it started (and ended). Exec knows a handful of commands (``echo``, ``hostname``, ``env``,
``date``, ``cat``, ``true``, ``false``, ``exit``), and an interactive shell that runs them; anything else is named and
succeeds. A forwarded port answers every HTTP request with the pod's name.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from cybernetes.core.client.informer import Informer
from cybernetes.core.clock import Clock, format_time, parse_time
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.logs import LogOptions, LogReader, format_line
from cybernetes.core.kubelet.node import Machine
from cybernetes.core.objects import Object, name_of, namespace_of, uid_of
from cybernetes.services.kubelet.runtimes.interface import PortStream, Stream
from cybernetes.services.kubelet.server.backend import Refused
from cybernetes.services.kubelet.simulated.usage import SimulatedUsage


class SimulatedBackend:
    """``informer`` has all pods of the cluster, ``is_ours`` says of a node's name whether it is simulated here."""

    def __init__(self, clock: Clock, informer: Informer, is_ours: Callable[[str], bool], machine: Machine) -> None:
        self._clock = clock
        self._informer = informer
        self._is_ours = is_ours
        self._usage = SimulatedUsage(machine)

    def pods(self) -> Sequence[Object]:
        return [pod for pod in self._informer.list() if self._is_ours(pod["spec"].get("nodeName", ""))]

    def find_pod(self, namespace: str, name: str, uid: str = "") -> Object | None:
        pod = self._informer.get(namespace, name)
        if pod is None or not self._is_ours(pod["spec"].get("nodeName", "")):
            return None
        return None if uid and uid_of(pod) != uid else pod

    def problems(self) -> Sequence[str]:
        return ()

    async def logs(self, pod: Object, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        status = _status(pod, container)
        state = ((status or {}).get("lastState") if options.previous else (status or {}).get("state")) or {}
        if options.previous and "terminated" not in state:
            raise Refused(400, f'previous terminated container "{container}" in pod "{name_of(pod)}" not found')
        if "running" not in state and "terminated" not in state:
            reason = (state.get("waiting") or {}).get("reason", "ContainerCreating")
            raise Refused(400, f'container "{container}" in pod "{name_of(pod)}" is waiting to start: {reason}')
        return self._lines(pod, container, state, options)

    async def _lines(self, pod: Object, container: str, state: Object, options: LogOptions) -> AsyncIterator[bytes]:
        reader = LogReader(options)
        lines = [
            format_line(parse_time(entry[field]), "stdout", f"{text} {container} of pod {name_of(pod)}".encode())
            for entry in (state.get("running") or state.get("terminated") or {},)
            for field, text in (("startedAt", "started"), ("finishedAt", "ended"))
            if entry.get(field)
        ]
        if options.tail_lines is not None:
            lines = lines[max(0, len(lines) - options.tail_lines) :]
        yield reader.feed(b"".join(lines))
        if options.follow and "running" in state and not reader.is_done:
            await self._ended(pod, container)

    async def _ended(self, pod: Object, container: str) -> None:
        """Return when the container does not run any more."""
        ended = asyncio.Event()

        def look(now: Object | None) -> None:
            if now is None or "running" not in ((_status(now, container) or {}).get("state") or {}):
                ended.set()

        uid = uid_of(pod)
        handler = self._informer.add_handler(
            on_update=lambda _, new: look(new) if uid_of(new) == uid else None,
            on_delete=lambda old: look(None) if uid_of(old) == uid else None,
        )
        try:
            look(self.find_pod(namespace_of(pod), name_of(pod), uid))
            await ended.wait()
        finally:
            self._informer.remove_handler(handler)

    async def exec(self, pod: Object, container: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Stream:
        self._require_running(pod, container)
        return SimulatedSession(self._clock, pod, container, command, stdin=stdin, tty=tty)

    async def attach(self, pod: Object, container: str) -> Stream:
        self._require_running(pod, container)
        return SimulatedSession(self._clock, pod, container, ["cat"], stdin=True, tty=False)

    async def port_forward(self, pod: Object, port: int) -> PortStream:
        if (pod.get("status") or {}).get("phase") != "Running":
            raise Refused(500, f"pod {name_of(pod)} is not running")
        return SimulatedPort(pod, port)

    def _require_running(self, pod: Object, container: str) -> None:
        status = _status(pod, container)
        if status is None or "running" not in (status.get("state") or {}):
            raise Refused(500, f'container not found ("{container}")')

    async def summary(self) -> dict[str, Any]:
        return self._usage.summary(self.pods(), self._clock.now())


def _status(pod: Object, container: str) -> Object | None:
    status = pod.get("status") or {}
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(kind) or ():
            if entry["name"] == container:
                return entry  # type: ignore[no-any-return]
    return None


class SimulatedSession:
    """A command that ran in a moment, or a shell that waits for lines."""

    def __init__(
        self, clock: Clock, pod: Object, container: str, command: Sequence[str], *, stdin: bool, tty: bool
    ) -> None:
        self._clock = clock
        self._pod = pod
        self._container = container
        self._tty = tty
        self._output: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._exit_code = 0
        self._line = b""
        name = command[0].rpartition("/")[2] if command else ""
        script = list(command[2:3]) if name in ("sh", "bash", "ash") and command[1:2] == ["-c"] else None
        self._is_cat = name == "cat" and len(command) == 1 and stdin
        self._is_shell = name in ("sh", "bash", "ash") and script is None and stdin
        if self._is_shell:
            self._prompt()
        elif not self._is_cat:
            words = shlex.split(script[0], posix=True) if script else list(command)
            self._run(words)
            self._output.put_nowait(None)

    def _say(self, text: str) -> None:
        data = text.encode()
        self._output.put_nowait((1, data.replace(b"\n", b"\r\n") if self._tty else data))

    def _prompt(self) -> None:
        if self._tty:
            self._say("/ # ")

    def _run(self, words: Sequence[str]) -> None:
        name = words[0].rpartition("/")[2] if words else ""
        if name == "echo":
            self._say(" ".join(words[1:]) + "\n")
        elif name == "hostname":
            self._say(f"{self._pod['spec'].get('hostname') or name_of(self._pod)}\n")
        elif name == "env":
            container = spec.find_container(self._pod, self._container) or {}
            values = [f"{v['name']}={v.get('value', '')}" for v in container.get("env") or ()]
            self._say("\n".join([f"HOSTNAME={name_of(self._pod)}", *values]) + "\n")
        elif name == "date":
            self._say(f"{format_time(self._clock.now())}\n")
        elif name == "exit":
            self._exit_code = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        elif name in ("true", "false"):
            self._exit_code = 0 if name == "true" else 1
        elif words:
            self._say(f"simulated: {shlex.join(words)}\n")

    async def read(self) -> tuple[int, bytes] | None:
        return await self._output.get()

    async def write(self, data: bytes) -> None:
        if self._is_cat:
            self._output.put_nowait((1, data))
        if not self._is_shell:
            return
        if self._tty:
            self._output.put_nowait((1, data.replace(b"\r", b"\r\n")))
            data = data.replace(b"\r", b"\n")
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").strip()
            try:
                words = shlex.split(text)
            except ValueError:
                words = [text]
            self._run(words)
            if words[:1] == ["exit"] or "\x04" in text:
                self._output.put_nowait(None)
                return
            self._prompt()

    async def close_stdin(self) -> None:
        if self._is_cat or self._is_shell:
            self._output.put_nowait(None)

    async def resize(self, columns: int, rows: int) -> None: ...

    async def wait(self) -> int:
        return self._exit_code

    async def close(self) -> None:
        self._output.put_nowait(None)


class SimulatedPort:
    """Answers each HTTP request with the pod's name; echoes anything else."""

    def __init__(self, pod: Object, port: int) -> None:
        self._text = f"simulated pod {namespace_of(pod)}/{name_of(pod)} port {port}\n".encode()
        self._received = b""
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> bytes:
        return await self._answers.get()

    async def write(self, data: bytes) -> None:
        self._received += data
        if b" HTTP/1." not in self._received[:4096]:
            self._answers.put_nowait(data)
            self._received = b""
            return
        while b"\r\n\r\n" in self._received:
            _, _, self._received = self._received.partition(b"\r\n\r\n")
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(self._text)}\r\n\r\n"
            self._answers.put_nowait(head.encode() + self._text)

    async def close_write(self) -> None:
        self._answers.put_nowait(b"")

    async def close(self) -> None:
        self._answers.put_nowait(b"")
