"""What is on disk, and what is in memory beside it.

The file is a log by revision; no key of the store is ever a key of LMDB, so keys may be of any length
(docs/adr/0003-long-keys.md)::

    changes   revision (8 bytes, big endian) -> create revision, version, previous revision, tag, flag, key
    values    revision                       -> value, for changes that are puts
    meta      name                           -> number: format, compacted, swept

Both logs are only ever appended to, which keeps a batch of 100 writes to about as many pages as it has values. A
change's previous revision is the last change of the same key, 0 for the first, so a key's changes form a chain::

    2: put a (prev 0)   3: put b (prev 0)   4: put a (prev 2)   5: delete a (prev 4)   6: put a (prev 5)

A deletion has create revision and version 0. The tag is a number that the writer chose; a writer that lost the answer
finds its write by it. The flag marks the first change of each transaction: events are never handed out in parts of one.

In memory is the newest change of each key: an Entry for a key that exists, the revision of the deletion for one that
does not. It is rebuilt from ``changes`` at start (15,000 keys: 40 ms), which holds no values and so is small.

Compaction at C first records C in meta; from then on reads before C are refused. Sweeping then walks the changes up
to C and removes what each of them superseded, and deletions; what remains of the past is the state at C::

    compacted at 5:   3: put b   6: put a (prev 5, which is gone: nothing was there)
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from cybernetes.core.store.interface import Record

FORMAT = 1

#: A revision as a key of LMDB: big endian, so that byte order is number order.
REVISION = struct.Struct(">Q")
#: create revision, version, previous revision, tag, whether it begins a transaction; the key follows.
CHANGE = struct.Struct(">QQQQ?")

META_FORMAT = b"format"
META_COMPACTED = b"compacted"
META_SWEPT = b"swept"


class Entry(NamedTuple):
    """The newest change of a key that exists."""

    key: bytes
    mod_revision: int
    create_revision: int
    version: int

    def record(self, value: bytes) -> Record:
        return Record(self.key, value, self.create_revision, self.mod_revision, self.version)
