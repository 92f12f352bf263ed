"""The columns of the node table as kernels see them."""

from libc.stdint cimport int64_t, uint8_t, uint64_t, int32_t

cdef enum:
    LOG_SIZE = 65536        # changes that are remembered; a power of two

cdef class Usage:
    """What one pod takes: an amount for each resource, and cpu and memory as scoring counts them."""
    cdef int count
    cdef int64_t* amounts
    cdef int64_t scored_cpu
    cdef int64_t scored_memory

cdef class NodeColumns:
    cdef int64_t[:, ::1] allocatable_view
    cdef int64_t[:, ::1] requested_view
    cdef int64_t[:, ::1] scored_view
    cdef int64_t[::1] pods_view
    cdef int64_t[::1] pods_max_view
    cdef uint8_t[::1] alive_view
    cdef int64_t* allocatable       # resource * capacity + row
    cdef int64_t* requested
    cdef int64_t* scored            # cpu, then memory
    cdef int64_t* pods
    cdef int64_t* pods_max
    cdef uint8_t* alive
    cdef readonly int capacity
    cdef readonly int resources
    cdef int32_t[65536] log
    cdef readonly uint64_t position     # changes so far
    cdef readonly uint64_t epoch        # bindings so far: what was ranked on an older one starts anew
    cdef uint64_t chance
    cdef public uint64_t object_version     # changes of node objects, counted by the table
    cdef public bint is_watched             # somebody must hear of each pod that comes or goes

    cdef int count(self, int row, Usage usage, int sign) except -1
    cdef uint64_t below(self, uint64_t limit) noexcept nogil
    cdef void note(self, int row) noexcept nogil
