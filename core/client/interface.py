"""The contract by which every component talks to the API, whichever way it goes.

Two implementations, both in services/common: HTTPS, and direct, which enters the API server's handler chain in the
same process with a user, RBAC, flow schema and audit like any request. A refusal is an ApiError that carries the
Status, whichever way it came.

Objects that a client returns from ``get``, ``create``, ``update``, ``patch`` and ``delete`` are the caller's own.
Objects in lists and watch events may be shared by everyone in the process: they are read-only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from cybernetes.core.objects import Gvr, Object

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class WatchEvent(NamedTuple):
    """``object`` is read-only; a BOOKMARK has only kind, apiVersion and metadata.resourceVersion."""

    type: EventType
    object: Object


class ListPage(NamedTuple):
    """``items`` carry no apiVersion and kind, as in a list of the API; they are read-only."""

    items: Sequence[Object]
    resource_version: str
    continue_token: str
    remaining: int | None


class Client(Protocol):
    """All methods raise ApiError for what the server refuses, and ConnectionError when it cannot be reached."""

    async def get(
        self, gvr: Gvr, name: str, namespace: str = "", *, subresource: str = "", resource_version: str = ""
    ) -> Object: ...

    async def list(
        self,
        gvr: Gvr,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        resource_version_match: str = "",
    ) -> ListPage:
        """One page; everything when ``limit`` is 0. Raises ApiError 410 when the continue token has expired."""
        ...

    def watch(
        self,
        gvr: Gvr,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str,
        allow_bookmarks: bool = True,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """Batches of what happened after ``resource_version``. Ends when the server ends it: resume from the last
        version seen. Raises ApiError 410 when that has been compacted away: list again."""
        ...

    async def create(
        self,
        gvr: Gvr,
        obj: Object,
        namespace: str = "",
        *,
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """``name`` and ``subresource`` are for creations below an object: ``binding``, ``eviction``, ``token``."""
        ...

    async def update(self, gvr: Gvr, obj: Object, *, subresource: str = "") -> Object:
        """Replace; name and namespace come from the object. A resourceVersion in it is a precondition."""
        ...

    async def patch(
        self,
        gvr: Gvr,
        name: str,
        patch: Object | Sequence[Mapping[str, Any]],
        namespace: str = "",
        *,
        patch_type: str = MERGE_PATCH,
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object: ...

    async def delete(
        self,
        gvr: Gvr,
        name: str,
        namespace: str = "",
        *,
        grace_period_s: int | None = None,
        propagation: str = "",
        uid: str = "",
        resource_version: str = "",
    ) -> Object:
        """``uid`` and ``resource_version`` are preconditions. Returns the object or the Status sent."""
        ...

    async def delete_collection(
        self,
        gvr: Gvr,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation: str = "",
    ) -> None: ...

    async def close(self) -> None: ...
