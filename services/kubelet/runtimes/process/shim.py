"""Starting processes through the shim (ext/native/shim): the spec that it reads, the answer that it gives."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

SHIM = str(files("cybernetes.ext") / "bin" / "shim")

Spec = list[tuple[str, ...]]

ANSWER_TIMEOUT_S = 30.0


class ShimError(Exception):
    """What the shim could not do: ``STEP SUBJECT: REASON``."""


class Started(NamedTuple):
    pid: int
    watcher: int


def encode(spec: Spec) -> bytes:
    """Keys and values, each ended by a NUL. Raises ShimError for a value that holds one."""
    words = [word.encode() for entry in spec for word in entry]
    if any(b"\0" in word for word in words):
        raise ShimError("a value holds a NUL byte")
    return b"".join(word + b"\0" for word in words)


def lists(key: str, values: Sequence[str]) -> Spec:
    return [(key, value) for value in values]


def environment(variables: Mapping[str, str]) -> Spec:
    return [("env", f"{name}={value}") for name, value in variables.items()]


@contextlib.contextmanager
def spec_file(spec: Spec) -> Iterator[tuple[int, str]]:
    """The spec as an anonymous file: (descriptor to pass on, its path in the child). Nothing is left on disk."""
    descriptor = os.memfd_create("spec")
    try:
        os.write(descriptor, encode(spec))
        yield descriptor, f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


async def start(mode: str, spec: Spec) -> Started:
    """Start a sandbox or a container that outlives us. Raises ShimError with the step that failed."""
    with spec_file(spec) as (descriptor, path):
        shim = await asyncio.create_subprocess_exec(
            SHIM,
            mode,
            path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(descriptor,),
        )
        assert shim.stdout is not None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer = (await shim.stdout.readline()).decode(errors="replace").strip()
        finally:
            await shim.wait()
    word, _, rest = answer.partition(" ")
    if word != "ok":
        raise ShimError(rest or "it ended without an answer")
    pid, watcher = rest.split()
    return Started(int(pid), int(watcher))
