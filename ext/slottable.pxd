"""Ids to dense slots: an open-addressing table that holds slots only; the ids are in the slots' own column.

Linear probing at a load of at most 3/4, deletion by shifting back, so there are no tombstones. Inlined into its users.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef enum:
    NO_SLOT = 0xFFFFFFFF

cdef struct SlotTable:
    uint32_t* slots     # NO_SLOT: empty
    uint64_t mask       # size - 1; the size is a power of two
    uint64_t count

cdef inline uint64_t id_hash(int64_t id) noexcept nogil:
    cdef uint64_t x = <uint64_t>id * <uint64_t>0x9E3779B97F4A7C15
    return x ^ (x >> 29)

cdef inline int table_init(SlotTable* table, uint64_t size) noexcept nogil:
    table.slots = <uint32_t*>malloc(size * sizeof(uint32_t))
    table.mask = size - 1
    table.count = 0
    if table.slots == NULL:
        return -1
    memset(table.slots, 0xFF, size * sizeof(uint32_t))
    return 0

cdef inline uint32_t table_find(const SlotTable* table, const int64_t* ids, int64_t id) noexcept nogil:
    cdef uint64_t at = id_hash(id) & table.mask
    while table.slots[at] != NO_SLOT:
        if ids[table.slots[at]] == id:
            return table.slots[at]
        at = (at + 1) & table.mask
    return NO_SLOT

cdef inline int table_add(SlotTable* table, const int64_t* ids, uint32_t slot) noexcept nogil:
    """Add a slot whose id is not in the table."""
    cdef SlotTable larger
    cdef uint64_t at, i
    if (table.count + 1) * 4 > (table.mask + 1) * 3:
        if table_init(&larger, (table.mask + 1) * 2) < 0:
            return -1
        for i in range(table.mask + 1):
            if table.slots[i] != NO_SLOT:
                at = id_hash(ids[table.slots[i]]) & larger.mask
                while larger.slots[at] != NO_SLOT:
                    at = (at + 1) & larger.mask
                larger.slots[at] = table.slots[i]
        larger.count = table.count
        free(table.slots)
        table[0] = larger
    at = id_hash(ids[slot]) & table.mask
    while table.slots[at] != NO_SLOT:
        at = (at + 1) & table.mask
    table.slots[at] = slot
    table.count += 1
    return 0

cdef inline void table_discard(SlotTable* table, const int64_t* ids, uint32_t slot) noexcept nogil:
    cdef uint64_t at = id_hash(ids[slot]) & table.mask, next, home
    while table.slots[at] != slot:
        at = (at + 1) & table.mask
    next = at
    while True:  # move back what would no longer be found past the gap
        next = (next + 1) & table.mask
        if table.slots[next] == NO_SLOT:
            break
        home = id_hash(ids[table.slots[next]]) & table.mask
        if ((next - home) & table.mask) >= ((next - at) & table.mask):
            table.slots[at] = table.slots[next]
            at = next
    table.slots[at] = NO_SLOT
    table.count -= 1
