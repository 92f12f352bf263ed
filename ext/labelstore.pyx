"""The kernel of the label index: which ids carry labels that a selector asks for.

Two structures over the same facts, kept together by ``put`` and ``discard``:

    postings        (key, value) -> the slots that carry it, and key -> the slots that carry any value of it
    rows            slot -> the numbers of its pairs, sorted

Worked example. ``put(7, {"app": "web", "tier": "a"})`` and ``put(9, {"app": "web"})`` give slots 0 and 1:

    pairs       0 = app=web     1 = tier=a
    postings    0: {0, 1}       1: {0}          keys    app: {0, 1}     tier: {0}
    rows        0: [0, 1]       1: [0]

``app=web,tier notin (a)``: the rarest positive requirement leads (app=web, 2 slots), each of its slots is verified
against the other requirement in its row (slot 0 has pair 1: out), and slot 1, id 9, is the answer. When even the
rarest is broad, 65,536 slots at a time are combined as bitmaps instead.

Every method holds the GIL from its first look at the structure to its last, so readers in other threads see it before
a change or after it. A number of a pair or key is free again when its last slot has left.
"""

from cpython.dict cimport PyDict_GetItem, PyDict_Next
from cpython.long cimport PyLong_AsUnsignedLong
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memcmp, memcpy, memset

from cybernetes.ext.postings cimport Posting, posting_add, posting_bytes, posting_clear, posting_discard, posting_init
from cybernetes.ext.slottable cimport NO_SLOT, table_add, table_discard, table_find, table_init


cdef class LabelKey:
    """One label key."""

    def __dealloc__(self):
        posting_clear(&self.slots)


cdef int by_number(const void* a, const void* b) noexcept nogil:
    cdef uint32_t left = (<uint32_t*>a)[0], right = (<uint32_t*>b)[0]
    return (left > right) - (left < right)


cdef void sort_numbers(uint32_t* values, uint32_t count) noexcept nogil:
    cdef uint32_t i, j, value
    if count > 32:
        qsort(values, count, sizeof(uint32_t), by_number)
        return
    for i in range(1, count):
        value = values[i]
        j = i
        while j and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value


