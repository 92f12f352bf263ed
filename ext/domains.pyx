"""Passes over all nodes by topology domain, for plugins whose answer depends on the pods elsewhere.

``of_row`` is each row's domain (-1: the node lacks the label). What a domain holds (is it full, how many pods) is in
arrays by domain number. A node counts as feasible when its leaf in the ranking is a score and its code is 0. Each pass
takes one to three nanoseconds a node. The slow twins are the plugins' numpy forms (``filter_rows``, ``score_rows``,
``normalize_scores``), to which these are equal to the bit.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc

from cybernetes.ext.ranking cimport Ranking

cdef int64_t UNFIT = -(<int64_t>1 << 62)

cdef enum:
    NORMALIZED_MAX = 4096

cdef struct Term:
    const int32_t* of_row
    const int64_t* by_domain    # NULL: the counts are by row
    int domains
    const int32_t* by_row
    double weight
    double constant


cdef int check(Ranking ranking, Py_ssize_t first, Py_ssize_t second) except -1:
    if first < ranking.columns.capacity or second < ranking.columns.capacity:
        raise ValueError("columns of another length than the node table's")
    return 0


def refuse(
    uint8_t[::1] codes,
    const int32_t[::1] of_row,
    const int64_t[::1] values,
    int64_t least,
    int64_t most,
    bint needs_domain,
):
    """Set the code of rows whose domain's value is from ``least`` to ``most``; with ``needs_domain`` of those in none."""
    cdef Py_ssize_t row
    cdef int32_t domain
    cdef int64_t value
    if of_row.shape[0] < codes.shape[0]:
        raise ValueError("columns of different lengths")
    for row in range(codes.shape[0]):
        domain = of_row[row]
        if domain < 0:
            codes[row] |= needs_domain
        else:
            value = values[domain] if domain < values.shape[0] else 0
            codes[row] |= least <= value and value <= most


def fewest(const int64_t[::1] values, const int64_t[::1] nodes):
    """(the least value of a domain that has nodes, how many have); (0, 0) when none has."""
    cdef Py_ssize_t domain
    cdef int64_t least = 0
    cdef Py_ssize_t found = 0
    if nodes.shape[0] < values.shape[0]:
        raise ValueError("columns of different lengths")
    for domain in range(values.shape[0]):
        if nodes[domain] > 0:
            if found == 0 or values[domain] < least:
                least = values[domain]
            found += 1
    return least, found


def add_sums(int64_t[::1] raw, const int32_t[::1] of_row, const int64_t[::1] values, int64_t weight):
    """Add to each row ``weight`` times what its domain holds."""
    cdef Py_ssize_t row
    cdef int32_t domain
    if of_row.shape[0] < raw.shape[0]:
        raise ValueError("columns of different lengths")
    for row in range(raw.shape[0]):
        domain = of_row[row]
        if 0 <= domain < values.shape[0]:
            raw[row] += weight * values[domain]


def count_feasible(Ranking ranking, const uint8_t[::1] codes, const uint8_t[::1] is_counted):
    """How many feasible rows are counted."""
    cdef int row, found = 0
    cdef const int64_t* leaf = ranking.best + ranking.size
    check(ranking, codes.shape[0], is_counted.shape[0])
    for row in range(ranking.columns.capacity):
        found += (leaf[row] != UNFIT) & (codes[row] == 0) & (is_counted[row] != 0)
    return found


def count_domains(
    Ranking ranking,
    const uint8_t[::1] codes,
    const uint8_t[::1] is_counted,
    const int32_t[::1] of_row,
    const int64_t[::1] nodes,
    bint counts_none,
):
    """How many domains the feasible rows that are counted are in; with ``counts_none``, being in none is one.

    ``nodes`` is how many nodes each domain has: when each with any has been seen, the rest need not be looked at.
    """
    cdef int row, found = 0, wanted = 0, i
    cdef bint seeks_none = counts_none
    cdef int32_t domain
    cdef const int64_t* leaf = ranking.best + ranking.size
    cdef uint8_t* marks
    check(ranking, codes.shape[0], is_counted.shape[0])
    check(ranking, of_row.shape[0], of_row.shape[0])
    marks = <uint8_t*>calloc(nodes.shape[0] + 1, 1)
    if marks == NULL:
        raise MemoryError
    for i in range(<int>nodes.shape[0]):
        wanted += nodes[i] > 0
    for row in range(ranking.columns.capacity):
        if leaf[row] == UNFIT or codes[row] or not is_counted[row]:
            continue
        domain = of_row[row]
        if domain < 0:
            found += seeks_none
            seeks_none = False
        elif domain < nodes.shape[0] and not marks[domain]:
            marks[domain] = 1
            found += 1
            wanted -= 1
        if wanted == 0 and not seeks_none:
            break
    free(marks)
    return found


