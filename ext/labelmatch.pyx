"""Matches one label set against compiled requirements: one dict lookup a requirement.

The slow twin is ``Requirement.matches`` in core/labels/requirement.py.
"""

from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

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

cdef struct Test:
    int operator
    PyObject* key
    PyObject* operand       # a value, or a frozenset of values
    int64_t bound


cdef class Matcher:
    """``requirements`` are tuples (key, operator, values). ``matches`` is True when a label set meets all of them."""

    cdef list held              # what the tests point to
    cdef Test* tests
    cdef Py_ssize_t count

    def __init__(self, requirements):
        cdef Test* test
        cdef list given = list(requirements)
        self.held = []
        free(self.tests)
        self.count = 0
        self.tests = <Test*>calloc(max(len(given), 1), sizeof(Test))
        if self.tests == NULL:
            raise MemoryError
        for key, operator, values in given:
            test = &self.tests[self.count]
            test.operator = OPERATORS[operator]
            test.key = self.hold(key)
            if (test.operator == IN or test.operator == NOT_IN) and len(values) == 1:
                test.operator = EQUAL if test.operator == IN else NOT_EQUAL
            if test.operator == IN or test.operator == NOT_IN:
                test.operand = self.hold(frozenset(values))
            elif test.operator == EQUAL or test.operator == NOT_EQUAL:
                test.operand = self.hold(values[0])
            elif test.operator == GREATER_THAN or test.operator == LESS_THAN:
                if not parse_int64(values[0], &test.bound):
                    raise ValueError(f"{values[0]!r} is not an integer")
            self.count += 1

    def __dealloc__(self):
        free(self.tests)

    cdef PyObject* hold(self, object value):
        self.held.append(value)
        return <PyObject*>value

    def matches(self, labels):
        cdef Py_ssize_t i
        cdef const Test* test
        cdef PyObject* found
        cdef bint is_met
        cdef int64_t number
        cdef dict mapping = labels if type(labels) is dict else dict(labels)
        for i in range(self.count):
            test = &self.tests[i]
            found = PyDict_GetItemWithError(mapping, <object>test.key)
            if test.operator == EQUAL:
                is_met = found != NULL and (found == test.operand or <str?><object>found == <str><object>test.operand)
            elif test.operator == NOT_EQUAL:
                is_met = found == NULL or (found != test.operand and <str?><object>found != <str><object>test.operand)
            elif test.operator == IN:
                is_met = found != NULL and <object>found in <frozenset><object>test.operand
            elif test.operator == NOT_IN:
                is_met = found == NULL or <object>found not in <frozenset><object>test.operand
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
