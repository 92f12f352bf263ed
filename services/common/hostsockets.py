"""Listening sockets of the host, for a process that has left it.

A node without root lives in a network namespace of its own, which nobody on the host can send to. But a socket stays in
the namespace in which it was opened, whoever has it. So before the node leaves, it forks a child that stays; that opens
what it is asked to and hands it over (SCM_RIGHTS). Clients of the host's ports are then served by the node's own
forwarder, at its usual speed: no bytes pass through the child.

    node ── ["4", "TCP", "", 30080], … ──▶ child     child ── [0, 98, …], descriptors ──▶ node

The child ends when the node does: it reads the end of their socket.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Sequence

import orjson

from cybernetes.services.proxy.sockets import Place, open_all

#: The kernel passes 253 descriptors at once.
_BATCH = 200
_MESSAGE_MAX = 1 << 16


class HostSockets:
    """``start`` it while the process has one thread and is where sockets are wanted."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()

    @classmethod
    def start(cls) -> HostSockets:
        """Forks. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            status = 1
            try:
                # Whoever waits for the end of something that the node has open must not wait for this child.
                os.closerange(3, theirs.fileno())
                os.closerange(theirs.fileno() + 1, 1 << 16)
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node decides when to end
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                _serve(theirs)
                status = 0
            finally:
                os._exit(status)
        theirs.close()
        return cls(ours)

    def open_all(self, places: Sequence[Place]) -> list[int | OSError]:
        """As ``sockets.open_all``, on the host. From any thread."""
        result: list[int | OSError] = []
        for start in range(0, len(places), _BATCH):
            with self._lock:
                result += self._open(places[start : start + _BATCH])
        return result

    def _open(self, places: Sequence[Place]) -> list[int | OSError]:
        try:
            self._channel.send(orjson.dumps([list(place) for place in places]))
            data, descriptors, _, _ = socket.recv_fds(self._channel, _MESSAGE_MAX, _BATCH)
            numbers: list[int] = orjson.loads(data)
        except (OSError, ValueError) as error:
            return [OSError(f"the host's sockets cannot be had: {error}") for _ in places]
        opened = iter(descriptors)
        return [OSError(number, os.strerror(number)) if number else next(opened) for number in numbers]


def _serve(channel: socket.socket) -> None:
    while data := channel.recv(_MESSAGE_MAX):
        results = open_all([Place(*fields) for fields in orjson.loads(data)])
        numbers = [result.errno or -1 if isinstance(result, OSError) else 0 for result in results]
        descriptors = [result for result in results if isinstance(result, int)]
        socket.send_fds(channel, [orjson.dumps(numbers)], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
