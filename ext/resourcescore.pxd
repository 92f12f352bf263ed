"""What the NodeResources plugins score one node with, to the bit as upstream's formulas. Inlined into the ranking.

The slow twins are ``scores.py`` in core/scheduling. Scores are whole numbers from 0 to 100. Products that would leave
64 bits (amounts above 2^56) are computed in 128, where upstream would wrap around.
"""

from libc.math cimport fabs, round, sqrt
from libc.stdint cimport int64_t

cdef extern from *:
    """
    #include <stdint.h>
    static inline int64_t cyb_percent(int64_t part, int64_t whole) {
        if (part < ((int64_t)1 << 56)) return part * 100 / whole;
        return (int64_t)((__int128)part * 100 / whole);
    }
    /* Rounds towards zero in every build, as Go does; Cython's // rounds down in a debug build. */
    static inline int64_t cyb_quotient(int64_t a, int64_t b) { return a / b; }
    """
    int64_t cyb_percent(int64_t part, int64_t whole) noexcept nogil
    int64_t cyb_quotient(int64_t a, int64_t b) noexcept nogil

cdef enum:
    RESOURCES_MAX = 32
    POINTS_MAX = 128

cdef enum Strategy:
    NO_SCORE = 0
    LEAST_ALLOCATED = 1
    MOST_ALLOCATED = 2
    REQUESTED_TO_CAPACITY = 3

cdef struct ScoredResource:
    int resource        # number of its column
    int64_t weight
    int64_t request     # of the pod
    bint is_skipped     # an extended resource that the pod does not ask for

cdef struct Scoring:
    Strategy strategy
    int count
    ScoredResource[32] resources
    int points
    int64_t[128] utilization
    int64_t[128] score

cdef inline int64_t shape_score(const Scoring* scoring, int64_t p) noexcept nogil:
    """The broken line through the points, at ``p``."""
    cdef int i
    for i in range(scoring.points):
        if p <= scoring.utilization[i]:
            if i == 0:
                return scoring.score[0]
            return scoring.score[i - 1] + cyb_quotient(
                (scoring.score[i] - scoring.score[i - 1]) * (p - scoring.utilization[i - 1]),
                scoring.utilization[i] - scoring.utilization[i - 1],
            )
    return scoring.score[scoring.points - 1]

cdef inline int64_t allocation_score(
    const Scoring* scoring, const int64_t* allocatable, const int64_t* requested, const int64_t* scored,
    Py_ssize_t capacity, Py_ssize_t row,
) noexcept nogil:
    """NodeResourcesFit's score: cpu and memory count as ``scored``, with defaults for pods that ask for nothing."""
    cdef int64_t total = 0, weights = 0, has, wants, part
    cdef int i
    cdef const ScoredResource* resource
    for i in range(scoring.count):
        resource = &scoring.resources[i]
        has = allocatable[resource.resource * capacity + row]
        if resource.is_skipped or has == 0:
            continue
        if resource.resource < 2:
            wants = scored[resource.resource * capacity + row] + resource.request
        else:
            wants = requested[resource.resource * capacity + row] + resource.request
        if scoring.strategy == LEAST_ALLOCATED:
            part = 0 if wants > has else cyb_percent(has - wants, has)
        elif scoring.strategy == MOST_ALLOCATED:
            part = cyb_percent(has if wants > has else wants, has)
        else:
            part = shape_score(scoring, 100 if wants > has else cyb_percent(wants, has))
            if part <= 0:
                continue
        total += part * resource.weight
        weights += resource.weight
    if weights == 0:
        return 0
    if scoring.strategy == REQUESTED_TO_CAPACITY:
        return <int64_t>round(<double>total / <double>weights)
    return total // weights

cdef inline int64_t balance(const double* fractions, int count, double total) noexcept nogil:
    cdef double deviation = 0.0, mean, squares = 0.0
    cdef int i
    if count == 2:
        deviation = fabs((fractions[0] - fractions[1]) / 2)
    elif count > 2:
        mean = total / <double>count
        for i in range(count):
            squares = squares + (fractions[i] - mean) * (fractions[i] - mean)
        deviation = sqrt(squares / <double>count)
    return <int64_t>((1 - deviation) * 100.0)

cdef inline int64_t balanced_score(
    const Scoring* scoring, const int64_t* allocatable, const int64_t* requested, Py_ssize_t capacity, Py_ssize_t row,
) noexcept nogil:
    """NodeResourcesBalancedAllocation's score: how much more even the node's use becomes with the pod."""
    cdef double[32] before
    cdef double[32] after
    cdef double total_before = 0.0, total_after = 0.0, fraction
    cdef int64_t has, used
    cdef int i, n = 0
    cdef const ScoredResource* resource
    for i in range(scoring.count):
        resource = &scoring.resources[i]
        has = allocatable[resource.resource * capacity + row]
        if resource.is_skipped or has == 0:
            continue
        used = requested[resource.resource * capacity + row]
        fraction = <double>(used + resource.request) / <double>has
        after[n] = 1.0 if fraction > 1 else fraction
        total_after += after[n]
        fraction = <double>used / <double>has
        before[n] = 1.0 if fraction > 1 else fraction
        total_before += before[n]
        n += 1
    return 50 + (50 + balance(after, n, total_after) - balance(before, n, total_before)) // 2
