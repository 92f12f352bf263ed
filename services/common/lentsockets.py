"""Sockets of a node's network namespace, for a process that is not in it.

Without root the node lives in a namespace of its own. The API server, on the host, still has to reach pods and
Services: for its proxy and for webhooks. A socket stays in the namespace in which it was opened, so the node opens one
for each connection and hands it over (SCM_RIGHTS, 0.1 ms); no bytes pass through the node.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

from cybernetes.services.common.component import Component

NAME = "sockets.sock"
#: A borrower says at once what it wants.
_PATIENCE_S = 2.0
_FAMILIES = {b"4": socket.AF_INET, b"6": socket.AF_INET6}


class Lender:
    """Lends TCP sockets to the owner of the file at ``path``, and to root."""

    name = "socket lender"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        umask = os.umask(0o177)
        try:
            listening.bind(str(self._path))
        finally:
            os.umask(umask)
        listening.listen(128)
        self._socket = listening
        # A thread, as uvloop's transports pass no descriptors. It ends when the socket is shut down.
        threading.Thread(target=_lend, args=(listening,), name=self.name, daemon=True).start()

    async def stop(self) -> None:
        listening, self._socket = self._socket, None
        if listening is not None:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()


def _lend(listening: socket.socket) -> None:
    while True:
        try:
            borrower, _ = listening.accept()
        except OSError:
            return
        with borrower, contextlib.suppress(OSError, KeyError):
            borrower.settimeout(_PATIENCE_S)
            with socket.socket(_FAMILIES[borrower.recv(1)], socket.SOCK_STREAM) as lent:
                socket.send_fds(borrower, [b"."], [lent.fileno()])


class LentSockets:
    """``socket_to`` an address of ``networks`` (the cluster's) is a node's; to others the caller uses its own.

    ``folder`` has a folder for each node, where a Lender may be.
    """

    def __init__(self, folder: Path, networks: Sequence[str]) -> None:
        self._folder = folder
        self._networks = [ip_network(cidr) for cidr in networks]

    def socket_to(self, host: str) -> socket.socket | None:
        """A socket that does not block and is not connected; None for addresses elsewhere. Raises OSError."""
        try:
            address = ip_address(host)
        except ValueError:
            return None
        if not any(address.version == network.version and address in network for network in self._networks):
            return None
        error: OSError = FileNotFoundError(2, "no node lends sockets")
        for path in sorted(self._folder.glob(f"*/{NAME}")):
            try:
                return _borrow(path, str(address.version).encode())
            except OSError as found:
                error = found
        raise error


def _borrow(path: Path, family: bytes) -> socket.socket:
    with socket.socket(socket.AF_UNIX) as lender:
        lender.settimeout(_PATIENCE_S)
        lender.connect(str(path))
        lender.send(family)
        _, descriptors, _, _ = socket.recv_fds(lender, 1, 1)
    if not descriptors:
        raise ConnectionError("the node lent no socket")
    lent = socket.socket(fileno=descriptors[0])
    lent.setblocking(False)
    return lent


def _conforms(lender: Lender) -> Component:
    return lender
