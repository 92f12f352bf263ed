"""What the label store keeps, for the index that is built on it."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cybernetes.ext.postings cimport Posting
from cybernetes.ext.slottable cimport SlotTable

cdef void sort_numbers(uint32_t* values, uint32_t count) noexcept nogil


cdef class LabelKey:
    cdef dict values                # value -> number of its pair
    cdef str text
    cdef uint32_t number
    cdef Posting slots              # that carry any value of it


cdef class LabelStore:
    cdef dict keys                  # text -> LabelKey
    cdef list key_at                # number -> LabelKey or None
    cdef list free_keys
    cdef list text_at               # pair -> value, or None when free
    cdef list free_pairs
    cdef Posting* postings          # pair -> slots
    cdef uint32_t* key_of           # pair -> key
    cdef uint32_t pair_room
    cdef SlotTable table
    cdef int64_t* ids               # slot -> id
    cdef uint32_t* row_at           # slot -> place of its row; NO_SLOT: free
    cdef uint32_t slot_count        # slots ever used
    cdef uint32_t slot_room
    cdef list free_slots
    cdef Posting live               # all slots in use
    cdef uint32_t* arena            # rows: a count, then that many pairs; row 0 is the empty one
    cdef uint64_t arena_used
    cdef uint64_t arena_room
    cdef uint64_t arena_waste
    cdef uint32_t* scratch          # a row, or pairs of conditions; valid within one call
    cdef uint64_t scratch_room

    cdef uint32_t pair_number(self, str key, str value) except? 0xFFFFFFFF
    cdef uint32_t new_pair(self, LabelKey entry, str value) except? 0xFFFFFFFF
    cdef uint32_t new_slot(self, int64_t id) except? 0xFFFFFFFF
    cdef int enter(
        self, uint32_t slot, const uint32_t* row, uint32_t count, const uint32_t* old, uint32_t old_count
    ) except -1
    cdef int leave(
        self, uint32_t slot, const uint32_t* row, uint32_t count, const uint32_t* new, uint32_t new_count
    ) except -1
    cdef int want_scratch(self, uint64_t room) except -1
    cdef int want_arena(self, uint64_t room) except -1
