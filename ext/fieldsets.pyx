"""Union and difference of the sets of fields that managers own, which are dicts of dicts.

The rules, and the slow twins, are in ``core/api/apply/fieldset.py``. Sets are values: a result may share parts with the
arguments, and is an argument itself where nothing changes.
"""

from cpython.dict cimport PyDict_Contains, PyDict_GetItem, PyDict_Next, PyDict_SetItem, PyDict_Size
from cpython.object cimport PyObject

cdef str SELF = "."
cdef str FIELD = "f:"
cdef object order = None


def configure(step_order):
    """Hand in what steps are sorted by."""
    global order
    order = step_order


def union(dict first, dict second):
    """What is in either set."""
    return united(first, second)


cdef dict united(dict first, dict second):
    """The union. ``.`` is a step like others here, but for a leaf that gets something below it."""
    cdef PyObject* key
    cdef PyObject* value
    cdef PyObject* found
    cdef Py_ssize_t position = 0
    cdef dict result = None
    cdef dict one, other
    cdef bint has_new = False
    if not second:
        return first
    if not first:
        return second
    while PyDict_Next(second, &position, &key, &value):
        found = PyDict_GetItem(first, <object>key)
        other = <dict>value
        if found == NULL:
            has_new = True
            joined = other
        else:
            one = <dict>found
            if not one:
                joined = one if not other else with_self(other)
            elif not other:
                joined = with_self(one)
            else:
                joined = united(one, other)
            if joined is one:
                continue
        if result is None:
            result = first.copy()
        PyDict_SetItem(result, <object>key, joined)
    if result is None:
        return first
    return in_order(result) if has_new else result


cdef dict with_self(dict inside):
    cdef dict result
    if PyDict_Contains(inside, SELF):
        return inside
    result = {SELF: {}}
    result.update(inside)
    return result


cdef dict in_order(dict fields):
    """The steps in their order. Where all are fields that is the order of their texts, with ``.`` first."""
    cdef dict result
    cdef list steps
    cdef bint are_fields = True
    for step in fields:
        if not (<str>step).startswith(FIELD) and step != SELF:
            are_fields = False
            break
    steps = sorted(fields) if are_fields else sorted(fields, key=order)
    result = {}
    for step in steps:
        PyDict_SetItem(result, step, fields[step])
    return result


def difference(dict first, dict second):
    """What is in the first set and not in the second."""
    return reduced(first, second)


cdef dict reduced(dict first, dict second):
    """The difference. ``.`` is a step like others here, but for a leaf, which is one without it."""
    cdef PyObject* key
    cdef PyObject* value
    cdef PyObject* found
    cdef Py_ssize_t position = 0
    cdef dict result = None
    cdef dict one, other, rest
    if not first or not second:
        return first
    while PyDict_Next(second, &position, &key, &value):
        found = PyDict_GetItem(first, <object>key)
        if found == NULL:
            continue
        one = <dict>found
        other = <dict>value
        if not one:
            if other and not PyDict_Contains(other, SELF):
                continue
            rest = None
        elif not other:
            if not PyDict_Contains(one, SELF):
                continue
            rest = one.copy()
            del rest[SELF]
        else:
            rest = reduced(one, other)
            if rest is one:
                continue
            if not rest:
                rest = None
            elif PyDict_Size(rest) == 1 and PyDict_Contains(rest, SELF):
                rest = {}
        if result is None:
            result = first.copy()
        if rest is None:
            del result[<object>key]
        else:
            PyDict_SetItem(result, <object>key, rest)
    return first if result is None else result
