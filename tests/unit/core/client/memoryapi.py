"""A small API in memory behind the Client contract, with faults: for tests of what talks to an API.

It keeps what controllers depend on (revisions, uids, generations, preconditions, finalizers, status apart from spec,
watches with a history) and leaves out validation, defaults and admission. ``Faults`` decides for each request, seeded:
refuse it, lose it on the way there or its answer on the way back, and for each watch: end it or expire it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from cybernetes.core import errors
from cybernetes.core.client.interface import ListPage, WatchEvent
from cybernetes.core.clock import Clock, Random, format_time
from cybernetes.core.labels import Selector
from cybernetes.core.objects import Gvr, Object, clone, key_of, labels_of, namespace_of


class Faults:
    """Probabilities of what goes wrong. ``enabled`` False: nothing does, so that a test can let things converge."""

    def __init__(self, random: Random, *, lost=0.0, unanswered=0.0, conflict=0.0, cut=0.0, expired=0.0, delay_s=0.0):
        self.random, self.enabled = random, True
        self.lost, self.unanswered, self.conflict, self.cut, self.expired = lost, unanswered, conflict, cut, expired
        self.delay_s = delay_s

    def happens(self, probability: float) -> bool:
        return self.enabled and probability > 0 and self.random.uniform() < probability


def merged(target, patch):
    if not isinstance(patch, dict):
        return clone({"": patch})[""]
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


class MemoryApi:
    def __init__(self, clock: Clock, random: Random, faults: Faults | None = None) -> None:
        self.clock, self.random = clock, random
        self.faults = faults or Faults(random)
        self.revision = 1
        self.objects: dict[Gvr, dict[str, Object]] = {}
        self.history: dict[Gvr, list[tuple[int, WatchEvent]]] = {}
        self.compacted = 0
        self.writes: list[tuple[str, str, str]] = []
        self._changed = asyncio.Event()
        #: True: watches deliver nothing for now. ``release`` goes on.
        self.held = False
        #: Called with ("verb", gvr, object) after each write; raise in it to crash the writer.
        self.on_write = None

    # Plumbing.

    def _table(self, gvr: Gvr) -> dict[str, Object]:
        return self.objects.setdefault(gvr, {})

    def _publish(self, gvr: Gvr, kind: str, obj: Object) -> None:
        self.history.setdefault(gvr, []).append((self.revision, WatchEvent(kind, obj)))
        self._changed.set()
        self._changed = asyncio.Event()

    def _store(self, gvr: Gvr, obj: Object, kind: str) -> Object:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self._table(gvr)[key_of(obj)] = obj
        self._publish(gvr, kind, clone(obj))
        return clone(obj)

    def _remove(self, gvr: Gvr, key: str) -> None:
        obj = clone(self._table(gvr).pop(key))
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self._publish(gvr, "DELETED", obj)

    def release(self) -> None:
        self.held = False
        self._changed.set()
        self._changed = asyncio.Event()

    def compact(self) -> None:
        """Forget the history: who resumes from before has to list."""
        self.compacted = self.revision
        for events in self.history.values():
            events.clear()

    async def _request(self) -> None:
        if self.faults.delay_s and self.faults.enabled:
            await asyncio.sleep(self.faults.delay_s * self.faults.random.uniform())
        else:
            await asyncio.sleep(0)
        if self.faults.happens(self.faults.lost):
            raise ConnectionError("lost on the way there")

    def _answered(self, verb: str, gvr: Gvr, obj: Object) -> None:
        self.writes.append((verb, gvr.resource, key_of(obj)))
        if self.on_write is not None:
            self.on_write(verb, gvr, obj)
        if self.faults.happens(self.faults.unanswered):
            raise ConnectionError("the answer was lost")

    def _find(self, gvr: Gvr, namespace: str, name: str) -> Object:
        key = f"{namespace}/{name}" if namespace else name
        found = self._table(gvr).get(key)
        if found is None:
            raise errors.not_found(gvr.group, gvr.resource, name)
        return found

    # The contract.

    async def get(self, gvr, name, namespace="", *, subresource="", resource_version=""):
        await self._request()
        return clone(self._find(gvr, namespace, name))

    def _matching(self, gvr, namespace, label_selector, field_selector) -> list[Object]:
        selector = Selector.parse(label_selector)
        wanted = dict(part.split("=", 1) for part in field_selector.split(",") if part)
        fields = {
            "metadata.name": lambda o: o["metadata"]["name"],
            "spec.nodeName": lambda o: (o.get("spec") or {}).get("nodeName", ""),
        }
        return [
            obj
            for _, obj in sorted(self._table(gvr).items())
            if (not namespace or namespace_of(obj) == namespace)
            and selector.matches(labels_of(obj))
            and all(fields[path](obj) == value for path, value in wanted.items())
        ]

    async def list(
        self,
        gvr,
        namespace="",
        *,
        label_selector="",
        field_selector="",
        limit=0,
        continue_token="",
        resource_version="",
        resource_version_match="",
    ):
        await self._request()
        found = self._matching(gvr, namespace, label_selector, field_selector)
        version = str(self.revision)
        if continue_token:
            version, after = continue_token.split(" ", 1)
            found = [obj for obj in found if key_of(obj) > after]
        token = ""
        if limit and len(found) > limit:
            found = found[:limit]
            token = f"{version} {key_of(found[-1])}"
        items = [{k: v for k, v in clone(obj).items() if k not in ("kind", "apiVersion")} for obj in found]
        return ListPage(items, version, token, None)

    async def watch(
        self,
        gvr,
        namespace="",
        *,
        label_selector="",
        field_selector="",
        resource_version,
        allow_bookmarks=True,
        timeout_s=None,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        await self._request()
        seen = int(resource_version)
        selector = Selector.parse(label_selector)
        while True:
            if seen < self.compacted or self.faults.happens(self.faults.expired):
                raise errors.too_old_revision(seen, self.compacted)
            changed = self._changed
            if self.held:
                await changed.wait()
                continue
            batch = [
                event
                for revision, event in self.history.get(gvr, ())
                if revision > seen
                and (not namespace or namespace_of(event.object) == namespace)
                and selector.matches(labels_of(event.object))
            ]
            if batch and self.faults.happens(self.faults.cut):
                return
            seen = max([seen, *(revision for revision, _ in self.history.get(gvr, ()))])
            if batch:
                if self.faults.happens(0.1):
                    batch = [*batch, batch[-1]]  # repeated
                if self.faults.delay_s and self.faults.enabled:
                    await asyncio.sleep(self.faults.delay_s * self.faults.random.uniform())
                yield batch
            else:
                await changed.wait()

    async def create(self, gvr, obj, namespace="", *, name="", subresource="", dry_run=False):
        await self._request()
        obj = clone(obj)
        metadata = obj.setdefault("metadata", {})
        if namespace:
            metadata["namespace"] = namespace
        if not metadata.get("name"):
            metadata["name"] = metadata["generateName"] + self.random.name_suffix()
        if key_of(obj) in self._table(gvr):
            raise errors.already_exists(gvr.group, gvr.resource, metadata["name"])
        metadata.update(uid=self.random.uid(), creationTimestamp=format_time(self.clock.now()), generation=1)
        stored = self._store(gvr, obj, "ADDED")
        self._answered("create", gvr, stored)
        return stored

    def _check(self, gvr, found, metadata, name) -> None:
        for field in ("uid", "resourceVersion"):
            if metadata.get(field) and metadata[field] != found["metadata"].get(field):
                why = (
                    errors.OBJECT_MODIFIED if field == "resourceVersion" else "Precondition failed: UID in precondition"
                )
                raise errors.conflict(gvr.group, gvr.resource, name, why)
        if self.faults.happens(self.faults.conflict):
            raise errors.conflict(gvr.group, gvr.resource, name)

    def _change(self, gvr, found, changed, subresource, verb):
        changed = clone(changed)
        old = {k: v for k, v in found.items() if k in ("apiVersion", "kind")}
        if subresource == "status":
            new = {**found, "status": changed.get("status") or {}}
            annotations = changed["metadata"].get("annotations")
            new["metadata"] = {**found["metadata"]}
            if annotations is not None:
                new["metadata"]["annotations"] = annotations
        else:
            kept = {
                k: found["metadata"].get(k) for k in ("uid", "creationTimestamp", "generation", "deletionTimestamp")
            }
            new = {**old, **changed, "metadata": {**changed["metadata"], **{k: v for k, v in kept.items() if v}}}
            if "status" in found:
                new["status"] = found["status"]
            if new.get("spec") != found.get("spec"):
                new["metadata"]["generation"] = found["metadata"].get("generation", 0) + 1
        new["metadata"].pop("resourceVersion", None)
        before = clone(found)
        before["metadata"].pop("resourceVersion", None)
        if clone(new) == before:
            self._answered(verb, gvr, found)
            return clone(found)  # nothing changes: no revision
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            self._remove(gvr, key_of(new))
            self._answered(verb, gvr, new)
            return clone(new) | {"metadata": {**new["metadata"], "resourceVersion": str(self.revision)}}
        stored = self._store(gvr, new, "MODIFIED")
        self._answered(verb, gvr, stored)
        return stored

    async def update(self, gvr, obj, *, subresource=""):
        await self._request()
        metadata = obj["metadata"]
        found = self._find(gvr, metadata.get("namespace", ""), metadata["name"])
        self._check(gvr, found, metadata, metadata["name"])
        return self._change(gvr, found, obj, subresource, "update")

    async def patch(
        self, gvr, name, patch, namespace="", *, patch_type="", subresource="", field_manager="", force=False
    ):
        await self._request()
        found = self._find(gvr, namespace, name)
        self._check(gvr, found, patch.get("metadata") or {}, name)
        return self._change(gvr, found, merged(found, patch), subresource, "patch")

    async def delete(
        self, gvr, name, namespace="", *, grace_period_s=None, propagation="", uid="", resource_version=""
    ):
        await self._request()
        found = self._find(gvr, namespace, name)
        self._check(gvr, found, {"uid": uid, "resourceVersion": resource_version}, name)
        marked = clone(found)
        extra = {"Foreground": ["foregroundDeletion"], "Orphan": ["orphan"]}.get(propagation, [])
        finalizers = list(dict.fromkeys([*(marked["metadata"].get("finalizers") or []), *extra]))
        if not finalizers:
            self._remove(gvr, key_of(found))
            self._answered("delete", gvr, found)
            return {"kind": "Status", "status": "Success", "details": {"uid": found["metadata"]["uid"]}}
        if "deletionTimestamp" not in marked["metadata"]:
            marked["metadata"]["deletionTimestamp"] = format_time(self.clock.now())
            marked["metadata"]["finalizers"] = finalizers
            marked = self._store(gvr, marked, "MODIFIED")
        self._answered("delete", gvr, marked)
        return marked

    async def delete_collection(self, gvr, namespace="", *, label_selector="", field_selector="", propagation=""):
        for obj in self._matching(gvr, namespace, label_selector, field_selector):
            await self.delete(gvr, obj["metadata"]["name"], namespace_of(obj), propagation=propagation)

    async def close(self):
        pass
