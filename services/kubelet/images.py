"""Having a container's image on the machine, as its pull policy says, with a growing wait after failures.

One image is pulled once at a time, however many pods wait for it, and so many different ones at most. The wait is by
pod and image: 10 s doubling to 5 min (upstream: pkg/kubelet/images).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cybernetes.core.clock import Clock
from cybernetes.core.kubelet.backoff import Backoff, format_duration
from cybernetes.core.kubelet.images import credentials, pull_policy, with_default_tag
from cybernetes.core.objects import Object, uid_of
from cybernetes.services.kubelet.recorder import Kind
from cybernetes.services.kubelet.runtimes.interface import Image, Runtime, RuntimeFailure

log = logging.getLogger(__name__)

PULLS_MAX = 5
BACKOFF_S = 10.0
BACKOFF_MAX_S = 300.0
#: For so long after a failed pull its error is shown; then it is waiting that is (ImagePullBackOff).
TELL_BACKOFF_S = 2.0
#: Of so many pods and images the last error is remembered.
ERRORS_MAX = 1000

#: Gets what is worth an event: (type, reason, message).
Note = Callable[[Kind, str, str], None]


class StartError(Exception):
    """A container cannot be started now. ``reason`` and ``message`` are what its status shows; after ``retry_s`` it is
    tried again (None: with the usual delay)."""

    def __init__(self, reason: str, message: str, retry_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_s = retry_s


class Failure(NamedTuple):
    reason: str
    message: str
    at: float


class ImagePuller:
    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._backoff = Backoff(BACKOFF_S, BACKOFF_MAX_S)
        self._failures: dict[str, Failure] = {}
        self._pulls: dict[str, asyncio.Task[str]] = {}
        self._slots = asyncio.Semaphore(PULLS_MAX)

    async def is_here(self, image: str, policy: str | None) -> bool:
        """Whether ``ensure`` would not have to pull."""
        if pull_policy(image, policy) == "Always":
            return False
        try:
            return await self._runtime.image_status(with_default_tag(image)) is not None
        except (ValueError, RuntimeFailure):
            return False

    async def ensure(self, pod: Object, image: str, policy: str | None, secrets: Sequence[Object], note: Note) -> Image:
        """The image, pulled if need be. Raises StartError."""
        try:
            name = with_default_tag(image)
        except ValueError as error:
            message = f'Failed to apply default image tag "{image}": {error}'
            note("Warning", "InspectFailed", message)
            raise StartError("InvalidImageName", message) from error
        policy = pull_policy(image, policy)
        if policy != "Always":
            found = await self._inspect(name, note)
            if found is not None:
                text = f'Container image "{image}" already present on machine and can be accessed by the pod'
                note("Normal", "Pulled", text)
                return found
            if policy == "Never":
                message = f'Container image "{image}" is not present with pull policy of Never'
                note("Warning", "ErrImageNeverPull", message)
                raise StartError("ErrImageNeverPull", message)
        await self._pull(pod, image, name, secrets, note)
        found = await self._inspect(name, note)
        if found is None:
            raise StartError("ErrImagePull", f'image "{image}" was pulled and is not there')
        return found

    async def _inspect(self, name: str, note: Note) -> Image | None:
        try:
            return await self._runtime.image_status(name)
        except RuntimeFailure as error:
            message = f'Failed to inspect image "{name}": {error}'
            note("Warning", "InspectFailed", message)
            raise StartError("ImageInspectError", message) from error

    async def _pull(self, pod: Object, image: str, name: str, secrets: Sequence[Object], note: Note) -> None:
        key = f"{uid_of(pod)}_{name}"
        now = self._clock.now()
        wait_s = self._backoff.remaining(key, now)
        if wait_s > 0:
            failed = self._failures.get(key)
            if failed is not None and (tell_s := failed.at + TELL_BACKOFF_S - now) > 0:
                raise StartError(failed.reason, failed.message, tell_s)  # woken early: it would never be seen
            message = f'Back-off pulling image "{image}"'
            note("Normal", "BackOff", message)
            raise StartError(
                "ImagePullBackOff", f"{message}: {failed.reason}: {failed.message}" if failed else message, wait_s
            )
        note("Normal", "Pulling", f'Pulling image "{image}"')
        started = self._clock.monotonic()
        task = self._pulls.get(name)
        if task is None:
            task = self._pulls[name] = asyncio.ensure_future(self._download(name, credentials(name, secrets)))
            task.add_done_callback(lambda ended: self._ended(name, ended))
        try:
            await asyncio.shield(task)
        except RuntimeFailure as error:
            note("Warning", "Failed", f'Failed to pull image "{image}": {error}')
            self._backoff.next(key, self._clock.now(), self._clock.now())
            reason = error.reason if error.reason in ("RegistryUnavailable", "SignatureValidationFailed") else ""
            reason = reason or "ErrImagePull"
            self._failures[key] = Failure(reason, str(error), self._clock.now())
            if len(self._failures) > ERRORS_MAX:
                self._failures.pop(next(iter(self._failures)))
            raise StartError(reason, str(error), TELL_BACKOFF_S) from error
        self._backoff.forget(key)
        self._failures.pop(key, None)
        size = await self._runtime.image_status(name)
        took = format_duration(round(self._clock.monotonic() - started, 3))
        text = f'Successfully pulled image "{image}" in {took} ({took} including waiting).'
        note("Normal", "Pulled", f"{text} Image size: {size.size if size else 0} bytes.")

    def _ended(self, name: str, task: asyncio.Task[str]) -> None:
        self._pulls.pop(name, None)
        if not task.cancelled() and task.exception() is not None:
            log.debug("pull of %s: %s", name, task.exception())  # who waited for it tells the user

    async def _download(self, name: str, pairs: Sequence[tuple[str, str]]) -> str:
        async with self._slots:
            return await self._runtime.pull_image(name, pairs)

    async def stop(self) -> None:
        pulls = list(self._pulls.values())
        for pull in pulls:
            pull.cancel()
        if pulls:
            await asyncio.wait(pulls)
