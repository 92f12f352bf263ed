# Which backend is next.
#
# Round robin: a connection takes a number, and each further attempt of it the backend after that. With affinity the
# first attempt goes where the client went before, if that backend is still there. The affinity table of a target has
# 1,024 rows of 8 places; a client has its row by hash, and the place that was unused for longest makes room. So it is
# bounded (512 KB), needs no sweep, and forgets only when a row has more than 8 clients.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memcmp, memcpy, memset

from cybernetes.ext.forward_core cimport *

cdef enum:
    AFFINITY_ROWS = 1024
    AFFINITY_PLACES = 8


cdef inline uint64_t hash_bytes(const uint8_t *data, int size, uint64_t seed) noexcept nogil:
    """FNV-1a with a final mix: short keys, no adversary that matters (tables are bounded and rows are short)."""
    cdef uint64_t value = seed ^ <uint64_t>0xcbf29ce484222325
    cdef int index
    for index in range(size):
        value = (value ^ data[index]) * <uint64_t>0x100000001b3
    value ^= value >> 29
    value *= <uint64_t>0xbf58476d1ce4e5b9
    return value ^ (value >> 32)


cdef inline void address_key(Address *address, uint8_t *key) noexcept nogil:
    """The 16 bytes that stand for the host: IPv6 as it is, IPv4 in the first four."""
    memset(key, 0, 16)
    if address.family == AF_INET:
        memcpy(key, address.body, 4)
    else:
        memcpy(key, address.body + 4, 16)


cdef inline Affinity *affinity_place(Target *target, const uint8_t *client, int64_t now_ms) noexcept nogil:
    """The client's place, or the one that it gets (with another client's name in it). Under the target's lock."""
    cdef Affinity *row
    cdef Affinity *oldest
    cdef int index
    if target.affinity == NULL:
        target.affinity = <Affinity *>calloc(AFFINITY_ROWS * AFFINITY_PLACES, sizeof(Affinity))
        if target.affinity == NULL:
            return NULL
    row = target.affinity + (hash_bytes(client, 16, 0) % AFFINITY_ROWS) * AFFINITY_PLACES
    oldest = row
    for index in range(AFFINITY_PLACES):
        if row[index].used_ms != 0 and memcmp(row[index].client, client, 16) == 0:
            return &row[index]
        if row[index].used_ms < oldest.used_ms:
            oldest = &row[index]
    return oldest


cdef inline int backend_index(Target *target, uint64_t key) noexcept nogil:
    cdef int index
    for index in range(target.count):
        if target.backends[index].key == key:
            return index
    return -1


cdef inline int target_pick(
    Target *target, Address *client, int attempt, int *first, int64_t now_ms, Backend *chosen, int *generation
) noexcept nogil:
    """Choose a backend for a client's attempt number ``attempt`` (from 0). 0 when there is none (any more)."""
    cdef uint8_t key[16]
    cdef Affinity *place = NULL
    cdef int index = -1
    pthread_mutex_lock(&target.lock)
    generation[0] = target.generation
    if target.count == 0 or attempt >= target.count:
        pthread_mutex_unlock(&target.lock)
        return 0
    if target.affinity_ms > 0:
        address_key(client, key)
        place = affinity_place(target, key, now_ms)
        if (
            place != NULL and attempt == 0 and place.used_ms != 0 and memcmp(place.client, key, 16) == 0
            and now_ms - place.used_ms < target.affinity_ms
        ):
            index = backend_index(target, place.backend)
            first[0] = index
    if index < 0:
        if attempt == 0:
            first[0] = <int>(target.next % <uint32_t>target.count)
            target.next = <uint32_t>(first[0] + 1)
        index = (first[0] + attempt) % target.count
    if place != NULL:
        memcpy(place.client, key, 16)
        place.backend = target.backends[index].key
        place.used_ms = now_ms if now_ms > 0 else 1
    chosen[0] = target.backends[index]
    pthread_mutex_unlock(&target.lock)
    return 1


cdef inline int target_has(Target *target, uint64_t key, int *generation) noexcept nogil:
    """Whether a backend is still one; notes the generation at which that was so."""
    cdef int found
    pthread_mutex_lock(&target.lock)
    generation[0] = target.generation
    found = backend_index(target, key) >= 0
    pthread_mutex_unlock(&target.lock)
    return found
