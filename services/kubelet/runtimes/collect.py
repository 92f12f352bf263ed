"""Reading an exec session to its end, as exec probes and hooks do."""

from __future__ import annotations

import asyncio

from cybernetes.services.kubelet.runtimes.interface import ExecResult, Stream

OUTPUT_MAX = 16 * 1024


async def collect(stream: Stream, timeout_s: float) -> ExecResult:
    """Read both streams to the end, keep the first 16 KiB of each, and take the exit code.

    Raises TimeoutError after ``timeout_s`` (0: never). The session is closed in any case, which ends the process.
    """
    kept = {1: bytearray(), 2: bytearray()}
    try:
        async with asyncio.timeout(timeout_s or None):
            while (chunk := await stream.read()) is not None:
                buffer = kept[chunk[0]]
                buffer += chunk[1][: max(0, OUTPUT_MAX - len(buffer))]
            return ExecResult(await stream.wait(), bytes(kept[1]), bytes(kept[2]))
    finally:
        await stream.close()
