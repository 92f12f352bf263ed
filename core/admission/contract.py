"""The contract between admission plugins and the API server.

1. For each write the plugins that have ``admit`` are asked in order, and may change the object; then, when it has been
   validated, those that have ``validate``, which may not. The first that raises an ApiError ends the write.
2. They are synchronous decisions over what the caches know (``Reader``): they never wait, and keep no state of their
   own, so one instance serves every cluster of the process.
3. What a Reader returns is shared: read it, never change it.
4. What has to be counted with a write is said by ``charge``, which does not store it: the caller does.
5. Something that is missing but on its way (the default ServiceAccount of a new namespace) is refused with ``NotYet``:
   the caller may ask again for a moment before it gives the refusal to the client.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from cybernetes.core.api.resource import Resource
from cybernetes.core.auth.attributes import Authorize
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError, forbidden
from cybernetes.core.objects import Gvr, Object

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


@dataclass(slots=True)
class Attributes:
    """One write. ``obj`` is what is to be kept (None for a deletion) and may be changed by ``admit``; ``old`` what is.

    ``resource`` is the one that was addressed; for a subresource ``obj`` may be of another kind (a Binding for
    pods/binding). ``name`` is empty until a generated name is made. Plugins add ``warnings``, which the client gets
    with a write that succeeds, and ``annotations``, which the audit event gets in any case; ``request_annotations``
    only where the audit policy asks for bodies of requests.
    """

    operation: Operation
    resource: Resource
    subresource: str
    namespace: str
    name: str
    obj: Object | None
    old: Object | None
    user: User
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    request_annotations: dict[str, str] = field(default_factory=dict)

    def is_for(self, gvr: Gvr, subresource: str = "") -> bool:
        """Whether it addresses this resource (whatever the version) and subresource."""
        own = self.resource.gvr
        return own.resource == gvr.resource and own.group == gvr.group and self.subresource == subresource


class Reader(Protocol):
    """The cluster as plugins see it: at least as new as the start of the request."""

    @property
    def clock(self) -> Clock: ...

    @property
    def random(self) -> Random: ...

    @property
    def authorize(self) -> Authorize: ...

    def get(self, gvr: Gvr, namespace: str, name: str) -> Object | None:
        """``namespace`` is empty for objects of the whole cluster."""
        ...

    def list(self, gvr: Gvr, namespace: str = "") -> Iterable[Object]:
        """Of one namespace, or of all when it is empty."""
        ...


class Mutating(Protocol):
    """A plugin that may change what is written. Its class's docstring says what it does and cites the documentation."""

    name: str

    def admit(self, attributes: Attributes, cluster: Reader) -> None: ...


class Validating(Protocol):
    """A plugin that judges what is written, as it will be kept."""

    name: str

    def validate(self, attributes: Attributes, cluster: Reader) -> None: ...


class Charging(Protocol):
    """A plugin that keeps count. Asked last, after everything else has let the write through."""

    name: str

    def charge(self, attributes: Attributes, cluster: Reader, counted: Collection[str] = ()) -> list[Object]:
        """Objects with a changed status, to be stored before the write, each only if it has not changed meanwhile.

        When one has, ask again, a few times at most; ``counted`` are the names of those that were stored already. When
        the write fails afterwards, the count is too high until the controller that owns it mends it: nothing need be
        undone.
        """
        ...


class NotYet(ApiError):
    """A refusal that may be out of date in a moment."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.status, retry_after_s=error.retry_after_s)


def refused(attributes: Attributes, why: str) -> ApiError:
    """The 403 of admission. An object without a name yet is called by what its name is generated from."""
    name = attributes.name
    if not name:
        metadata: dict[str, Any] = (attributes.obj or {}).get("metadata") or {}
        name = metadata.get("name") or metadata.get("generateName") or "Unknown"
    gvr = attributes.resource.gvr
    return forbidden(gvr.group, gvr.resource, name, why)
