"""The slow twin of ``cybernetes.ext.forward.Forwarder``: the same control, the same behaviour, in asyncio.

It runs a loop in a thread of its own. Wildcard datagram sockets (whose replies need the address that was asked) are the
kernel's alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import threading
from ipaddress import ip_address, ip_network
from typing import Any

from cybernetes.ext.forward import Counters

CHUNK = 65536
CONNECT_TIMEOUT_S = 1.0


class Target:
    def __init__(self) -> None:
        self.backends: list[tuple[str, int]] = []
        self.affinity_s = 0
        self.next = 0
        self.clients: dict[str, tuple[tuple[str, int], float]] = {}
        self.tally = dict.fromkeys(Counters._fields, 0)

    def turns(self, client: str, now: float) -> list[tuple[str, int]]:
        """The backends in the order in which a connection tries them."""
        if not self.backends:
            return []
        if self.affinity_s and client in self.clients:
            backend, used = self.clients[client]
            if backend in self.backends and now - used < self.affinity_s:
                first = self.backends.index(backend)
                return self.backends[first:] + self.backends[:first]
        first = self.next % len(self.backends)
        self.next = first + 1
        return self.backends[first:] + self.backends[:first]


class Twin:
    def __init__(self, **_: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.targets: dict[str, Target] = {}
        self.listeners: dict[int, dict[str, Any]] = {}
        self.number = 0
        self.closed = False
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def _run(self, work: Any) -> Any:
        if self.closed:
            raise ValueError("the forwarder has been closed")
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def set_target(self, name: str, backends: Any, *, affinity_s: int = 0) -> None:
        async def work() -> None:
            target = self.targets.setdefault(name, Target())
            for host, _ in backends:
                socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
            target.backends, target.affinity_s = list(backends), affinity_s

        self._run(work())

    def remove_target(self, name: str) -> None:
        self._run(self._remove(name))

    async def _remove(self, name: str) -> None:
        del self.targets[name]

    def listen(self, descriptor: int, target: str, *, source_ranges: Any = (), keep_source: Any = ()) -> int:
        try:
            if self.closed:
                raise ValueError("the forwarder has been closed")
            goal = self.targets[target]
            opened = socket.socket(fileno=os.dup(descriptor))
        finally:
            os.close(descriptor)
        opened.setblocking(False)
        self.number += 1
        listener = {"target": goal, "ranges": [ip_network(text) for text in source_ranges], "socket": opened}
        self.listeners[self.number] = listener
        self._run(self._serve(listener))
        return self.number

    async def _serve(self, listener: dict[str, Any]) -> None:
        if listener["socket"].type == socket.SOCK_DGRAM:
            listener["server"], _ = await self.loop.create_datagram_endpoint(
                lambda: Front(listener), sock=listener["socket"]
            )
        else:
            listener["server"] = await asyncio.start_server(
                lambda reader, writer: self._connection(listener, reader, writer), sock=listener["socket"]
            )

    def redirect(self, number: int, target: str) -> None:
        listener, goal = self.listeners[number], self.targets[target]

        async def work() -> None:
            listener["target"] = goal

        self._run(work())

    def unlisten(self, number: int) -> None:
        listener = self.listeners.pop(number)

        async def work() -> None:
            listener["server"].close()
            await asyncio.sleep(0)

        self._run(work())

    def counters(self, name: str) -> Counters:
        return Counters(**self.targets[name].tally)

    def close(self) -> None:
        if self.closed:
            return

        async def work() -> None:
            for listener in self.listeners.values():
                listener["server"].close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._run(work())
        self.closed = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def _connection(self, listener: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target: Target = listener["target"]
        client = writer.get_extra_info("peername")[0]
        if not is_allowed(listener, client):
            target.tally["refused"] += 1
            reset(writer)
            return
        target.tally["connections"] += 1
        target.tally["active"] += 1
        try:
            for backend in target.turns(client, self.loop.time()):
                try:
                    async with asyncio.timeout(CONNECT_TIMEOUT_S):
                        there = await asyncio.open_connection(*backend)
                except (OSError, TimeoutError):
                    target.tally["connect_failures"] += 1
                    continue
                target.clients[client] = (backend, self.loop.time())
                await self._relay(target, (reader, writer), there)
                return
            target.tally["refused"] += 1
            reset(writer)
        finally:
            target.tally["active"] -= 1
            writer.close()

    async def _relay(self, target: Target, here: Any, there: Any) -> None:
        ways = [
            asyncio.ensure_future(copy(here[0], there[1], target.tally, "bytes_in")),
            asyncio.ensure_future(copy(there[0], here[1], target.tally, "bytes_out")),
        ]
        try:
            await asyncio.gather(*ways)
        except OSError:
            reset(here[1])
            reset(there[1])
        finally:
            for way in ways:
                way.cancel()
            there[1].close()


async def copy(reader: Any, writer: Any, tally: dict[str, int], field: str) -> None:
    while data := await reader.read(CHUNK):
        tally[field] += len(data)
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def is_allowed(listener: dict[str, Any], client: str) -> bool:
    return not listener["ranges"] or any(ip_address(client) in network for network in listener["ranges"])


def reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # it may be closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Front(asyncio.DatagramProtocol):
    """The side of the clients: a flow each."""

    def __init__(self, listener: dict[str, Any]) -> None:
        self.listener = listener
        self.flows: dict[Any, asyncio.Task[Back]] = {}
        self.waiting: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, client: Any) -> None:
        task = asyncio.ensure_future(self.forward(data, client))
        self.waiting.add(task)
        task.add_done_callback(self.waiting.discard)

    async def forward(self, data: bytes, client: Any) -> None:
        target: Target = self.listener["target"]
        if not is_allowed(self.listener, client[0]):
            target.tally["refused"] += 1
            return
        for _ in range(4):
            flow = self.flows.get(client)
            if flow is None:
                flow = self.flows[client] = asyncio.ensure_future(self.open(target, client))
            back = await flow
            if back is None:
                del self.flows[client]
                return
            if back.target is target and back.backend in target.backends and not back.was_refused:
                back.transport.sendto(data)
                target.tally["bytes_in"] += len(data)
                return
            back.transport.close()
            if self.flows.get(client) is flow:
                del self.flows[client]

    async def open(self, target: Target, client: Any) -> Any:
        turns = target.turns(client[0], asyncio.get_running_loop().time())
        if not turns:
            target.tally["refused"] += 1
            return None
        target.tally["connections"] += 1
        back = Back(self, target, turns[0], client)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: back, remote_addr=turns[0])
        return back


class Back(asyncio.DatagramProtocol):
    """A flow: a socket that is connected to one backend."""

    def __init__(self, front: Front, target: Target, backend: tuple[str, int], client: Any) -> None:
        self.front, self.target, self.backend, self.client = front, target, backend, client
        self.was_refused = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, _: Any) -> None:
        self.target.tally["bytes_out"] += len(data)
        self.front.transport.sendto(data, self.client)

    def error_received(self, error: Exception) -> None:
        self.was_refused = True
        self.target.tally["connect_failures"] += 1
