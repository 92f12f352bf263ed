"""The engine's API: plain calls through the docker SDK in worker threads, streams on sockets of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson

T = TypeVar("T")

#: Calls under way at once. Starting a container takes the engine a few hundred milliseconds.
THREADS = 16
CALL_TIMEOUT_S = 120
DEFAULT_SOCKET = "/var/run/docker.sock"


class Engine:
    """One engine behind a Unix socket."""

    def __init__(self, socket_path: str = DEFAULT_SOCKET) -> None:
        self.socket_path = socket_path
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")
        self._api: Any = None

    async def connect(self) -> None:
        """Raises docker.errors.DockerException when no engine answers."""

        def make() -> Any:
            from docker import APIClient  # 123 ms: only who runs Docker pays

            return APIClient(base_url=f"unix://{self.socket_path}", version="auto", timeout=CALL_TIMEOUT_S)

        self._api = await self.in_thread(make)

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def call(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        """``docker.APIClient.<method>``. Raises docker.errors.APIError, NotFound."""
        return await self.in_thread(lambda: getattr(self._api, method)(*arguments, **keywords))

    def host_config(self, *, shows_system_paths: bool = False, **keywords: Any) -> Any:
        """``shows_system_paths``: /proc and /sys without what the engine masks or makes read-only in them."""
        config = self._api.create_host_config(**keywords)
        if shows_system_paths:  # the SDK has no word for it
            config["MaskedPaths"] = config["ReadonlyPaths"] = []
        return config

    async def close(self) -> None:
        if self._api is not None:
            self._api.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # Streams: the SDK's sockets may have swallowed the first bytes, and they block a thread each

    async def open_stream(
        self, method: str, path: str, body: Any = None, *, hijack: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
        """Send one request on a connection of its own and read the head of the answer.

        Returns (reader, writer, whether the rest is chunked). With ``hijack`` the connection carries raw bytes both
        ways from here on. Raises EngineRefusal with what the engine says.
        """
        reader, writer = await asyncio.open_unix_connection(self.socket_path, limit=1 << 20)
        try:
            data = b"" if body is None else orjson.dumps(body)
            head = [
                f"{method} {path} HTTP/1.1",
                "Host: docker",
                "Content-Type: application/json",
                f"Content-Length: {len(data)}",
            ]
            if hijack:
                head += ["Connection: Upgrade", "Upgrade: tcp"]
            writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + data)
            await writer.drain()
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            code = int(answer.split(" ", 2)[1])
            is_chunked = "transfer-encoding: chunked" in answer.lower()
            if code not in (101, 200):
                raise EngineRefusal(code, await _error_text(reader, answer, is_chunked))
        except BaseException:
            writer.close()
            raise
        return reader, writer, is_chunked


class EngineRefusal(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk of a chunked answer; b"" at its end."""
    size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
    data = await reader.readexactly(size + 2)
    return data[:-2]


async def _error_text(reader: asyncio.StreamReader, head: str, is_chunked: bool) -> str:
    if is_chunked:
        data = await read_chunk(reader)
    else:
        length = next((line for line in head.lower().split("\r\n") if line.startswith("content-length:")), ":0")
        data = await reader.readexactly(int(length.partition(":")[2]))
    with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
        return str(orjson.loads(data)["message"])
    return data.decode(errors="replace").strip()
