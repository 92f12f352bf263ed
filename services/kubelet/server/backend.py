"""What the kubelet's server asks of the node behind it: one real kubelet, or thousands of simulated nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from cybernetes.core.kubelet.logs import LogOptions
from cybernetes.core.objects import Object
from cybernetes.services.kubelet.runtimes.interface import PortStream, Stream


class Refused(Exception):
    """An answer other than 200: ``code`` and a text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Backend(Protocol):
    """All methods raise Refused for what there is not."""

    def pods(self) -> Sequence[Object]: ...

    def find_pod(self, namespace: str, name: str, uid: str = "") -> Object | None: ...

    async def logs(self, pod: Object, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Raises at once for what there is not; the iterator is for reading alone."""
        ...

    async def exec(self, pod: Object, container: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Stream: ...

    async def attach(self, pod: Object, container: str) -> Stream: ...

    async def port_forward(self, pod: Object, port: int) -> PortStream: ...

    async def summary(self) -> dict[str, Any]:
        """``stats.v1alpha1.Summary``."""
        ...

    def problems(self) -> Sequence[str]:
        """What is unhealthy about the node; nothing when all is well."""
        ...
