"""The engine's images: asked for, pulled, removed, and shown as folders for image volumes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cybernetes.services.kubelet.runtimes.docker import statuses
from cybernetes.services.kubelet.runtimes.docker.engine import Engine
from cybernetes.services.kubelet.runtimes.interface import Image, NotFound, RuntimeFailure
from cybernetes.services.kubelet.volumes.mounts import MS_RDONLY, bind, mount

#: The engine's call with its refusals as ours (DockerRuntime._call).
Call = Callable[..., Awaitable[Any]]


class Images:
    def __init__(self, engine: Engine, call: Call) -> None:
        self._engine = engine
        self._call = call

    async def status(self, image: str) -> Image | None:
        try:
            return statuses.image(await self._call("inspect_image", image))
        except NotFound:
            return None

    async def pull(self, image: str, credentials: Sequence[tuple[str, str]]) -> str:
        tries: list[dict[str, str] | None] = [
            {"username": user, "password": password} for user, password in credentials
        ]
        tries = tries or [None]
        for number, login in enumerate(tries):
            try:
                await self._call("pull", image, auth_config=login, reason="ErrImagePull")
                break
            except NotFound as error:
                raise RuntimeFailure("ErrImagePull", str(error)) from error
            except RuntimeFailure:
                if number + 1 == len(tries):
                    raise
        found = await self.status(image)
        if found is None:
            raise RuntimeFailure("ErrImagePull", f"the engine pulled {image} and does not have it")
        return found.id

    async def list(self) -> Sequence[Image]:
        return [statuses.image(item) for item in await self._call("images")]

    async def remove(self, image_id: str) -> None:
        await self._call("remove_image", image_id, reason="ImageInUse")

    async def show(self, image: str, target: Path) -> None:
        """The image's files at the empty folder ``target``: its layers mounted one over the other where the engine
        keeps them as folders, else copied out of it. Raises RuntimeFailure."""
        found = await self._call("inspect_image", image)
        driver = found.get("GraphDriver") or {}
        data = driver.get("Data") or {}
        try:
            if driver.get("Name") == "overlay2" and data.get("UpperDir"):
                layers = [data["UpperDir"], *filter(None, (data.get("LowerDir") or "").split(":"))]
                await self._engine.in_thread(_mount_layers, layers, target)
            else:
                await self._copy_out(found["Id"], target)
        except OSError as error:
            raise RuntimeFailure("CreateContainerError", f"failed to mount image volume {image}: {error}") from error

    async def _copy_out(self, image: str, target: Path) -> None:
        """By a container that is never started."""
        created = await self._call("create_container", image, command=["/"])
        try:
            chunks = await self._call("export", created["Id"])
            await self._engine.in_thread(_extract, chunks, target)
        finally:
            await self._call("remove_container", created["Id"], force=True)
        await self._engine.in_thread(lambda: bind(str(target), target, read_only=True))


def _mount_layers(layers: Sequence[str], target: Path) -> None:
    """Uppermost first, read-only."""
    if len(layers) == 1:  # an overlay has two at least
        bind(layers[0], target, read_only=True)
    else:
        mount("overlay", target, "overlay", MS_RDONLY, f"lowerdir={':'.join(layers)}")


class _Chunks(io.RawIOBase):
    """What an iterator of bytes gives, as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._unread = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unread:
            try:
                self._unread = next(self._chunks)
            except StopIteration:
                return 0
        size = min(len(buffer), len(self._unread))
        buffer[:size], self._unread = self._unread[:size], self._unread[size:]
        return size


def _extract(chunks: Iterator[bytes], target: Path) -> None:
    with tarfile.open(fileobj=io.BufferedReader(_Chunks(chunks), 1 << 20), mode="r|") as tar:
        tar.extractall(target, filter="tar")
