"""Blocking work in a worker thread, never left running behind its caller's back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call a blocking function in a worker thread and wait for it.

    ``asyncio.to_thread`` returns at once when the caller is cancelled, while the function goes on. Here the
    cancellation waits for its end, so what it changes and what the caller does next never overlap.
    """
    return await finished(asyncio.to_thread(function, *arguments))


async def finished(work: Awaitable[T]) -> T:
    """Do ``work`` to its end even when the caller is cancelled; the cancellation goes on after that."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise
