"""Sets of 32-bit slots, small ones flat and large ones in Roaring's two kinds of chunks. Inlined into its users.

Three shapes, by size, so that a label value that one object has costs no allocation and one that half of a million
have costs a bit each:

    one slot            the slot itself, in the place of the pointer
    up to FLAT_MAX      a sorted array of slots                                        4 bytes each
    more                chunks of 65,536 slots, sorted by their upper half; a chunk is
                        a sorted array of lower halves (up to ARRAY_MAX)               2 bytes each
                        or a bitmap of 1,024 words                                     8 KB

A chunk turns into a bitmap above ARRAY_MAX and back below ARRAY_MIN; a set turns flat again below FLAT_MIN. The gaps
keep a set that hovers at a bound from turning at every step. All functions return -1 when memory is out.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

cdef extern from *:
    """
    #define CYB_POPCOUNT(x) __builtin_popcountll(x)
    #define CYB_LOWEST(x) __builtin_ctzll(x)
    """
    int CYB_POPCOUNT(uint64_t) noexcept nogil
    int CYB_LOWEST(uint64_t) noexcept nogil

cdef enum:
    FLAT_MAX = 512
    FLAT_MIN = 256
    ARRAY_MAX = 4096
    ARRAY_MIN = 3072
    CHUNK_WORDS = 1024

cdef struct Chunk:
    uint32_t high       # the upper 16 bits that its slots share
    uint32_t count
    uint32_t room       # places in the array; 0: data is a bitmap
    void* data

cdef struct Posting:
    uint32_t count
    uint32_t room       # places in the flat array or chunk table; 0: at most one slot, kept in data
    uint32_t chunks     # 0 while flat
    void* data

cdef inline void posting_init(Posting* posting) noexcept nogil:
    posting.count = 0
    posting.room = 0
    posting.chunks = 0
    posting.data = NULL

cdef inline void posting_clear(Posting* posting) noexcept nogil:
    cdef uint32_t i
    cdef Chunk* chunks
    if posting.room:
        if posting.chunks:
            chunks = <Chunk*>posting.data
            for i in range(posting.chunks):
                free(chunks[i].data)
        free(posting.data)
    posting_init(posting)

cdef inline uint32_t lower_bound32(const uint32_t* values, uint32_t count, uint32_t wanted) noexcept nogil:
    """Index of the first value that is not below ``wanted``."""
    cdef uint32_t low = 0, high = count, middle
    if count and values[count - 1] < wanted:  # slots are mostly added in rising order
        return count
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low

cdef inline uint32_t lower_bound16(const uint16_t* values, uint32_t count, uint32_t wanted) noexcept nogil:
    cdef uint32_t low = 0, high = count, middle
    if count and values[count - 1] < wanted:
        return count
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low

cdef inline uint32_t chunk_at(const Posting* posting, uint32_t high) noexcept nogil:
    """Index of the first chunk that is not below ``high``."""
    cdef Chunk* chunks = <Chunk*>posting.data
    cdef uint32_t low = 0, top = posting.chunks, middle
    if top and chunks[top - 1].high < high:
        return top
    while low < top:
        middle = (low + top) >> 1
        if chunks[middle].high < high:
            low = middle + 1
        else:
            top = middle
    return low

cdef inline int chunk_add(Chunk* chunk, uint32_t low) noexcept nogil:
    """1 when the slot is new."""
    cdef uint64_t* words
    cdef uint16_t* values
    cdef uint32_t at, i, room
    cdef uint64_t bit
    if chunk.room == 0:
        words = <uint64_t*>chunk.data
        bit = (<uint64_t>1) << (low & 63)
        if words[low >> 6] & bit:
            return 0
        words[low >> 6] |= bit
        chunk.count += 1
        return 1
    values = <uint16_t*>chunk.data
    at = lower_bound16(values, chunk.count, low)
    if at < chunk.count and values[at] == low:
        return 0
    if chunk.count >= ARRAY_MAX:
        words = <uint64_t*>calloc(CHUNK_WORDS, sizeof(uint64_t))
        if words == NULL:
            return -1
        for i in range(chunk.count):
            words[values[i] >> 6] |= (<uint64_t>1) << (values[i] & 63)
        words[low >> 6] |= (<uint64_t>1) << (low & 63)
        free(values)
        chunk.data = words
        chunk.room = 0
        chunk.count += 1
        return 1
    if chunk.count == chunk.room:
        room = chunk.room + (chunk.room >> 2) + 8
        values = <uint16_t*>realloc(values, room * sizeof(uint16_t))
        if values == NULL:
            return -1
        chunk.data = values
        chunk.room = room
    if at < chunk.count:
        memmove(values + at + 1, values + at, (chunk.count - at) * sizeof(uint16_t))
    values[at] = <uint16_t>low
    chunk.count += 1
    return 1

cdef inline int chunk_discard(Chunk* chunk, uint32_t low) noexcept nogil:
    """1 when the slot was there."""
    cdef uint64_t* words
    cdef uint16_t* values
    cdef uint32_t at, i, n
    cdef uint64_t word
    if chunk.room:
        values = <uint16_t*>chunk.data
        at = lower_bound16(values, chunk.count, low)
        if at == chunk.count or values[at] != low:
            return 0
        chunk.count -= 1
        memmove(values + at, values + at + 1, (chunk.count - at) * sizeof(uint16_t))
        return 1
    words = <uint64_t*>chunk.data
    word = (<uint64_t>1) << (low & 63)
    if not words[low >> 6] & word:
        return 0
    words[low >> 6] &= ~word
    chunk.count -= 1
    if chunk.count < ARRAY_MIN:
        values = <uint16_t*>malloc((chunk.count + 8) * sizeof(uint16_t))
        if values == NULL:
            return -1
        n = 0
        for i in range(<uint32_t>CHUNK_WORDS):
            word = words[i]
            while word:
                values[n] = <uint16_t>((i << 6) + CYB_LOWEST(word))
                n += 1
                word &= word - 1
        free(words)
        chunk.data = values
        chunk.room = n + 8
    return 1

cdef inline int posting_split(Posting* posting) noexcept nogil:
    """From a flat array to chunks."""
    cdef uint32_t* slots = <uint32_t*>posting.data
    cdef uint32_t i = 0, end, high, n = 0, k
    cdef Chunk* chunks
    cdef uint16_t* values
    while i < posting.count:  # how many chunks
        high = slots[i] >> 16
        n += 1
        while i < posting.count and slots[i] >> 16 == high:
            i += 1
    chunks = <Chunk*>malloc((n + 4) * sizeof(Chunk))
    if chunks == NULL:
        return -1
    i = 0
    for k in range(n):
        high = slots[i] >> 16
        end = i
        while end < posting.count and slots[end] >> 16 == high:
            end += 1
        values = <uint16_t*>malloc((end - i + 8) * sizeof(uint16_t))
        if values == NULL:
            return -1
        chunks[k].high = high
        chunks[k].count = end - i
        chunks[k].room = end - i + 8
        chunks[k].data = values
        while i < end:
            values[i + chunks[k].count - end] = <uint16_t>(slots[i] & 0xFFFF)
            i += 1
    free(slots)
    posting.data = chunks
    posting.room = n + 4
    posting.chunks = n
    return 0

cdef inline uint32_t chunk_slots(const Chunk* chunk, uint32_t* slots) noexcept nogil:
    """Write the slots of a chunk in rising order; how many."""
    cdef uint32_t i, n = 0, base = chunk.high << 16
    cdef uint64_t word
    cdef uint16_t* values
    cdef uint64_t* words
    if chunk.room:
        values = <uint16_t*>chunk.data
        for i in range(chunk.count):
            slots[i] = base | values[i]
        return chunk.count
    words = <uint64_t*>chunk.data
    for i in range(<uint32_t>CHUNK_WORDS):
        word = words[i]
        while word:
            slots[n] = base | ((i << 6) + CYB_LOWEST(word))
            n += 1
            word &= word - 1
    return n

cdef inline uint32_t posting_slots(const Posting* posting, uint32_t* slots) noexcept nogil:
    """Write all slots in rising order; ``slots`` has room for ``count``."""
    cdef uint32_t i, n = 0
    cdef Chunk* chunks
    if posting.chunks:
        chunks = <Chunk*>posting.data
        for i in range(posting.chunks):
            n += chunk_slots(&chunks[i], slots + n)
        return n
    if posting.room:
        memcpy(slots, posting.data, posting.count * sizeof(uint32_t))
    elif posting.count:
        slots[0] = <uint32_t><size_t>posting.data
    return posting.count

cdef inline int posting_add(Posting* posting, uint32_t slot) noexcept nogil:
    """1 when the slot is new, 0 when it was there."""
    cdef uint32_t* slots
    cdef uint32_t at, room
    cdef Chunk* chunks
    cdef int added
    if posting.chunks == 0:
        if posting.room == 0:
            if posting.count == 0:
                posting.data = <void*><size_t>slot
                posting.count = 1
                return 1
            at = <uint32_t><size_t>posting.data
            if at == slot:
                return 0
            slots = <uint32_t*>malloc(4 * sizeof(uint32_t))
            if slots == NULL:
                return -1
            slots[0] = at if at < slot else slot
            slots[1] = slot if at < slot else at
            posting.data = slots
            posting.room = 4
            posting.count = 2
            return 1
        slots = <uint32_t*>posting.data
        at = lower_bound32(slots, posting.count, slot)
        if at < posting.count and slots[at] == slot:
            return 0
        if posting.count < FLAT_MAX:
            if posting.count == posting.room:
                room = posting.room + (posting.room >> 2) + 4
                slots = <uint32_t*>realloc(slots, room * sizeof(uint32_t))
                if slots == NULL:
                    return -1
                posting.data = slots
                posting.room = room
            if at < posting.count:
                memmove(slots + at + 1, slots + at, (posting.count - at) * sizeof(uint32_t))
            slots[at] = slot
            posting.count += 1
            return 1
        if posting_split(posting) < 0:
            return -1
    at = chunk_at(posting, slot >> 16)
    chunks = <Chunk*>posting.data
    if at == posting.chunks or chunks[at].high != slot >> 16:
        if posting.chunks == posting.room:
            room = posting.room + (posting.room >> 2) + 4
            chunks = <Chunk*>realloc(chunks, room * sizeof(Chunk))
            if chunks == NULL:
                return -1
            posting.data = chunks
            posting.room = room
        slots = <uint32_t*>malloc(8 * sizeof(uint16_t))
        if slots == NULL:
            return -1
        if at < posting.chunks:
            memmove(chunks + at + 1, chunks + at, (posting.chunks - at) * sizeof(Chunk))
        chunks[at].high = slot >> 16
        chunks[at].count = 0
        chunks[at].room = 8
        chunks[at].data = slots
        posting.chunks += 1
    added = chunk_add(&chunks[at], slot & 0xFFFF)
    if added > 0:
        posting.count += 1
    return added

cdef inline int posting_discard(Posting* posting, uint32_t slot) noexcept nogil:
    """1 when the slot was there."""
    cdef uint32_t* slots
    cdef uint32_t at, i
    cdef Chunk* chunks
    cdef int removed
    if posting.chunks == 0:
        if posting.room == 0:
            if posting.count == 0 or <uint32_t><size_t>posting.data != slot:
                return 0
            posting.count = 0
            return 1
        slots = <uint32_t*>posting.data
        at = lower_bound32(slots, posting.count, slot)
        if at == posting.count or slots[at] != slot:
            return 0
        posting.count -= 1
        memmove(slots + at, slots + at + 1, (posting.count - at) * sizeof(uint32_t))
        if posting.count == 1:
            at = slots[0]
            free(slots)
            posting.data = <void*><size_t>at
            posting.room = 0
        return 1
    at = chunk_at(posting, slot >> 16)
    chunks = <Chunk*>posting.data
    if at == posting.chunks or chunks[at].high != slot >> 16:
        return 0
    removed = chunk_discard(&chunks[at], slot & 0xFFFF)
    if removed <= 0:
        return removed
    posting.count -= 1
    if chunks[at].count == 0:
        free(chunks[at].data)
        posting.chunks -= 1
        memmove(chunks + at, chunks + at + 1, (posting.chunks - at) * sizeof(Chunk))
    if posting.count < FLAT_MIN:
        slots = <uint32_t*>malloc((posting.count + 4) * sizeof(uint32_t))
        if slots == NULL:
            return -1
        posting_slots(posting, slots)
        for i in range(posting.chunks):
            free(chunks[i].data)
        free(chunks)
        posting.data = slots
        posting.chunks = 0
        posting.room = posting.count + 4
    return 1

cdef inline void flat_range(const Posting* posting, uint32_t high, uint32_t* first, uint32_t* last) noexcept nogil:
    """Where the slots of one chunk stand in a flat array."""
    cdef uint32_t* slots = <uint32_t*>posting.data
    first[0] = lower_bound32(slots, posting.count, high << 16)
    last[0] = posting.count if high == 0xFFFF else lower_bound32(slots, posting.count, (high + 1) << 16)

cdef inline void posting_or_into(const Posting* posting, uint32_t high, uint64_t* words) noexcept nogil:
    """Set the bits of one chunk of the posting in a bitmap."""
    cdef uint32_t at, end, i, low
    cdef Chunk* chunk
    cdef uint16_t* values
    cdef uint64_t* theirs
    if posting.chunks:
        at = chunk_at(posting, high)
        chunk = (<Chunk*>posting.data) + at
        if at == posting.chunks or chunk.high != high:
            return
        if chunk.room:
            values = <uint16_t*>chunk.data
            for i in range(chunk.count):
                words[values[i] >> 6] |= (<uint64_t>1) << (values[i] & 63)
        else:
            theirs = <uint64_t*>chunk.data
            for i in range(<uint32_t>CHUNK_WORDS):
                words[i] |= theirs[i]
    elif posting.room:
        flat_range(posting, high, &at, &end)
        for i in range(at, end):
            low = (<uint32_t*>posting.data)[i] & 0xFFFF
            words[low >> 6] |= (<uint64_t>1) << (low & 63)
    elif posting.count:
        low = <uint32_t><size_t>posting.data
        if low >> 16 == high:
            low &= 0xFFFF
            words[low >> 6] |= (<uint64_t>1) << (low & 63)

cdef inline void posting_andnot_into(const Posting* posting, uint32_t high, uint64_t* words) noexcept nogil:
    """Clear the bits of one chunk of the posting in a bitmap."""
    cdef uint32_t at, end, i, low
    cdef Chunk* chunk
    cdef uint16_t* values
    cdef uint64_t* theirs
    if posting.chunks:
        at = chunk_at(posting, high)
        chunk = (<Chunk*>posting.data) + at
        if at == posting.chunks or chunk.high != high:
            return
        if chunk.room:
            values = <uint16_t*>chunk.data
            for i in range(chunk.count):
                words[values[i] >> 6] &= ~((<uint64_t>1) << (values[i] & 63))
        else:
            theirs = <uint64_t*>chunk.data
            for i in range(<uint32_t>CHUNK_WORDS):
                words[i] &= ~theirs[i]
    elif posting.room:
        flat_range(posting, high, &at, &end)
        for i in range(at, end):
            low = (<uint32_t*>posting.data)[i] & 0xFFFF
            words[low >> 6] &= ~((<uint64_t>1) << (low & 63))
    elif posting.count:
        low = <uint32_t><size_t>posting.data
        if low >> 16 == high:
            low &= 0xFFFF
            words[low >> 6] &= ~((<uint64_t>1) << (low & 63))

cdef inline size_t posting_bytes(const Posting* posting) noexcept nogil:
    """What is allocated for it, without the struct."""
    cdef size_t total
    cdef uint32_t i
    cdef Chunk* chunks
    if posting.room == 0:
        return 0
    if posting.chunks == 0:
        return posting.room * sizeof(uint32_t)
    chunks = <Chunk*>posting.data
    total = posting.room * sizeof(Chunk)
    for i in range(posting.chunks):
        total += chunks[i].room * sizeof(uint16_t) if chunks[i].room else CHUNK_WORDS * sizeof(uint64_t)
    return total
