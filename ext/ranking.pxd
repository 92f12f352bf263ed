"""What a ranking keeps, for the kernel that places by it."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from cybernetes.ext.nodecolumns cimport NodeColumns, Usage
from cybernetes.ext.resourcescore cimport Scoring

cdef class Ranking:
    cdef readonly NodeColumns columns
    cdef Usage needs                # what must be free; None: resources are not checked
    cdef bint checks_pods
    cdef Scoring fit
    cdef Scoring balanced
    cdef int64_t fit_weight
    cdef int64_t balanced_weight
    cdef int32_t[::1] klass_view
    cdef uint8_t[::1] blocked_view
    cdef int64_t[::1] class_score_view
    cdef int64_t* class_count
    cdef int classes
    cdef int64_t* best              # 1 is the top, size + row a leaf
    cdef int32_t* ties
    cdef int size
    cdef uint64_t position
    cdef uint64_t epoch
    cdef readonly bint needs_review
    cdef readonly int feasible
    cdef public uint64_t object_version     # of the node objects that it was made from
    cdef public bint reviews                # a review may change class scores

    cpdef bint refresh(self)
    cpdef int choose(self)
    cpdef int64_t score(self, int row) except? 0
    cdef bint has_room(self, int row) noexcept nogil
    cdef int64_t row_fit_score(self, int row) noexcept nogil
    cdef int64_t row_balance_score(self, int row) noexcept nogil
    cdef int64_t score_row(self, int row) noexcept nogil
    cdef void count_class(self, int row, int change) noexcept nogil
    cdef void join(self, int at) noexcept nogil
    cdef void set_leaf(self, int row, int64_t score) noexcept nogil
    cdef void rank_all(self) noexcept nogil
