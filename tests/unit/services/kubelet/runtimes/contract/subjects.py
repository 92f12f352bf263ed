"""The runtimes that the contract is held against. A runtime joins by adding its ``Subject`` here.

A subject says how to get a runtime on fresh state, how to get another one on the same state (a kubelet that was
restarted), and how its containers are made to do what a test needs: the simulated runtime obeys annotations where the
others run a shell.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cybernetes.core.clock import Random, SystemClock
from cybernetes.services.kubelet.runtimes.interface import Runtime
from cybernetes.services.kubelet.runtimes.simulated import SimulatedRuntime

#: Others may test on this machine at the same time: names and addresses of this process.
BRIDGE = f"cybr{os.getpid() % 100000}"
OWNER = f"cybernetes-contract-{os.getpid()}"
POD_CIDR = f"10.{232 + os.getpid() // 250 % 8}.{os.getpid() % 250}.0/24"


def uid_of(number: object) -> str:
    """A pod's uid that no other process uses: engines know containers by it."""
    return f"uid-{number}-{os.getpid()}"


class Subject(Protocol):
    name: str
    #: An image that is on the machine, and one that cannot be had.
    image: str
    missing_image: str
    #: Containers are real processes: their output, files and signals can be looked at.
    is_real: bool

    def unavailable(self) -> str:
        """Why it cannot be tested here; empty when it can."""
        ...

    async def open(self, folder: Path) -> Runtime:
        """On the state in ``folder``, which may be empty. Not started."""
        ...

    async def close(self, folder: Path) -> None:
        """Leave nothing of ``folder``'s state behind on the machine."""
        ...

    def command(self, script: str) -> Sequence[str]: ...

    def annotations(
        self, *, run_for_s: float | None = None, exit_code: int = 0, stop_s: float = 0.0
    ) -> Mapping[str, str]:
        """What the pod is annotated with so that its containers behave so."""
        ...


class SimulatedSubject:
    name = "simulated"
    image = "any:1"
    missing_image = "missing:1"
    is_real = False

    def __init__(self) -> None:
        self._runtimes: dict[Path, SimulatedRuntime] = {}

    def unavailable(self) -> str:
        return ""

    async def open(self, folder: Path) -> Runtime:
        # What runs is remembered by the object: the same one is what a restarted kubelet finds.
        if folder not in self._runtimes:
            self._runtimes[folder] = SimulatedRuntime(SystemClock(), Random(1), images=[self.image])
        return self._runtimes[folder]

    async def close(self, folder: Path) -> None:
        self._runtimes.pop(folder, None)

    def command(self, script: str) -> Sequence[str]:
        return ["sh", "-c", script]

    def annotations(
        self, *, run_for_s: float | None = None, exit_code: int = 0, stop_s: float = 0.0
    ) -> Mapping[str, str]:
        result = {"cybernetes.io/exit-code": str(exit_code), "cybernetes.io/stop-delay": str(stop_s)}
        if run_for_s is not None:
            result["cybernetes.io/run-for"] = str(run_for_s)
        return result


async def _leave_nothing() -> None:
    from cybernetes.services.kubelet.cgroups import Cgroups
    from cybernetes.services.kubelet.network import PodNetwork

    await PodNetwork(bridge=BRIDGE).remove()
    Cgroups(OWNER).destroy()


class ProcessSubject:
    name = "process"
    image = "host"
    missing_image = ""
    is_real = True

    def unavailable(self) -> str:
        if os.geteuid() != 0:
            return "needs root"
        from cybernetes.services.kubelet.runtimes.process import shim

        if not Path(shim.SHIM).exists():
            return "needs the built shim"
        missing = [name for name in ("ip", "busybox") if not shutil.which(name)]
        return f"needs {' and '.join(missing)}" if missing else ""

    async def open(self, folder: Path) -> Runtime:
        from cybernetes.services.kubelet.network import PodNetwork
        from cybernetes.services.kubelet.runtimes.process.runtime import ProcessRuntime

        hidden = folder / "hidden"
        hidden.mkdir(exist_ok=True)
        network = PodNetwork(bridge=BRIDGE)
        return ProcessRuntime(folder / "records", hidden, OWNER, network, SystemClock())

    async def close(self, folder: Path) -> None:
        await _leave_nothing()

    def command(self, script: str) -> Sequence[str]:
        return ["sh", "-c", script]

    def annotations(
        self, *, run_for_s: float | None = None, exit_code: int = 0, stop_s: float = 0.0
    ) -> Mapping[str, str]:
        return {}


class DockerSubject:
    """The image is this machine's static busybox, imported once."""

    name = "docker"
    image = "cybernetes-test/busybox:1"
    missing_image = ""
    is_real = True

    def unavailable(self) -> str:
        busybox = shutil.which("busybox")
        if busybox is None:
            return "needs a static busybox"
        import docker

        client = docker.from_env()
        try:
            if not client.images.list(self.image):
                repository, _, tag = self.image.partition(":")
                client.api.import_image_from_data(_image_of(Path(busybox)), repository=repository, tag=tag)
        except docker.errors.DockerException as error:
            return str(error)
        finally:
            client.close()
        return ""

    async def open(self, folder: Path) -> Runtime:
        from cybernetes.services.kubelet.network import PodNetwork
        from cybernetes.services.kubelet.runtimes.docker import DockerRuntime
        from cybernetes.services.kubelet.runtimes.docker.engine import Engine

        network = PodNetwork(bridge=BRIDGE)
        return DockerRuntime(OWNER, OWNER, network, SystemClock(), Engine())

    async def close(self, folder: Path) -> None:
        await _leave_nothing()

    def command(self, script: str) -> Sequence[str]:
        return ["sh", "-c", script]

    def annotations(
        self, *, run_for_s: float | None = None, exit_code: int = 0, stop_s: float = 0.0
    ) -> Mapping[str, str]:
        return {}


def _image_of(busybox: Path) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
        for name in (
            "sh",
            "cat",
            "echo",
            "sleep",
            "true",
            "false",
            "test",
            "stty",
            "ls",
            "id",
            "env",
            "hostname",
            "nc",
        ):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        passwd = tarfile.TarInfo("etc/passwd")
        passwd.size = len(content := b"root:x:0:0:root:/root:/bin/sh\n")
        tar.addfile(passwd, io.BytesIO(content))
    return archive.getvalue()


SUBJECTS: list[Subject] = [SimulatedSubject(), ProcessSubject(), DockerSubject()]
