"""Sockets of a node's namespace, for a process outside."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from cybernetes.services.apiserver.upstream import Upstream, UpstreamError
from cybernetes.services.common import netns
from cybernetes.services.common.lentsockets import NAME, Lender, LentSockets
from cybernetes.services.common.netlink import Netlink

ALONE = "127.0.0.1"


@pytest.mark.root
async def test_connections_are_made_in_the_namespace_of_the_lender(tmp_path: Path) -> None:
    alone = netns.create_namespace()
    (tmp_path / "n1").mkdir()
    lender = Lender(tmp_path / "n1" / NAME)
    try:
        with netns.run_in(alone, Netlink) as inside:
            inside.set_link(inside.index("lo"), up=True)
        server = netns.run_in(alone, socket.create_server, (ALONE, 0))
        port = server.getsockname()[1]
        # Its thread is in the namespace of whoever starts it.
        netns.run_in(alone, asyncio.run, lender.start())
        lent = LentSockets(tmp_path, [f"{ALONE}/32"])
        upstream = await Upstream.connect(ALONE, port, None, lent=lent)
        client, _ = server.accept()
        with client:
            upstream.send("GET", "/", {"Host": "x"}, b"")
            assert client.recv(100).startswith(b"GET / HTTP/1.1\r\n")
            client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert (await upstream.read_head()).code == 204
        upstream.close()
        with pytest.raises(UpstreamError, match="connection refused"):
            await Upstream.connect(ALONE, port, None)
        server.close()
        with pytest.raises(UpstreamError, match="connection refused"):
            await Upstream.connect(ALONE, port, None, lent=lent)
    finally:
        await lender.stop()
        os.close(alone)
    assert not (tmp_path / "n1" / NAME).exists()


async def test_addresses_elsewhere_are_dialled_from_here(tmp_path: Path) -> None:
    lent = LentSockets(tmp_path, ["10.244.0.0/16", "fd00:244::/64"])
    assert lent.socket_to("192.0.2.1") is None
    assert lent.socket_to("example.com") is None
    with pytest.raises(OSError, match="no node lends sockets"):
        lent.socket_to("10.244.1.1")
    (tmp_path / "n1").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "n1" / NAME))
    with pytest.raises(ConnectionRefusedError):
        lent.socket_to("fd00:244::1")
