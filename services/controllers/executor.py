"""Does the actions of controllers, and lets the informers know at once what was written.

Every write can be done twice without harm, which is what makes a lost answer bearable:

- A creation has its name before it is first sent. Sent again after a lost answer, "already exists" means that the first
  one arrived. If the answer stays lost, the name is kept as a *doubt* and looked up before the key is reconciled again.
- An update carries the revision that was read; repeated, it is refused as a conflict and decided anew. A lost answer
  leaves a doubt too: until it is looked up, the view may be older than our own write.
- A deletion carries a uid; that it is gone already is an answer (False), not an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from cybernetes.core.client.events import EventRecorder
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Random
from cybernetes.core.controllers.interface import (
    Action,
    Again,
    Create,
    Delete,
    DeleteCollection,
    Emit,
    Erase,
    Get,
    List,
    Patch,
    Together,
    Update,
)
from cybernetes.core.errors import ApiError, is_already_exists, is_conflict, is_not_found
from cybernetes.core.objects import Gvr, Object, controller_of, is_deleting, uid_of
from cybernetes.services.controllers.directories import erase
from cybernetes.services.controllers.ownwrites import OwnWrites

log = logging.getLogger(__name__)

#: How many actions of one Together are in flight at once.
IN_FLIGHT_MAX = 64
#: A creation whose answer was lost is sent again this often, after 0.1, 0.2 … seconds.
CREATE_TRIES = 4
CREATE_RETRY_S = 0.1
#: Names drawn for one creation before giving up; 27^5 names make one collision rare.
NAMES_MAX = 8


class Executor:
    """Acts for one controller. ``requeue`` is its queue's add_after."""

    def __init__(
        self,
        client: Client,
        informers: InformerFactory,
        random: Random,
        recorder: EventRecorder,
        requeue: Callable[[str, float], None],
        host_path_root: str = "",
    ) -> None:
        self.writes = 0
        self.own = OwnWrites(requeue)
        #: key -> (gvr, namespace, name) of writes whose outcome is not known.
        self.doubts: dict[str, list[tuple[Gvr, str, str]]] = {}
        #: key -> the object on which a write was refused because the view was behind.
        self.stale: dict[str, tuple[Gvr, str, str]] = {}
        self._client = client
        self._informers = informers
        self._random = random
        self._recorder = recorder
        self._requeue = requeue
        self._host_path_root = host_path_root

    async def settle_doubts(self, key: str) -> None:
        """Look up what is in doubt for ``key``. Raises ConnectionError while the server cannot be reached."""
        while names := self.doubts.get(key):
            gvr, namespace, name = names[-1]
            await self.mend(gvr, namespace, name)
            names.pop()
        self.doubts.pop(key, None)

    async def mend(self, gvr: Gvr, namespace: str, name: str) -> None:
        """Correct the view of one object by reading it."""
        informer = self._informers.find(gvr)
        if informer is not None:
            await informer.repair(namespace, name)

    async def run(self, key: str, action: Action) -> Any:
        """Do one action for ``key`` and give its answer. Raises ApiError, ConnectionError."""
        match action:
            case Emit():
                self._recorder.event(
                    action.reference, action.kind, action.reason, action.message, annotations=action.annotations
                )
                return None
            case Erase():
                self.writes += 1
                return await erase(action.path, self._host_path_root)
            case Again():
                self._requeue(action.key or key, action.after_s)
                return None
            case Together():
                return await self._together(key, action.actions)
            case Get():
                return await self._client.get(action.gvr, action.name, action.namespace, subresource=action.subresource)
            case List():
                return await self._client.list(
                    action.gvr,
                    action.namespace,
                    label_selector=action.label_selector,
                    field_selector=action.field_selector,
                    limit=action.limit,
                    continue_token=action.continue_token,
                )
            case Create():
                return await self._create(key, action)
            case Update():
                metadata = action.obj["metadata"]
                target = (action.gvr, metadata.get("namespace", ""), metadata["name"])
                with self.own.writing(key, *target) as flight:
                    flight.answer = await self._change(key, action, target)
                    return flight.answer
            case Patch():
                target = (action.gvr, action.namespace, action.name)
                with self.own.writing(key, *target) as flight:
                    flight.answer = await self._change(key, action, target)
                    return flight.answer
            case Delete():
                with self.own.writing(key, action.gvr, action.namespace, action.name, is_deletion=True):
                    return await self._delete(key, action)
            case DeleteCollection():
                self.writes += 1
                await self._client.delete_collection(
                    action.gvr,
                    action.namespace,
                    label_selector=action.label_selector,
                    field_selector=action.field_selector,
                    propagation=action.propagation,
                )
                return None

    async def _together(self, key: str, actions: Sequence[Action]) -> list[Any]:
        slots = asyncio.Semaphore(IN_FLIGHT_MAX)

        async def one(action: Action) -> Any:
            async with slots:
                try:
                    return await self.run(key, action)
                except (ApiError, ConnectionError) as error:
                    return error

        if len(actions) == 1:
            return [await one(actions[0])]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(action)) for action in actions]
        return [task.result() for task in tasks]

    def _absorb(self, gvr: Gvr, obj: Object) -> None:
        informer = self._informers.find(gvr)
        if informer is not None:
            informer.absorb(obj)

    def _absorb_deletion(self, gvr: Gvr, namespace: str, name: str, uid: str) -> None:
        informer = self._informers.find(gvr)
        if informer is not None and uid:
            informer.absorb_deletion(namespace, name, uid)

    async def _create(self, key: str, action: Create) -> Object:
        obj = action.obj
        metadata = obj.get("metadata") or {}
        draws_names = not metadata.get("name") and bool(metadata.get("generateName"))
        names = NAMES_MAX if draws_names else 1
        while True:
            if draws_names:
                name = metadata["generateName"] + self._random.name_suffix()
                obj = {**obj, "metadata": {**metadata, "name": name}}
            names -= 1
            name = action.name or (obj.get("metadata") or {}).get("name", "")
            try:
                with self.own.writing(key, action.gvr, action.namespace, name) as flight:
                    flight.answer = created = await self._create_once(key, action, obj)
                    if not action.subresource:
                        self._absorb(action.gvr, created)
                    return created
            except ApiError as error:
                if not (is_already_exists(error) and names > 0):
                    raise

    async def _create_once(self, key: str, action: Create, obj: Object) -> Object:
        """Create under one name, repeating what was not answered."""
        for attempt in range(CREATE_TRIES):
            self.writes += 1
            try:
                return await self._client.create(
                    action.gvr, obj, action.namespace, name=action.name, subresource=action.subresource
                )
            except ConnectionError:
                name = obj["metadata"].get("name", "") if "metadata" in obj else ""
                if action.subresource or not name:
                    raise
                if attempt == CREATE_TRIES - 1:
                    self.doubts.setdefault(key, []).append((action.gvr, action.namespace, name))
                    raise
                await asyncio.sleep(CREATE_RETRY_S * 2**attempt)
            except ApiError as error:
                if attempt and is_already_exists(error):
                    selector = f"metadata.name={obj['metadata']['name']}"
                    there = (await self._client.list(action.gvr, action.namespace, field_selector=selector)).items
                    if there and _is_ours(there[0], obj):
                        return there[0]
                raise
        raise AssertionError("the last try returns or raises")

    async def _change(self, key: str, action: Update | Patch, target: tuple[Gvr, str, str]) -> Object:
        self.writes += 1
        try:
            if isinstance(action, Update):
                changed = await self._client.update(action.gvr, action.obj, subresource=action.subresource)
            else:
                changed = await self._client.patch(
                    action.gvr,
                    action.name,
                    action.patch,
                    action.namespace,
                    patch_type=action.patch_type,
                    subresource=action.subresource,
                )
        except ApiError as error:
            if is_conflict(error) or is_not_found(error):
                self.stale[key] = target
            raise
        except ConnectionError:
            self.doubts.setdefault(key, []).append(target)
            raise
        if action.subresource in ("", "status", "approval", "ephemeralcontainers"):
            self._absorb(action.gvr, changed)
        return changed

    async def _delete(self, key: str, action: Delete) -> bool:
        self.writes += 1
        try:
            answer = await self._client.delete(
                action.gvr,
                action.name,
                action.namespace,
                grace_period_s=action.grace_period_s,
                propagation=action.propagation,
                uid=action.uid,
                resource_version=action.resource_version,
            )
        except ApiError as error:
            if not (is_not_found(error) or is_conflict(error)):
                raise
            if is_conflict(error) and await self._is_there(action):
                self.stale[key] = (action.gvr, action.namespace, action.name)
                raise
            self._absorb_deletion(action.gvr, action.namespace, action.name, action.uid)
            return False
        if answer.get("kind") == "Status" or not is_deleting(answer):
            details = answer.get("details") or {}
            uid = action.uid or details.get("uid", "") or answer.get("metadata", {}).get("uid", "")
            self._absorb_deletion(action.gvr, action.namespace, action.name, uid)
        else:
            self._absorb(action.gvr, answer)
        return True

    async def _is_there(self, action: Delete) -> bool:
        """Whether exactly this object still exists: a precondition on its uid fails when another one has its name."""
        if not action.uid or action.resource_version:
            return True
        page = await self._client.list(
            action.gvr, action.namespace, field_selector=f"metadata.name={action.name}", limit=1
        )
        return any(uid_of(obj) == action.uid for obj in page.items)


def _is_ours(there: Object, sent: Object) -> bool:
    """Whether what exists under the name is what we sent: it has the owner that we gave it."""
    owner = controller_of(sent)
    found = controller_of(there)
    if owner is None or found is None:
        return owner is None and found is None and uid_of(there) != ""
    return bool(owner["uid"] == found["uid"])