cdef class LabelStore:
    """Ids with labels, kept both ways round. ``labelindex`` answers selectors over it."""

    def __cinit__(self):
        self.keys = {}
        self.key_at = []
        self.free_keys = []
        self.text_at = []
        self.free_pairs = []
        self.free_slots = []
        posting_init(&self.live)
        self.arena_room = 64
        self.arena = <uint32_t*>malloc(self.arena_room * sizeof(uint32_t))
        if self.arena == NULL or table_init(&self.table, 16) < 0:
            raise MemoryError
        self.arena[0] = 0
        self.arena_used = 1

    def __dealloc__(self):
        cdef uint32_t pair
        for pair in range(self.pair_room):
            posting_clear(&self.postings[pair])
        posting_clear(&self.live)
        free(self.postings)
        free(self.key_of)
        free(self.table.slots)
        free(self.ids)
        free(self.row_at)
        free(self.arena)
        free(self.scratch)

    def __len__(self):
        return self.table.count

    def __contains__(self, id):
        return table_find(&self.table, self.ids, <int64_t?>id) != NO_SLOT

    def put(self, int64_t id, labels):
        """Set the labels of ``id``, whatever it had before. Raises TypeError when they are not str to str."""
        cdef dict mapping = labels if type(labels) is dict else dict(labels)
        cdef uint32_t count = <uint32_t>len(mapping), slot, n = 0, old_count
        cdef uint32_t* row
        cdef uint32_t* old
        cdef PyObject* key
        cdef PyObject* value
        cdef Py_ssize_t position = 0
        while PyDict_Next(mapping, &position, &key, &value):  # before anything changes
            if not isinstance(<object>key, str) or not isinstance(<object>value, str):
                raise TypeError(f"labels map str to str, not {<object>key!r} to {<object>value!r}")
        self.want_scratch(count)
        row = self.scratch
        position = 0
        while PyDict_Next(mapping, &position, &key, &value):
            row[n] = self.pair_number(<str>key, <str>value)
            n += 1
        sort_numbers(row, count)
        slot = table_find(&self.table, self.ids, id)
        if slot == NO_SLOT:
            slot = self.new_slot(id)
            self.enter(slot, row, count, NULL, 0)
        else:
            old = self.arena + self.row_at[slot]
            old_count = old[0]
            if old_count == count and (count == 0 or memcmp(old + 1, row, count * sizeof(uint32_t)) == 0):
                return
            self.leave(slot, old + 1, old_count, row, count)
            self.enter(slot, row, count, old + 1, old_count)
            if old_count == count and count:
                memcpy(old + 1, row, count * sizeof(uint32_t))
                return
            self.arena_waste += old_count + 1 if old_count else 0
        self.row_at[slot] = 0
        if count:
            self.want_arena(count + 1)
            self.row_at[slot] = <uint32_t>self.arena_used
            self.arena[self.arena_used] = count
            memcpy(self.arena + self.arena_used + 1, row, count * sizeof(uint32_t))
            self.arena_used += count + 1

    def discard(self, int64_t id):
        """Forget ``id``; whether it was there."""
        cdef uint32_t slot = table_find(&self.table, self.ids, id)
        cdef uint32_t* row
        if slot == NO_SLOT:
            return False
        row = self.arena + self.row_at[slot]
        self.leave(slot, row + 1, row[0], NULL, 0)
        self.arena_waste += row[0] + 1 if row[0] else 0
        table_discard(&self.table, self.ids, slot)
        if posting_discard(&self.live, slot) < 0:
            raise MemoryError
        self.row_at[slot] = NO_SLOT
        self.free_slots.append(slot)
        return True

    cdef uint32_t pair_number(self, str key, str value) except? 0xFFFFFFFF:
        cdef PyObject* found = PyDict_GetItem(self.keys, key)
        cdef LabelKey entry
        if found != NULL:
            entry = <LabelKey>found
            found = PyDict_GetItem(entry.values, value)
            if found != NULL:
                return <uint32_t>PyLong_AsUnsignedLong(<object>found)
        else:
            entry = LabelKey.__new__(LabelKey)
            entry.values = {}
            entry.text = key
            if self.free_keys:
                entry.number = self.free_keys.pop()
                self.key_at[entry.number] = entry
            else:
                entry.number = <uint32_t>len(self.key_at)
                self.key_at.append(entry)
            self.keys[key] = entry
        return self.new_pair(entry, value)

    cdef uint32_t new_pair(self, LabelKey entry, str value) except? 0xFFFFFFFF:
        cdef uint32_t pair, room
        cdef void* grown
        if self.free_pairs:
            pair = self.free_pairs.pop()
            self.text_at[pair] = value
        else:
            pair = <uint32_t>len(self.text_at)
            if pair == self.pair_room:
                room = self.pair_room + (self.pair_room >> 1) + 16
                grown = realloc(self.postings, room * sizeof(Posting))
                if grown == NULL:
                    raise MemoryError
                self.postings = <Posting*>grown
                grown = realloc(self.key_of, room * sizeof(uint32_t))
                if grown == NULL:
                    raise MemoryError
                self.key_of = <uint32_t*>grown
                memset(self.postings + self.pair_room, 0, (room - self.pair_room) * sizeof(Posting))
                self.pair_room = room
            self.text_at.append(value)
        self.key_of[pair] = entry.number
        entry.values[value] = pair
        return pair

    cdef uint32_t new_slot(self, int64_t id) except? 0xFFFFFFFF:
        cdef uint32_t slot, room
        cdef void* grown
        if self.free_slots:
            slot = self.free_slots.pop()
        else:
            slot = self.slot_count
            if slot == self.slot_room:
                room = self.slot_room + (self.slot_room >> 2) + 64
                grown = realloc(self.ids, room * sizeof(int64_t))
                if grown == NULL:
                    raise MemoryError
                self.ids = <int64_t*>grown
                grown = realloc(self.row_at, room * sizeof(uint32_t))
                if grown == NULL:
                    raise MemoryError
                self.row_at = <uint32_t*>grown
                self.slot_room = room
            self.slot_count += 1
        self.ids[slot] = id
        self.row_at[slot] = 0
        if table_add(&self.table, self.ids, slot) < 0 or posting_add(&self.live, slot) < 0:
            raise MemoryError
        return slot

    cdef int enter(self, uint32_t slot, const uint32_t* row, uint32_t count, const uint32_t* old, uint32_t old_count) except -1:
        """Add the slot to the postings of the pairs in ``row`` that are not in ``old``; both are sorted."""
        cdef uint32_t i, j = 0, pair
        for i in range(count):
            pair = row[i]
            while j < old_count and old[j] < pair:
                j += 1
            if j < old_count and old[j] == pair:
                continue
            if posting_add(&self.postings[pair], slot) < 0:
                raise MemoryError
            if posting_add(&(<LabelKey>self.key_at[self.key_of[pair]]).slots, slot) < 0:
                raise MemoryError
        return 0

    cdef int leave(self, uint32_t slot, const uint32_t* row, uint32_t count, const uint32_t* new, uint32_t new_count) except -1:
        """Take the slot out of the postings of the pairs in ``row`` that are not in ``new``; both are sorted.

        A key that the slot keeps with another value is left and entered again.
        """
        cdef uint32_t i, j = 0, pair
        cdef LabelKey entry
        for i in range(count):
            pair = row[i]
            while j < new_count and new[j] < pair:
                j += 1
            if j < new_count and new[j] == pair:
                continue
            entry = <LabelKey>self.key_at[self.key_of[pair]]
            if posting_discard(&self.postings[pair], slot) < 0 or posting_discard(&entry.slots, slot) < 0:
                raise MemoryError
            if self.postings[pair].count == 0:
                del entry.values[self.text_at[pair]]
                self.text_at[pair] = None
                self.free_pairs.append(pair)
                if not entry.values:
                    del self.keys[entry.text]
                    self.key_at[entry.number] = None
                    self.free_keys.append(entry.number)
        return 0

    cdef int want_scratch(self, uint64_t room) except -1:
        cdef void* grown
        if room > self.scratch_room:
            room += 64
            grown = realloc(self.scratch, room * sizeof(uint32_t))
            if grown == NULL:
                raise MemoryError
            self.scratch = <uint32_t*>grown
            self.scratch_room = room
        return 0

    cdef int want_arena(self, uint64_t room) except -1:
        """Make room for a row: by closing the gaps when a quarter is waste, else by growing."""
        cdef uint64_t wanted, used = 1
        cdef uint32_t slot, size
        cdef uint32_t* moved
        if self.arena_used + room <= self.arena_room:
            return 0
        wanted = self.arena_room + (self.arena_room >> 2) + room
        if wanted >= NO_SLOT:
            raise MemoryError("more than 4 billion labels in one index")
        if self.arena_waste * 4 < self.arena_used:
            moved = <uint32_t*>realloc(self.arena, wanted * sizeof(uint32_t))
            if moved == NULL:
                raise MemoryError
        else:
            moved = <uint32_t*>malloc(wanted * sizeof(uint32_t))
            if moved == NULL:
                raise MemoryError
            moved[0] = 0
            for slot in range(self.slot_count):
                if self.row_at[slot] == NO_SLOT or self.row_at[slot] == 0:
                    continue
                size = self.arena[self.row_at[slot]] + 1
                memcpy(moved + used, self.arena + self.row_at[slot], size * sizeof(uint32_t))
                self.row_at[slot] = <uint32_t>used
                used += size
            free(self.arena)
            self.arena_used = used
            self.arena_waste = 0
        self.arena = moved
        self.arena_room = wanted
        return 0

    def labels(self, int64_t id):
        """The labels of ``id`` as a new dict. Raises KeyError."""
        cdef uint32_t slot = table_find(&self.table, self.ids, id), i
        cdef uint32_t* row
        cdef dict result = {}
        if slot == NO_SLOT:
            raise KeyError(id)
        row = self.arena + self.row_at[slot]
        for i in range(row[0]):
            result[(<LabelKey>self.key_at[self.key_of[row[1 + i]]]).text] = self.text_at[row[1 + i]]
        return result

    def key_values(self, str key):
        """The values of a key and how many ids carry each."""
        cdef LabelKey entry = self.keys.get(key)
        if entry is None:
            return {}
        return {value: self.postings[<uint32_t>pair].count for value, pair in entry.values.items()}

    def key_texts(self):
        """The keys in use."""
        return list(self.keys)

    def pair_bytes(self, str key, str value):
        """Memory of one label pair's posting; 0 when nothing carries it."""
        cdef LabelKey entry = self.keys.get(key)
        if entry is None or value not in entry.values:
            return 0
        return sizeof(Posting) + posting_bytes(&self.postings[<uint32_t>entry.values[value]])

    def memory_bytes(self):
        """What is allocated for all of it, without the texts of keys and values."""
        cdef uint64_t total = self.pair_room * (sizeof(Posting) + sizeof(uint32_t))
        cdef uint32_t pair
        cdef LabelKey entry
        for pair in range(self.pair_room):
            total += posting_bytes(&self.postings[pair])
        for entry in self.keys.values():
            total += posting_bytes(&entry.slots) + sizeof(Posting)
        total += posting_bytes(&self.live) + self.arena_room * sizeof(uint32_t)
        total += (self.table.mask + 1) * sizeof(uint32_t)
        total += self.slot_room * (sizeof(int64_t) + sizeof(uint32_t)) + self.scratch_room * sizeof(uint32_t)
        return total
