"""Matches one label set against compiled requirements: one dict lookup a requirement.

The slow twin is ``Requirement.matches`` in core/labels/requirement.py.
"""

from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from cybernetes.ext.int64text cimport parse_int64

cdef enum:
    EQUAL = 0
    NOT_EQUAL = 1
    IN = 2
    NOT_IN = 3
    EXISTS = 4
    DOES_NOT_EXIST = 5
    GREATER_THAN = 6
    LESS_THAN = 7

cdef dict OPERATORS = {
    "=": EQUAL, "==": EQUAL, "!=": NOT_EQUAL, "in": IN, "notin": NOT_IN,
    "exists": EXISTS, "!": DOES_NOT_EXIST, "gt": GREATER_THAN, "lt": LESS_THAN,
}

cdef class _Test:
    cdef int operator
    cdef str key
    cdef str value          # of = and !=
    cdef frozenset values   # of in and notin
    cdef int64_t bound


cdef class Matcher:
    """``requirements`` are tuples (key, operator, values). ``matches`` is True when a label set meets all of them."""

    cdef tuple tests

    def __init__(self, requirements):
        cdef _Test test
        cdef list tests = []
        for key, operator, values in requirements:
            test = _Test()
            test.operator = OPERATORS[operator]
            test.key = key
            if test.operator == IN or test.operator == NOT_IN:
                test.values = frozenset(values)
                if len(values) == 1:
                    test.operator = EQUAL if test.operator == IN else NOT_EQUAL
            if test.operator == EQUAL or test.operator == NOT_EQUAL:
                test.value = values[0]
            if test.operator == GREATER_THAN or test.operator == LESS_THAN:
                if not parse_int64(values[0], &test.bound):
                    raise ValueError(f"{values[0]!r} is not an integer")
            tests.append(test)
        self.tests = tuple(tests)

    def matches(self, labels):
        cdef _Test test
        cdef PyObject* found
        cdef bint is_met
        cdef int64_t number
        if type(labels) is not dict:
            labels = dict(labels)
        for test in self.tests:
            found = PyDict_GetItem(labels, test.key)
            if test.operator == EQUAL:
                is_met = found != NULL and (<str?><object>found) == test.value
            elif test.operator == NOT_EQUAL:
                is_met = found == NULL or (<str?><object>found) != test.value
            elif test.operator == IN:
                is_met = found != NULL and <object>found in test.values
            elif test.operator == NOT_IN:
                is_met = found == NULL or <object>found not in test.values
            elif test.operator == EXISTS:
                is_met = found != NULL
            elif test.operator == DOES_NOT_EXIST:
                is_met = found == NULL
            elif found == NULL or not parse_int64(<str?><object>found, &number):
                is_met = False
            else:
                is_met = number > test.bound if test.operator == GREATER_THAN else number < test.bound
            if not is_met:
                return False
        return True
