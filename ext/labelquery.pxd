"""Answers a conjunction of label conditions over postings and rows. Inlined into the label index.

Two ways, chosen by how many slots the rarest positive condition has:

    walk        each of its slots is verified against the other conditions in its row: one cache line a slot
    bitmaps     65,536 slots at a time: the union of its postings, then and / and-not with the others

Bitmaps cost about 0.3 µs a condition and chunk whatever the answer, a walk about 15 ns a candidate.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from cybernetes.ext.postings cimport (
    CHUNK_WORDS,
    CYB_LOWEST,
    Posting,
    posting_andnot_into,
    posting_or_into,
    posting_slots,
)

cdef extern from *:
    """
    #include <stdint.h>
    #define CYB_PREFETCH(address) __builtin_prefetch(address)

    #if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
    __attribute__((target_clones("popcnt", "default")))
    #endif
    static uint64_t cyb_count_bits(const uint64_t* words, uint32_t count) {
        uint64_t total = 0;
        for (uint32_t i = 0; i < count; i++) total += (uint64_t)__builtin_popcountll(words[i]);
        return total;
    }
    """
    void CYB_PREFETCH(const void*) noexcept nogil
    uint64_t cyb_count_bits(const uint64_t* words, uint32_t count) noexcept nogil

cdef enum Kind:
    POSITIVE = 0        # one of these pairs
    NEGATIVE = 1        # none of these pairs
    HAS_KEY = 2
    LACKS_KEY = 3

cdef struct Condition:
    Kind kind
    uint32_t key
    uint32_t count              # of pairs
    const uint32_t* pairs       # sorted
    const Posting* key_slots
    uint64_t slots_max          # no more slots than this meet it

cdef struct View:
    const Posting* postings     # pair -> slots
    const uint32_t* key_of      # pair -> key
    const uint32_t* arena       # rows: a count, then the pairs
    const uint32_t* row_at      # slot -> place in the arena
    const Posting* live
    uint32_t slot_count
    const int64_t* ids          # slot -> id; NULL: answer with slots

cdef inline bint has_pair(const Condition* condition, uint32_t pair) noexcept nogil:
    cdef uint32_t low = 0, high = condition.count, middle
    if high == 1:
        return condition.pairs[0] == pair
    while low < high:
        middle = (low + high) >> 1
        if condition.pairs[middle] < pair:
            low = middle + 1
        else:
            high = middle
    return low < condition.count and condition.pairs[low] == pair

cdef inline bint row_meets(const View* view, const uint32_t* row, const Condition* condition) noexcept nogil:
    cdef uint32_t i
    if condition.kind == POSITIVE or condition.kind == NEGATIVE:
        for i in range(1, row[0] + 1):
            if has_pair(condition, row[i]):
                return condition.kind == POSITIVE
        return condition.kind == NEGATIVE
    for i in range(1, row[0] + 1):
        if view.key_of[row[i]] == condition.key:
            return condition.kind == HAS_KEY
    return condition.kind == LACKS_KEY

cdef inline uint64_t emit(const View* view, const uint32_t* slots, uint64_t count, int64_t* out) noexcept nogil:
    cdef uint64_t i
    if out != NULL:
        for i in range(count):
            out[i] = view.ids[slots[i]] if view.ids != NULL else slots[i]
    return count

cdef inline uint64_t walk(
    const View* view, const Condition* conditions, uint32_t count, uint32_t lead, uint32_t* slots, int64_t* out
) noexcept nogil:
    """Answer by the lead's slots; ``slots`` has room for its ``slots_max``. How many were written to ``out``."""
    cdef const Condition* first = &conditions[lead]
    cdef uint64_t candidates = 0, i, found = 0
    cdef uint32_t k
    cdef const uint32_t* row
    if first.kind == HAS_KEY:
        candidates = posting_slots(first.key_slots, slots)
    else:
        for k in range(first.count):
            candidates += posting_slots(&view.postings[first.pairs[k]], slots + candidates)
    if count == 1:
        return emit(view, slots, candidates, out)
    for i in range(candidates):
        if i + 8 < candidates:
            CYB_PREFETCH(view.row_at + slots[i + 8])
        if i + 4 < candidates:
            CYB_PREFETCH(view.arena + view.row_at[slots[i + 4]])
        row = view.arena + view.row_at[slots[i]]
        for k in range(count):
            if k != lead and not row_meets(view, row, &conditions[k]):
                break
        else:
            slots[found] = slots[i]
            found += 1
    return emit(view, slots, found, out)

cdef inline void union_into(const View* view, const Condition* condition, uint32_t high, uint64_t* words) noexcept nogil:
    cdef uint32_t k
    memset(words, 0, CHUNK_WORDS * sizeof(uint64_t))
    if condition.kind == HAS_KEY:
        posting_or_into(condition.key_slots, high, words)
    else:
        for k in range(condition.count):
            posting_or_into(&view.postings[condition.pairs[k]], high, words)

cdef inline uint64_t combine(
    const View* view, const Condition* conditions, uint32_t count, int64_t lead, int64_t* out
) noexcept nogil:
    """Answer by bitmaps; ``lead`` -1: no condition is positive, so all slots are where it starts."""
    cdef uint64_t[1024] words
    cdef uint64_t[1024] other
    cdef uint64_t found = 0, word
    cdef uint32_t high, k, i, slot
    cdef int64_t* target
    for high in range((view.slot_count + 0xFFFF) >> 16):
        if lead < 0:
            memset(words, 0, CHUNK_WORDS * sizeof(uint64_t))
            posting_or_into(view.live, high, words)
        else:
            union_into(view, &conditions[lead], high, words)
        for k in range(count):
            if k == lead:
                continue
            if conditions[k].kind == NEGATIVE:
                for i in range(conditions[k].count):
                    posting_andnot_into(&view.postings[conditions[k].pairs[i]], high, words)
            elif conditions[k].kind == LACKS_KEY:
                posting_andnot_into(conditions[k].key_slots, high, words)
            else:
                union_into(view, &conditions[k], high, other)
                for i in range(<uint32_t>CHUNK_WORDS):
                    words[i] &= other[i]
        if out == NULL:
            found += cyb_count_bits(words, CHUNK_WORDS)
            continue
        for i in range(<uint32_t>CHUNK_WORDS):
            word = words[i]
            while word:
                slot = (high << 16) + (i << 6) + CYB_LOWEST(word)
                out[found] = view.ids[slot] if view.ids != NULL else slot
                found += 1
                word &= word - 1
    return found