def score_spread(
    Ranking ranking, const uint8_t[::1] codes, const uint8_t[::1] is_counted, constraints, int64_t weight, extra
):
    """Add PodTopologySpread's weighted and normalised scores to ``extra`` (int64 by row): fewer pods, more score.

    ``constraints``: (of_row, counts, weight, constant) of each; ``counts`` are int64 by domain or int32 by row. A row's
    raw score is the sum of ``count * weight + constant`` over the constraints whose label it has, rounded.
    """
    cdef Term[8] terms
    cdef int32_t* scores
    cdef const int32_t[::1] of_row
    cdef const int64_t[::1] by_domain
    cdef const int32_t[::1] by_row
    cdef int64_t[::1] result = extra
    cdef int i, count = len(constraints)
    if count > 8:
        raise ValueError("more than 8 spread constraints")
    check(ranking, codes.shape[0], is_counted.shape[0])
    check(ranking, result.shape[0], result.shape[0])
    for i in range(count):
        rows, counts, terms[i].weight, terms[i].constant = constraints[i]
        of_row = rows
        check(ranking, of_row.shape[0], of_row.shape[0])
        terms[i].of_row = &of_row[0]  # the caller's arrays outlive this call
        terms[i].by_row = NULL
        terms[i].by_domain = NULL
        if counts.itemsize == 4:
            by_row = counts
            check(ranking, by_row.shape[0], by_row.shape[0])
            terms[i].by_row = &by_row[0]
        else:
            by_domain = counts
            terms[i].domains = <int>by_domain.shape[0]
            if terms[i].domains:
                terms[i].by_domain = &by_domain[0]
    scores = <int32_t*>malloc(ranking.columns.capacity * sizeof(int32_t))
    if scores == NULL:
        raise MemoryError
    spread_rows(ranking, &codes[0], &is_counted[0], terms, count, weight, scores, &result[0])
    free(scores)


cdef void spread_rows(
    Ranking ranking, const uint8_t* codes, const uint8_t* is_counted, const Term* terms, int count,
    int64_t weight, int32_t* scores, int64_t* extra,
) noexcept nogil:
    cdef int row, i, capacity = ranking.columns.capacity
    cdef int32_t domain, score, least = 0x7FFFFFFF, most = -1
    cdef double total
    cdef int64_t known
    cdef int64_t[NORMALIZED_MAX] normalized      # few different scores: each is divided once
    cdef const int64_t* leaf = ranking.best + ranking.size
    for row in range(capacity):
        scores[row] = -1
        if leaf[row] == UNFIT or codes[row] or not is_counted[row]:
            continue
        total = 0.0
        for i in range(count):
            domain = terms[i].of_row[row]
            if domain < 0:
                continue
            if terms[i].by_row != NULL:
                known = terms[i].by_row[row]
            else:
                known = terms[i].by_domain[domain] if domain < terms[i].domains else 0
            total += <double>known * terms[i].weight + terms[i].constant
        score = <int32_t>(total + 0.5)      # nothing is below zero: the same as rounding down
        scores[row] = score
        least = score if score < least else least
        most = score if score > most else most
    if most <= 0:
        for row in range(capacity):
            if scores[row] >= 0:
                extra[row] += weight * 100
        return
    if most < NORMALIZED_MAX:
        for score in range(least, most + 1):
            normalized[score] = weight * (100 * (<int64_t>most + least - score) // most)
        for row in range(capacity):
            if scores[row] >= 0:
                extra[row] += normalized[scores[row]]
        return
    for row in range(capacity):
        if scores[row] >= 0:
            extra[row] += weight * (100 * (<int64_t>most + least - scores[row]) // most)


def add_normalized_affinity(
    Ranking ranking, const uint8_t[::1] codes, const int64_t[::1] raw, int64_t weight, int64_t[::1] extra
):
    """InterPodAffinity's normalisation: the least is 0, the most 100."""
    cdef int row
    cdef int64_t least = (<int64_t>1 << 62), most = -(<int64_t>1 << 62)
    cdef const int64_t* leaf = ranking.best + ranking.size
    check(ranking, codes.shape[0], raw.shape[0])
    check(ranking, extra.shape[0], extra.shape[0])
    for row in range(ranking.columns.capacity):
        if leaf[row] != UNFIT and not codes[row]:
            least = raw[row] if raw[row] < least else least
            most = raw[row] if raw[row] > most else most
    if most <= least:
        return
    for row in range(ranking.columns.capacity):
        if leaf[row] != UNFIT and not codes[row]:
            extra[row] += weight * <int64_t>(100.0 * (<double>(raw[row] - least) / <double>(most - least)))
