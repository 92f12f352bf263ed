"""The objects of one resource as an informer keeps them: by key, by namespace and by index.

An informer of every pod in a cluster is the largest thing a control plane holds, so what is kept is a *projection*:
the fields that somebody reads. A *packed* cache keeps each projection as marshalled bytes: 15,500 pods take 12 MB
instead of 80, and the cyclic collector has nothing to walk. An object that is read is unpacked (10 µs); those that were
read last stay unpacked, a bounded number, so that a controller with a thousand pods does not unpack them at each look.
What a cache gives is shared and read-only.

1. Keys are ``namespace/name`` or ``name`` (``objects.key_of``).
2. Everything iterates in the order of insertion, never in the order of a hash: one seed gives one history.
3. An index maps a value to the keys whose objects have it; an object may have any number of values.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from cybernetes.core.objects import Object, split_key

IndexFunction = Callable[[Object], Iterable[str]]


def drop_managed_fields(obj: Object) -> Object:
    """The whole object without managedFields, which nobody but the API server reads."""
    metadata = obj["metadata"]
    if "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}


#: What every object has and what owners, selectors and deletion need.
_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "generateName",
)


def metadata_only(obj: Object) -> Object:
    """What the garbage collector needs of any object: names, owners, finalizers. No labels, no annotations."""
    metadata = obj["metadata"]
    kept = {name: metadata[name] for name in _METADATA if name in metadata and name not in ("labels", "annotations")}
    return {"metadata": kept}


class Projection(NamedTuple):
    """What a cache keeps of an object. ``transform`` returns a new object and leaves its argument as it is."""

    transform: Callable[[Object], Object] = drop_managed_fields
    is_packed: bool = False


WHOLE = Projection()
PACKED = Projection(drop_managed_fields, True)
METADATA_ONLY = Projection(metadata_only, True)

#: How many objects of a packed cache stay unpacked: two generations of half as many each.
UNPACKED_MAX = 4096


class ObjectCache:
    """One resource's objects. Not for several threads: it belongs to its event loop."""

    __slots__ = ("_by_namespace", "_entries", "_indexes", "_older", "_recent", "projection")

    def __init__(self, projection: Projection = WHOLE) -> None:
        self.projection = projection
        self._entries: dict[str, Object | bytes] = {}
        self._by_namespace: dict[str, dict[str, None]] = {}
        self._indexes: dict[str, tuple[IndexFunction, dict[str, dict[str, None]]]] = {}
        # What is unpacked: when the younger generation is full, the older one is dropped and it takes its place.
        self._recent: dict[str, Object] = {}
        self._older: dict[str, Object] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def keys(self) -> Iterator[str]:
        return iter(self._entries)

    def _unpack(self, key: str, entry: Object | bytes) -> Object:
        if not isinstance(entry, bytes):
            return entry
        found = self._recent.get(key)
        if found is None:
            found = self._older.pop(key, None)
            if found is None:
                found = marshal.loads(entry)
            self._remember(key, found)
        return found

    def _remember(self, key: str, obj: Object) -> None:
        if len(self._recent) >= UNPACKED_MAX // 2:
            self._older, self._recent = self._recent, {}
        self._recent[key] = obj

    def get(self, key: str) -> Object | None:
        entry = self._entries.get(key)
        return None if entry is None else self._unpack(key, entry)

    def put(self, key: str, obj: Object, old: Object | None) -> Object:
        """Keep the projection of ``obj`` in the place of ``old``, which is what ``get`` gave. Returns what is kept."""
        kept = self.projection.transform(obj)
        if self.projection.is_packed:
            self._entries[key] = marshal.dumps(kept)
            self._older.pop(key, None)
            if self._recent.pop(key, None) is not None:
                # It is being read: what it is now will be too. Unpacked anew, it shares nothing with what arrived.
                self._remember(key, marshal.loads(self._entries[key]))  # type: ignore[arg-type]
        else:
            self._entries[key] = kept
        if old is None:
            self._by_namespace.setdefault(split_key(key)[0], {})[key] = None
        for function, postings in self._indexes.values():
            values = dict.fromkeys(function(kept))
            if old is not None:
                for value in function(old):
                    if value not in values:
                        _discard(postings, value, key)
            for value in values:
                postings.setdefault(value, {})[key] = None
        return kept

    def remove(self, key: str, old: Object) -> None:
        """Forget ``key``; ``old`` is what ``get`` gave."""
        del self._entries[key]
        self._recent.pop(key, None)
        self._older.pop(key, None)
        _discard(self._by_namespace, split_key(key)[0], key)
        for function, postings in self._indexes.values():
            for value in function(old):
                _discard(postings, value, key)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """``function`` gives an object's values; it sees projections. Adding the same name again changes nothing."""
        if name in self._indexes:
            return
        postings: dict[str, dict[str, None]] = {}
        self._indexes[name] = (function, postings)
        for key, entry in self._entries.items():
            for value in function(self._unpack(key, entry)):
                postings.setdefault(value, {})[key] = None

    def by_index(self, name: str, value: str) -> list[Object]:
        """The objects that have ``value``. Raises KeyError for an index that was never added."""
        keys = self._indexes[name][1].get(value)
        return [self._unpack(key, self._entries[key]) for key in keys] if keys else []

    def index_values(self, name: str) -> Mapping[str, Mapping[str, None]]:
        """Every value of an index with its keys; read-only."""
        return self._indexes[name][1]

    def namespace_keys(self, namespace: str) -> Collection[str]:
        return self._by_namespace.get(namespace, ())

    def values(self, namespace: str = "") -> Iterator[Object]:
        """All objects, or those of one namespace. The cache must not change while this is read."""
        keys: Iterable[str] = self.namespace_keys(namespace) if namespace else self._entries
        for key in keys:
            entry = self._entries[key]
            if isinstance(entry, bytes) and not namespace:
                unpacked = self._recent.get(key)  # a walk over everything must not push out what is in use
                yield marshal.loads(entry) if unpacked is None else unpacked
            else:
                yield self._unpack(key, entry)


def _discard(postings: dict[str, dict[str, None]], value: str, key: str) -> None:
    keys = postings.get(value)
    if keys is not None:
        keys.pop(key, None)
        if not keys:
            del postings[value]
