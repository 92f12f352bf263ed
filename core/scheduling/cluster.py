"""Everything beside nodes and pods that placing may look at: namespaces, services, claims, volumes, classes.

Objects are read-only and may be projections. ``version`` of a kind goes up with each change, so what was derived from
it can tell that it is stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cybernetes.core.objects import Gvr, Object, name_of, namespace_of


class Cluster:
    def __init__(self, objects: Mapping[Gvr, Iterable[Object]] | None = None) -> None:
        self._objects: dict[Gvr, dict[str, dict[str, Object]]] = {}
        self._versions: dict[Gvr, int] = {}
        #: Goes up with every change.
        self.changes = 0
        for gvr, items in (objects or {}).items():
            for item in items:
                self.put(gvr, item)

    def put(self, gvr: Gvr, obj: Object) -> None:
        self._objects.setdefault(gvr, {}).setdefault(namespace_of(obj), {})[name_of(obj)] = obj
        self._changed(gvr)

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        space = self._objects.get(gvr, {}).get(namespace)
        if space is not None and space.pop(name, None) is not None:
            self._changed(gvr)
            if not space:
                del self._objects[gvr][namespace]

    def get(self, gvr: Gvr, namespace: str, name: str) -> Object | None:
        return self._objects.get(gvr, {}).get(namespace, {}).get(name)

    def list(self, gvr: Gvr, namespace: str | None = None) -> Iterator[Object]:
        """Of one namespace, or of all."""
        spaces = self._objects.get(gvr, {})
        if namespace is not None:
            return iter(list(spaces.get(namespace, {}).values()))
        return (obj for space in list(spaces.values()) for obj in list(space.values()))

    def _changed(self, gvr: Gvr) -> None:
        self._versions[gvr] = self.version(gvr) + 1
        self.changes += 1

    def version(self, gvr: Gvr) -> int:
        return self._versions.get(gvr, 0)
