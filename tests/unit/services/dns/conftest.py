"""The API in memory of the client's tests, and a resolver that answers what a test tells it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import dns.flags
import dns.message
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "core" / "client"))

Answering = Callable[[dns.message.Message, bool], "dns.message.Message | bytes | None"]


class Resolver(asyncio.DatagramProtocol):
    """Listens by UDP and TCP on 127.0.0.1. ``answering(query, by_udp)`` gives the response, None for none."""

    def __init__(self) -> None:
        self.answering: Answering = lambda query, by_udp: dns.message.make_response(query)
        self.queries: list[dns.message.Message] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.tcp = await asyncio.start_server(self.converse, "127.0.0.1", 0)
        port = self.tcp.sockets[0].getsockname()[1]
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))
        self.address = f"127.0.0.1#{port}"

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.udp = transport

    def answer(self, data: bytes, by_udp: bool) -> bytes | None:
        query = dns.message.from_wire(data)
        self.queries.append(query)
        response = self.answering(query, by_udp)
        return response.to_wire() if isinstance(response, dns.message.Message) else response

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        response = self.answer(data, True)
        if response is not None:
            self.udp.sendto(response, address)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        response = self.answer(data, False)
        if response is not None:
            writer.write(len(response).to_bytes(2, "big") + response)
        writer.close()

    def stop(self) -> None:
        self.udp.close()
        self.tcp.close()


@pytest.fixture
async def resolver() -> AsyncIterator[Resolver]:
    made = Resolver()
    await made.start()
    yield made
    made.stop()
