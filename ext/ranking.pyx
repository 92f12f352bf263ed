"""All nodes ranked for the pods of one template; only what changed is scored again.

A ranking has a leaf for each row of the node table: the score of the node, or UNFIT. Above the leaves stands a
tournament: every inner place holds the best score below it and how many rows reach it. So the best score is at the
top, and one of those that reach it is drawn at random by going down with a number below their count.

                  (90, 2)
            (90, 1)     (90, 1)             draw 1 of 2: skip the left side's one, take the right's first: row 3
        row 0: 90  1: 70   2: UNFIT  3: 90

A changed row costs one score and one walk up (at most 14 places for 15,000 nodes), a draw one walk down, so a placement
costs about 0.2 µs here. Rows that changed are read from the log of the columns.

What does not depend on the pods on a node is the row's *class*, found by the template when it is made: the class gives
the base score (normalised over the feasible nodes), -1 means that a plugin refused the node. The ranking counts the
feasible rows of each class; ``review`` is set when a class loses its last one or gains its first, for then a
normalisation may have changed. ``reference.py`` in core/scheduling has the slow twin.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from cybernetes.ext.nodecolumns cimport LOG_SIZE, NodeColumns, Usage
from cybernetes.ext.resourcescore cimport (
    NO_SCORE,
    POINTS_MAX,
    RESOURCES_MAX,
    Scoring,
    Strategy,
    allocation_score,
    balanced_score,
)

cdef int64_t UNFIT_SCORE = -(<int64_t>1 << 62)
UNFIT = UNFIT_SCORE


cdef int fill(Scoring* scoring, int strategy, resources, points) except -1:
    cdef int i
    if len(resources) > RESOURCES_MAX or len(points) > POINTS_MAX:
        raise ValueError(f"at most {RESOURCES_MAX} scored resources and {POINTS_MAX} points of a shape")
    scoring.strategy = <Strategy>strategy
    scoring.count = len(resources)
    for i in range(scoring.count):
        resource, weight, request, is_skipped = resources[i]
        scoring.resources[i].resource = resource
        scoring.resources[i].weight = weight
        scoring.resources[i].request = request
        scoring.resources[i].is_skipped = is_skipped
    scoring.points = len(points)
    for i in range(scoring.points):
        scoring.utilization[i], scoring.score[i] = points[i]
    return 0


cdef class Ranking:
    def __init__(self, NodeColumns columns, Usage needs):
        """``needs`` None: neither resources nor the number of pods is checked."""
        self.columns = columns
        self.needs = needs
        self.checks_pods = needs is not None

    def __dealloc__(self):
        free(self.best)
        free(self.ties)
        free(self.class_count)

    def score_fit(self, int64_t weight, int strategy, resources, points=()):
        """Add NodeResourcesFit's score. ``resources``: (number, weight, pod's request, is skipped) of each."""
        fill(&self.fit, strategy, resources, points)
        self.fit_weight = weight

    def score_balanced(self, int64_t weight, resources):
        """Add NodeResourcesBalancedAllocation's score."""
        fill(&self.balanced, 1, resources, ())
        self.balanced_weight = weight

    def bind(self, int32_t[::1] klass, uint8_t[::1] blocked, int64_t[::1] class_score):
        """The class of each row, what else blocks it (0: nothing), and each class's score. Ranks everything anew."""
        cdef int size = 1
        if klass.shape[0] != self.columns.capacity or blocked.shape[0] != self.columns.capacity:
            raise ValueError("columns of another length than the node table's")
        self.klass_view = klass
        self.blocked_view = blocked
        self.class_score_view = class_score
        while size < self.columns.capacity:
            size *= 2
        if size != self.size:
            free(self.best)
            free(self.ties)
            self.best = <int64_t*>malloc(2 * size * sizeof(int64_t))
            self.ties = <int32_t*>malloc(2 * size * sizeof(int32_t))
            self.size = size
        free(self.class_count)
        self.classes = <int>class_score.shape[0]
        self.class_count = <int64_t*>calloc(max(self.classes, 1), sizeof(int64_t))
        if self.best == NULL or self.ties == NULL or self.class_count == NULL:
            raise MemoryError
        self.rank_all()

    cpdef bint refresh(self):
        """Catch up with the rows that changed. False when it cannot: ``bind`` again."""
        cdef NodeColumns columns = self.columns
        cdef uint64_t i
        cdef int row
        if self.size == 0 or self.epoch != columns.epoch:
            return False
        if self.position == columns.position:
            return True
        if columns.position - self.position > <uint64_t>(columns.capacity >> 2) + 16:
            self.rank_all()
            return True
        for i in range(self.position, columns.position):
            row = columns.log[i & (LOG_SIZE - 1)]
            self.set_leaf(row, self.score_row(row))
        self.position = columns.position
        return True

    @property
    def behind(self):
        """The log position up to which rows are ranked."""
        return self.position

    def rescore(self):
        """Rank everything anew: class scores have changed."""
        self.rank_all()

    def class_counts(self):
        """How many feasible rows each class has; clears ``needs_review``."""
        self.needs_review = False
        return [self.class_count[i] for i in range(self.classes)]

    cpdef int choose(self):
        """A row with the best score, drawn at random among equals; -1 when no row is feasible."""
        cdef int at = 1, draw
        if self.size == 0 or self.ties[1] == 0:
            return -1
        draw = <int>self.columns.below(<uint64_t>self.ties[1])
        while at < self.size:
            at *= 2
            if self.best[at] == self.best[at // 2]:
                if draw < self.ties[at]:
                    continue
                draw -= self.ties[at]
            at += 1
        return at - self.size

    def choose_with(self, const uint8_t[::1] codes, const int64_t[::1] extra):
        """As ``choose``, for scores to which ``extra`` is added and rows of which those with a code are out.

        Returns (row, score, feasible rows); row -1 when there is none.
        """
        cdef int64_t best = UNFIT_SCORE, score
        cdef int row, count = 0, feasible = 0, draw
        cdef const int64_t* leaf = self.best + self.size
        if codes.shape[0] < self.columns.capacity or extra.shape[0] < self.columns.capacity:
            raise ValueError("columns of another length than the node table's")
        for row in range(self.columns.capacity):
            if leaf[row] == UNFIT_SCORE or codes[row]:
                continue
            feasible += 1
            score = leaf[row] + extra[row]
            if score > best:
                best = score
                count = 1
            elif score == best:
                count += 1
        if feasible == 0:
            return -1, 0, 0
        draw = <int>self.columns.below(<uint64_t>count)
        for row in range(self.columns.capacity):
            if leaf[row] != UNFIT_SCORE and not codes[row] and leaf[row] + extra[row] == best:
                if draw == 0:
                    return row, best, feasible
                draw -= 1
        raise AssertionError("a counted row is gone")

    cpdef int64_t score(self, int row) except? 0:
        """The score of a row as ranked, or UNFIT."""
        if not 0 <= row < self.columns.capacity or self.size == 0:
            raise IndexError(row)
        return self.best[self.size + row]

    def scores(self):
        """The scores of all rows, UNFIT where the pod does not fit, as the bytes of an int64 array."""
        return (<const char*>(self.best + self.size))[: self.columns.capacity * sizeof(int64_t)]

    def fits(self, int row):
        """Whether resources and the number of pods let the pod on to a row now."""
        if not 0 <= row < self.columns.capacity:
            raise IndexError(row)
        return self.has_room(row)

    def fit_score(self, int row):
        """NodeResourcesFit's score of a row now, without its weight."""
        return self.row_fit_score(row) if 0 <= row < self.columns.capacity else 0

    def balance_score(self, int row):
        """NodeResourcesBalancedAllocation's score of a row now, without its weight."""
        return self.row_balance_score(row) if 0 <= row < self.columns.capacity else 0

    cdef bint has_room(self, int row) noexcept nogil:
        cdef int i
        cdef Py_ssize_t at = row
        if not self.checks_pods:
            return True
        if self.columns.pods[row] + 1 > self.columns.pods_max[row]:
            return False
        for i in range(self.needs.count):
            if self.needs.amounts[i] > 0 and self.needs.amounts[i] > self.columns.allocatable[at] - self.columns.requested[at]:
                return False
            at += self.columns.capacity
        return True

    cdef int64_t row_fit_score(self, int row) noexcept nogil:
        return allocation_score(
            &self.fit, self.columns.allocatable, self.columns.requested, self.columns.scored, self.columns.capacity, row
        )

    cdef int64_t row_balance_score(self, int row) noexcept nogil:
        return balanced_score(
            &self.balanced, self.columns.allocatable, self.columns.requested, self.columns.capacity, row
        )

    cdef int64_t score_row(self, int row) noexcept nogil:
        cdef int32_t klass = self.klass_view[row]
        cdef int64_t score
        if not self.columns.alive[row] or klass < 0 or self.blocked_view[row] or not self.has_room(row):
            return UNFIT_SCORE
        score = self.class_score_view[klass]
        if self.fit_weight:
            score += self.fit_weight * self.row_fit_score(row)
        if self.balanced_weight:
            score += self.balanced_weight * self.row_balance_score(row)
        return score

    cdef void count_class(self, int row, int change) noexcept nogil:
        cdef int32_t klass = self.klass_view[row]
        # Not in place: a debug build would look for None first, with the GIL.
        self.feasible = self.feasible + change
        if 0 <= klass < self.classes:
            self.class_count[klass] = self.class_count[klass] + change
            if self.class_count[klass] == (1 if change > 0 else 0):
                self.needs_review = True

    cdef void join(self, int at) noexcept nogil:
        cdef int left = 2 * at, right = 2 * at + 1
        if self.best[left] > self.best[right]:
            self.best[at] = self.best[left]
            self.ties[at] = self.ties[left]
        elif self.best[left] < self.best[right]:
            self.best[at] = self.best[right]
            self.ties[at] = self.ties[right]
        else:
            self.best[at] = self.best[left]
            self.ties[at] = self.ties[left] + self.ties[right]

    cdef void set_leaf(self, int row, int64_t score) noexcept nogil:
        cdef int at = self.size + row
        cdef int64_t before = self.best[at]
        cdef int32_t ties_before
        if before == score:
            return
        self.best[at] = score
        self.ties[at] = score != UNFIT_SCORE
        if before == UNFIT_SCORE:
            self.count_class(row, 1)
        elif score == UNFIT_SCORE:
            self.count_class(row, -1)
        while at > 1:
            at //= 2
            before = self.best[at]
            ties_before = self.ties[at]
            self.join(at)
            if before == self.best[at] and ties_before == self.ties[at]:
                return

    cdef void rank_all(self) noexcept nogil:
        cdef int row, at
        cdef int64_t score
        self.feasible = 0
        for at in range(self.classes):
            self.class_count[at] = 0
        for row in range(self.size):
            score = self.score_row(row) if row < self.columns.capacity else UNFIT_SCORE
            at = self.size + row
            self.best[at] = score
            self.ties[at] = score != UNFIT_SCORE
            if score != UNFIT_SCORE:
                self.count_class(row, 1)
        for at in range(self.size - 1, 0, -1):
            self.join(at)
        self.needs_review = True
        self.position = self.columns.position
        self.epoch = self.columns.epoch
