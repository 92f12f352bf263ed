"""Sockets of the host for a process that has left it."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys

from cybernetes.services.common.hostsockets import HostSockets
from cybernetes.services.proxy.sockets import Place

PROGRAM = """
import os, socket, sys
from cybernetes.services.common import netns
from cybernetes.services.common.hostsockets import HostSockets
from cybernetes.services.proxy.sockets import Place
host = HostSockets.start()
alone = netns.create_namespace() if os.geteuid() == 0 else None
places = [Place(4, "TCP", "127.0.0.1", 0), Place(4, "TCP", "127.0.0.1", int(sys.argv[1])), Place(4, "UDP", "", 0)]

def work():
    results = host.open_all(places * 100)
    first = socket.socket(fileno=results[0])
    first.settimeout(10)
    print(first.getsockname()[1], results[1].errno, len([r for r in results if isinstance(r, int)]), flush=True)
    client, _ = first.accept()
    client.sendall(b"from elsewhere")

netns.run_in(alone, work) if alone is not None else work()
"""


def test_a_listener_of_the_host_is_served_from_another_namespace() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-c", PROGRAM, str(taken.getsockname()[1])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            port, number, count = map(int, process.stdout.readline().split())
            assert (number, count) == (errno.EADDRINUSE, 200)
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.settimeout(10)
                assert client.recv(100) == b"from elsewhere"
            # The child ends with its parent: nobody holds the output open.
            assert process.stdout.read() == ""
            assert process.wait(10) == 0


def test_what_cannot_be_had_is_said_for_each_place() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    with ours:
        results = HostSockets(ours).open_all([Place(4, "TCP", "", 0)] * 3)
    assert len(results) == 3
    assert all(isinstance(result, OSError) for result in results)
