"""Nodes as columns: what each has, what its pods take, and which rows changed lately.

The arrays belong to core/scheduling/nodetable.py (numpy) and are only looked at here. A change of a row is appended to
a log of the last LOG_SIZE changes; whoever has derived something from the rows remembers the position up to which it
has read and catches up with the rows since, or starts anew when the log has gone past it.

Chance is one splitmix64 sequence a table, seeded by its owner: the same seed gives the same placements.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t cyb_scale(uint64_t x, uint64_t limit) {
        return (uint64_t)(((unsigned __int128)x * limit) >> 64);
    }
    """
    uint64_t cyb_scale(uint64_t x, uint64_t limit) noexcept nogil


cdef class Usage:
    """``amounts`` by resource number; cpu in milli, the rest in whole units."""

    def __cinit__(self, amounts, int64_t scored_cpu, int64_t scored_memory):
        cdef int i
        self.count = len(amounts)
        self.amounts = <int64_t*>calloc(max(self.count, 1), sizeof(int64_t))
        if self.amounts == NULL:
            raise MemoryError
        for i in range(self.count):
            self.amounts[i] = amounts[i]
        self.scored_cpu = scored_cpu
        self.scored_memory = scored_memory

    def __dealloc__(self):
        free(self.amounts)


cdef class NodeColumns:
    def __init__(self, uint64_t seed):
        self.chance = seed

    def bind(
        self,
        int64_t[:, ::1] allocatable,
        int64_t[:, ::1] requested,
        int64_t[:, ::1] scored,
        int64_t[::1] pods,
        int64_t[::1] pods_max,
        uint8_t[::1] alive,
    ):
        """Look at these arrays from now on. All have one length; everything ranked before is void."""
        cdef Py_ssize_t capacity = alive.shape[0], resources = allocatable.shape[0]
        if capacity < 1 or resources < 3:
            raise ValueError("at least one row, and cpu, memory and ephemeral storage")
        if not (
            allocatable.shape[1] == capacity
            and requested.shape[0] == resources
            and requested.shape[1] == capacity
            and scored.shape[0] == 2
            and scored.shape[1] == capacity
            and pods.shape[0] == capacity
            and pods_max.shape[0] == capacity
        ):
            raise ValueError("columns of different lengths")
        self.allocatable_view = allocatable
        self.requested_view = requested
        self.scored_view = scored
        self.pods_view = pods
        self.pods_max_view = pods_max
        self.alive_view = alive
        self.allocatable = &allocatable[0, 0]
        self.requested = &requested[0, 0]
        self.scored = &scored[0, 0]
        self.pods = &pods[0]
        self.pods_max = &pods_max[0]
        self.alive = &alive[0]
        self.capacity = <int>capacity
        self.resources = <int>resources
        self.epoch += 1

    def add_pod(self, int row, Usage usage):
        """Count a pod on a row."""
        self.count(row, usage, 1)

    def remove_pod(self, int row, Usage usage):
        self.count(row, usage, -1)

    cdef int count(self, int row, Usage usage, int sign) except -1:
        cdef int i
        if not 0 <= row < self.capacity or usage.count > self.resources:
            raise IndexError(f"row {row} of {self.capacity}, {usage.count} resources of {self.resources}")
        for i in range(usage.count):
            self.requested[<Py_ssize_t>i * self.capacity + row] += sign * usage.amounts[i]
        self.scored[row] += sign * usage.scored_cpu
        self.scored[self.capacity + row] += sign * usage.scored_memory
        self.pods[row] += sign
        self.note(row)
        return 0

    def touch(self, int row):
        """A row changed in another way."""
        if not 0 <= row < self.capacity:
            raise IndexError(f"row {row} of {self.capacity}")
        self.note(row)

    def rewind(self, uint64_t position):
        """Forget the changes after ``position``: they have been undone, and nobody has read them."""
        if position > self.position:
            raise ValueError("the log has not come that far")
        self.position = position

    def changed_since(self, uint64_t position):
        """The rows that changed after ``position``, each once, or None when the log no longer goes back so far."""
        cdef uint64_t i
        cdef set rows = set()
        if self.position - position > LOG_SIZE:
            return None
        for i in range(position, self.position):
            rows.add(self.log[i & (LOG_SIZE - 1)])
        return list(rows)

    def random_below(self, uint64_t limit):
        """The next of the sequence, from 0 to ``limit`` - 1."""
        if limit == 0:
            raise ValueError("nothing is below 0")
        return self.below(limit)

    # Not in place, here and below: a debug build would look for None first, with the GIL.
    cdef void note(self, int row) noexcept nogil:
        self.log[self.position & (LOG_SIZE - 1)] = row
        self.position = self.position + 1

    cdef uint64_t below(self, uint64_t limit) noexcept nogil:
        cdef uint64_t x
        self.chance = self.chance + <uint64_t>0x9E3779B97F4A7C15
        x = self.chance
        x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
        x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
        return cyb_scale(x ^ (x >> 31), limit)
