"""The image of the container that holds a pod's namespaces: one static program of ours, imported, never pulled."""

from __future__ import annotations

import hashlib
import io
import tarfile
from importlib.resources import files

from cybernetes.services.kubelet.runtimes.docker.engine import Engine

REPOSITORY = "cybernetes/pause"


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
