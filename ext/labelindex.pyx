"""The kernel of the label index: a conjunction of requirements in, the ids that meet all of them out.

Requirements are tuples (key, operator, values) as ``core/labels/requirement.py`` makes them. They are compiled to
conditions on pair numbers, the rarest positive one leads, and ``labelquery`` walks or combines.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.dict cimport PyDict_GetItem
from cpython.long cimport PyLong_AsUnsignedLong
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from cybernetes.ext.int64text cimport parse_int64
from cybernetes.ext.labelquery cimport HAS_KEY, LACKS_KEY, NEGATIVE, POSITIVE, Condition, View, combine, walk
from cybernetes.ext.labelstore cimport LabelKey, LabelStore, sort_numbers

cdef extern from "Python.h":
    PyObject* PyBytes_FromStringAndSize(const char* data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject** value, Py_ssize_t size) except -1

cdef enum:
    IN = 0
    NOT_IN = 1
    EXISTS = 2
    DOES_NOT_EXIST = 3
    GREATER_THAN = 4
    LESS_THAN = 5
    #: A lead of up to this many slots, and one more for each 512 slots of the index, is walked.
    WALK_MAX = 256

cdef dict OPERATORS = {
    "=": IN, "==": IN, "in": IN, "!=": NOT_IN, "notin": NOT_IN,
    "exists": EXISTS, "!": DOES_NOT_EXIST, "gt": GREATER_THAN, "lt": LESS_THAN,
}


cdef class LabelIndexKernel(LabelStore):
    """``core/labels/index.py`` is its public face and ``core/labels/reference.py`` its slow twin."""

    cdef uint64_t scratch_used      # pairs of compiled conditions
    cdef Condition* conditions
    cdef uint32_t condition_room
    cdef uint32_t* candidates       # slots of a walk
    cdef uint64_t candidate_room

    def __dealloc__(self):
        free(self.conditions)
        free(self.candidates)

    def select_bytes(self, tuple requirements):
        """The ids that meet all requirements, as the bytes of an int64 array, in no particular order."""
        return self.answer(requirements, True)

    def count_all(self, tuple requirements):
        """How many ids meet all requirements. Nothing is materialised."""
        cdef uint64_t most = 0
        cdef int64_t lead = -1
        cdef int64_t conditions = self.compile(requirements, &lead, &most)
        return 0 if conditions < 0 else self.run(<uint32_t>conditions, lead, most, True, NULL)

    def group_bytes(self, str key, tuple requirements):
        """Value of ``key`` -> bytes of the int64 ids that carry it and meet all requirements."""
        cdef bytes slots = self.answer(requirements, False)
        cdef const int64_t* data = <const int64_t*>PyBytes_AS_STRING(slots)
        cdef uint64_t count = <uint64_t>len(slots) // sizeof(int64_t), i
        cdef LabelKey entry = self.keys.get(key)
        cdef const uint32_t* row
        cdef uint32_t j
        cdef dict members = {}
        cdef PyObject* found
        if entry is None:
            return {}
        for i in range(count):
            row = self.arena + self.row_at[data[i]]
            for j in range(1, row[0] + 1):
                if self.key_of[row[j]] == entry.number:
                    value = self.text_at[row[j]]
                    found = PyDict_GetItem(members, value)
                    if found == NULL:
                        members[value] = bytearray()
                        found = PyDict_GetItem(members, value)
                    (<bytearray>found).extend((<const char*>&self.ids[data[i]])[:sizeof(int64_t)])
                    break
        return {value: bytes(ids) for value, ids in members.items()}

    cdef bytes answer(self, tuple requirements, bint wants_ids):
        cdef uint64_t most = 0, size
        cdef int64_t lead = -1
        cdef int64_t conditions = self.compile(requirements, &lead, &most)
        cdef PyObject* made
        if conditions < 0:
            return b""
        made = PyBytes_FromStringAndSize(NULL, most * sizeof(int64_t))
        size = self.run(<uint32_t>conditions, lead, most, wants_ids, <int64_t*>PyBytes_AS_STRING(<object>made))
        if size < most:
            _PyBytes_Resize(&made, size * sizeof(int64_t))
        result = <bytes>made  # a reference of its own: give back the one from making it
        Py_DECREF(result)
        return result

    cdef uint64_t run(self, uint32_t count, int64_t lead, uint64_t most, bint wants_ids, int64_t* out) except? 0:
        cdef View view
        cdef void* grown
        view.postings = self.postings
        view.key_of = self.key_of
        view.arena = self.arena
        view.row_at = self.row_at
        view.live = &self.live
        view.slot_count = self.slot_count
        view.ids = self.ids if wants_ids else NULL
        if lead < 0 or most > WALK_MAX + (self.slot_count >> 9):
            return combine(&view, self.conditions, count, lead, out)
        if most > self.candidate_room:
            grown = realloc(self.candidates, (most + 64) * sizeof(uint32_t))
            if grown == NULL:
                raise MemoryError
            self.candidates = <uint32_t*>grown
            self.candidate_room = most + 64
        return walk(&view, self.conditions, count, <uint32_t>lead, self.candidates, out)

    cdef int64_t compile(self, tuple requirements, int64_t* lead, uint64_t* most) except? -2:
        """Turn requirements into ``conditions``: how many there are, or -1 when nothing can meet them.

        ``lead`` is the rarest positive one (-1: none) and ``most`` how many slots it has.
        """
        cdef uint64_t pairs_max = 0
        cdef uint32_t count = 0
        cdef int operator
        cdef LabelKey entry
        cdef tuple values
        cdef Condition* condition
        most[0] = self.table.count
        for item in requirements:
            values = <tuple>(<tuple>item)[2]
            pairs_max += <uint64_t>len(values)
            if (<tuple>item)[1] in ("gt", "lt"):
                entry = self.keys.get((<tuple>item)[0])
                pairs_max += <uint64_t>len(entry.values) if entry is not None else 0
        self.want_conditions(<uint32_t>len(requirements))
        self.want_scratch(pairs_max)
        self.scratch_used = 0
        for item in requirements:
            operator = OPERATORS[(<tuple>item)[1]]
            entry = self.keys.get((<tuple>item)[0])
            if entry is None:
                if operator == NOT_IN or operator == DOES_NOT_EXIST:
                    continue
                return -1
            condition = &self.conditions[count]
            condition.key = entry.number
            condition.key_slots = &entry.slots
            condition.count = 0
            condition.pairs = self.scratch + self.scratch_used
            condition.slots_max = 0
            if operator == EXISTS or operator == DOES_NOT_EXIST:
                condition.kind = HAS_KEY if operator == EXISTS else LACKS_KEY
                condition.slots_max = entry.slots.count
            else:
                condition.kind = NEGATIVE if operator == NOT_IN else POSITIVE
                self.find_pairs(entry, operator, <tuple>(<tuple>item)[2], condition)
                if condition.count == 0:
                    if operator == NOT_IN:
                        continue
                    return -1
            if (operator != NOT_IN and operator != DOES_NOT_EXIST) and (lead[0] < 0 or condition.slots_max < most[0]):
                lead[0] = count
                most[0] = condition.slots_max
            count += 1
        return count

    cdef int find_pairs(self, LabelKey entry, int operator, tuple values, Condition* condition) except -1:
        """Append the pairs that meet one requirement to the scratch, sorted and once each."""
        cdef uint32_t* pairs = self.scratch + self.scratch_used
        cdef uint32_t n = 0, i, unique = 0
        cdef int64_t bound, number
        cdef PyObject* found
        if operator == GREATER_THAN or operator == LESS_THAN:
            if parse_int64(<str?>values[0], &bound):
                for value, pair in entry.values.items():
                    if parse_int64(<str>value, &number) and (number > bound if operator == GREATER_THAN else number < bound):
                        pairs[n] = pair
                        n += 1
        else:
            for value in values:
                found = PyDict_GetItem(entry.values, value)
                if found != NULL:
                    pairs[n] = <uint32_t>PyLong_AsUnsignedLong(<object>found)
                    n += 1
        sort_numbers(pairs, n)
        for i in range(n):
            if i == 0 or pairs[i] != pairs[unique - 1]:
                pairs[unique] = pairs[i]
                condition.slots_max += self.postings[pairs[i]].count
                unique += 1
        condition.count = unique
        self.scratch_used += unique
        return 0

    cdef int want_conditions(self, uint32_t room) except -1:
        cdef void* grown
        if room > self.condition_room:
            grown = realloc(self.conditions, room * sizeof(Condition))
            if grown == NULL:
                raise MemoryError
            self.conditions = <Condition*>grown
            self.condition_room = room
        return 0
