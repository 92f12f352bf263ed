"""The image of the container that holds a pod's namespaces: one static program of ours, imported, never pulled.

For the network of a node that is not the host itself the program moves there first, and who joins it has to wait.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from cybernetes.services.common.netns import is_same_namespace
from cybernetes.services.kubelet.runtimes.docker.engine import Engine
from cybernetes.services.kubelet.runtimes.interface import RuntimeFailure

REPOSITORY = "cybernetes/pause"

#: The program moves in its first millisecond.
MOVE_TIMEOUT_S = 10.0


def _program() -> bytes:
    return (files("cybernetes.ext") / "bin" / "pause").read_bytes()


async def ensure_pause_image(engine: Engine) -> str:
    """Import it unless the engine has it; returns its name, which carries a hash of the program."""
    from docker.errors import ImageNotFound

    program = _program()
    tag = hashlib.sha256(program).hexdigest()[:12]
    name = f"{REPOSITORY}:{tag}"
    try:
        await engine.call("inspect_image", name)
        return name
    except ImageNotFound:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo("pause")
            entry.size, entry.mode = len(program), 0o755
            tar.addfile(entry, io.BytesIO(program))
        await engine.call(
            "import_image_from_data",
            archive.getvalue(),
            repository=REPOSITORY,
            tag=tag,
            changes=['ENTRYPOINT ["/pause"]'],
        )
        return name


async def moved_into(namespace: Path, inspect: Callable[[], Awaitable[dict[str, Any]]]) -> None:
    """Until the sandbox is in the network ``namespace``: a container that joins it earlier would be left behind.

    Raises RuntimeFailure when the sandbox ended instead, TimeoutError.
    """
    async with asyncio.timeout(MOVE_TIMEOUT_S):
        while True:
            state = (await inspect())["State"]
            if not state["Running"]:
                message = f"the sandbox did not get into the node's network (exit code {state['ExitCode']})"
                raise RuntimeFailure("CreatePodSandboxError", message)
            if is_same_namespace(f"/proc/{state['Pid']}/ns/net", namespace):
                return
            await asyncio.sleep(0.002)
