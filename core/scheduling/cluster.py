"""Everything beside nodes and pods that placing may look at: namespaces, services, claims, volumes, classes.

Objects are read-only and may be projections. ``version`` of a kind goes up with each change, so what was derived from
it can tell that it is stale; ``listen`` tells of the changes of one object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from cybernetes.core.objects import Gvr, Object, name_of, namespace_of


class Index:
    def __init__(self, key: Callable[[Object], str]) -> None:
        self._key = key
        self.objects: dict[str, dict[tuple[str, str], Object]] = {}

    def change(self, old: Object | None, new: Object | None) -> None:
        before, after = (None if obj is None else self._key(obj) for obj in (old, new))
        if old is not None and before is not None and before != after:
            entries = self.objects[before]
            del entries[namespace_of(old), name_of(old)]
            if not entries:
                del self.objects[before]
        if new is not None and after is not None:
            self.objects.setdefault(after, {})[namespace_of(new), name_of(new)] = new


class Cluster:
    def __init__(self, objects: Mapping[Gvr, Iterable[Object]] | None = None) -> None:
        self._objects: dict[Gvr, dict[str, dict[str, Object]]] = {}
        self._versions: dict[Gvr, int] = {}
        self._indexes: dict[Gvr, dict[str, Index]] = {}
        self._followers: dict[Gvr, list[Callable[[Object | None, Object | None], None]]] = {}
        self._listeners: dict[tuple[Gvr, str, str], list[Callable[[], None]]] = {}
        #: Goes up with every change.
        self.changes = 0
        for gvr, items in (objects or {}).items():
            for item in items:
                self.put(gvr, item)

    def put(self, gvr: Gvr, obj: Object) -> None:
        namespace, name = namespace_of(obj), name_of(obj)
        space = self._objects.setdefault(gvr, {}).setdefault(namespace, {})
        old = space.get(name)
        space[name] = obj
        for index in self._indexes.get(gvr, {}).values():
            index.change(old, obj)
        for follower in self._followers.get(gvr, ()):
            follower(old, obj)
        self._changed(gvr, namespace, name)

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        space = self._objects.get(gvr, {}).get(namespace)
        old = None if space is None else space.pop(name, None)
        if space is None or old is None:
            return
        if not space:
            del self._objects[gvr][namespace]
        for index in self._indexes.get(gvr, {}).values():
            index.change(old, None)
        for follower in self._followers.get(gvr, ()):
            follower(old, None)
        self._changed(gvr, namespace, name)

    def get(self, gvr: Gvr, namespace: str, name: str) -> Object | None:
        return self._objects.get(gvr, {}).get(namespace, {}).get(name)

    def list(self, gvr: Gvr, namespace: str | None = None) -> Iterator[Object]:
        """Of one namespace, or of all."""
        spaces = self._objects.get(gvr, {})
        if namespace is not None:
            return iter(list(spaces.get(namespace, {}).values()))
        return (obj for space in list(spaces.values()) for obj in list(space.values()))

    def add_index(self, gvr: Gvr, name: str, key: Callable[[Object], str]) -> None:
        """Keep the objects of a kind by what ``key`` says of them, for ``by_index``."""
        indexes = self._indexes.setdefault(gvr, {})
        if name not in indexes:
            index = indexes[name] = Index(key)
            for obj in self.list(gvr):
                index.change(None, obj)

    def by_index(self, gvr: Gvr, name: str, value: str) -> Sequence[Object]:
        return [*self._indexes[gvr][name].objects.get(value, {}).values()]

    def follow(self, gvr: Gvr, callback: Callable[[Object | None, Object | None], None]) -> None:
        """Tell of every change of a kind: what was there, what is."""
        self._followers.setdefault(gvr, []).append(callback)

    def listen(self, gvr: Gvr, namespace: str, name: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after each change of one object, until the function that this returns is called."""
        key = (gvr, namespace, name)
        self._listeners.setdefault(key, []).append(callback)

        def stop() -> None:
            self._listeners[key].remove(callback)
            if not self._listeners[key]:
                del self._listeners[key]

        return stop

    def _changed(self, gvr: Gvr, namespace: str, name: str) -> None:
        self._versions[gvr] = self.version(gvr) + 1
        self.changes += 1
        for callback in list(self._listeners.get((gvr, namespace, name), ())):
            callback()

    def version(self, gvr: Gvr) -> int:
        return self._versions.get(gvr, 0)
