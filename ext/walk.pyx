"""The schema walk: one pass that checks an object against its type and brings it into the form that is kept.

``core/api/walk.py`` is its face and its slow twin, and holds the rules. The kernel takes the plain and right cases and
changes the object in place; at the first thing that is neither it stops and says so, and the twin starts again. It never
words an error and computes no path. What it has changed until then is what the twin would have changed.

Nodes are made of the schema once for a type (``Node``), and shared by everything that refers to it.
"""

from cpython.bool cimport PyBool_Check
from cpython.dict cimport PyDict_Contains, PyDict_DelItem, PyDict_GetItem, PyDict_Next, PyDict_SetItem, PyDict_Size
from cpython.float cimport PyFloat_CheckExact
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_SetItem
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_GET_LENGTH

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow)
    int PyUnicode_IS_COMPACT_ASCII(object text)
    const unsigned char* PyUnicode_1BYTE_DATA(object text)
    bint PyDict_CheckExact(object value)
    bint PyList_CheckExact(object value)

cdef enum:
    OBJECT = 0
    MAP = 1
    ARRAY = 2
    STRING = 3
    INTEGER = 4
    NUMBER = 5
    BOOLEAN = 6
    ANY = 7
    QUANTITY = 8
    INT_OR_STRING = 9
    TIME = 10
    MICRO_TIME = 11
    BYTES = 12
    SCHEMA_OR_ARRAY = 13
    SCHEMA_OR_BOOL = 14
    SCHEMA_OR_STRINGS = 15

cdef enum:
    DROP = 0
    KEEP = 1
    ALWAYS = 2

cdef enum Verdict:
    REFUSED = 0     # for the twin
    KEPT = 1
    EMPTY = 2       # kept, and the kind's empty value
    REPLACED = 3    # kept in another form, which is in `made`

#: So many texts of quantities are remembered in their canonical form before the memory is started anew.
cdef int QUANTITIES_MAX = 8192

cdef dict quantities = {}
cdef object canonical_quantity = None
cdef object is_base64 = None
#: The other form of the value that was REPLACED last, to be taken at once.
cdef object made = None


def configure(quantity_reader, base64_check):
    """Hand in what reads a quantity (text or number -> canonical text, ValueError) and what judges base64 text."""
    global canonical_quantity, is_base64
    canonical_quantity = quantity_reader
    is_base64 = base64_check
    quantities.clear()


cdef class Node:
    """One node of the schema. ``kind`` and ``presence`` are numbers as above; ``zero`` is what an ALWAYS field holds
    when nothing was given; ``limit`` is 32 or 64 for integers."""

    cdef int kind
    cdef int presence
    cdef int limit
    cdef object zero
    cdef dict fields
    cdef tuple always
    cdef Node items

    def __init__(self, int kind, int presence, int limit, zero):
        self.kind = kind
        self.presence = presence
        self.limit = limit
        self.zero = zero
        self.always = ()

    def set_fields(self, dict fields):
        """The fields of an object: name -> Node. The dictionary may still be growing; ``finish`` when it is not."""
        self.fields = fields

    def set_items(self, Node items):
        self.items = items

    def finish(self):
        """Note the fields that are always there. Call once every field of the type is set."""
        cdef list found = []
        cdef Node field
        for name, field in self.fields.items():
            if field.presence == ALWAYS:
                found.append((name, field.zero))
        self.always = tuple(found)


def normalize(Node node, dict obj):
    """True: ``obj`` is right and in its kept form. False: the twin has to look."""
    return visit_object(node, obj) != REFUSED


cdef object copied(zero):
    """A zero that shares no container with the schema's."""
    cdef dict copy
    if not PyDict_CheckExact(zero):
        return zero
    copy = {}
    for key, value in (<dict>zero).items():
        copy[key] = copied(value)
    return copy


cdef int visit_object(Node node, dict obj) except -1:
    cdef PyObject* key
    cdef PyObject* value
    cdef PyObject* found
    cdef Py_ssize_t position = 0
    cdef Node field
    cdef list dropped = None
    cdef int verdict
    while PyDict_Next(obj, &position, &key, &value):
        found = PyDict_GetItem(node.fields, <object>key)
        if found == NULL:
            return REFUSED
        field = <Node>found
        if <object>value is None:
            if field.presence == ALWAYS:
                if field.zero is not None:
                    PyDict_SetItem(obj, <object>key, copied(field.zero))
                continue
            verdict = EMPTY
        else:
            verdict = visit(field, <object>value)
            if verdict == REFUSED:
                return REFUSED
            if verdict == REPLACED:
                PyDict_SetItem(obj, <object>key, made)
                continue
            if verdict == KEPT or field.presence == KEEP:
                continue
            if field.presence == ALWAYS:
                if field.kind == ARRAY or field.kind == MAP:
                    PyDict_SetItem(obj, <object>key, None)
                continue
        if dropped is None:
            dropped = []
        dropped.append(<object>key)
    if dropped is not None:
        for name in dropped:
            PyDict_DelItem(obj, name)
    for pair in node.always:
        if not PyDict_Contains(obj, (<tuple>pair)[0]):
            PyDict_SetItem(obj, (<tuple>pair)[0], copied((<tuple>pair)[1]))
    return KEPT


cdef inline int visit(Node node, object value) except -1:
    """Check one value that is not null."""
    cdef int kind = node.kind
    if kind == STRING:
        if not PyUnicode_CheckExact(value):
            return REFUSED
        return KEPT if PyUnicode_GET_LENGTH(value) else EMPTY
    if kind == OBJECT:
        return visit_object(node, <dict>value) if PyDict_CheckExact(value) else REFUSED
    if kind == ARRAY:
        return visit_array(node.items, <list>value) if PyList_CheckExact(value) else REFUSED
    if kind == INTEGER:
        return visit_integer(node.limit, value)
    if kind == MAP:
        return visit_map(node.items, <dict>value) if PyDict_CheckExact(value) else REFUSED
    if kind == BOOLEAN:
        if not PyBool_Check(value):
            return REFUSED
        return KEPT if value is True else EMPTY
    return visit_special(node, value)


cdef int visit_integer(int limit, object value) except -1:
    cdef int overflow = 0
    cdef long long number
    if not PyLong_CheckExact(value):
        return REFUSED
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or (limit == 32 and not (-2147483648LL <= number <= 2147483647LL)):
        return REFUSED
    return KEPT if number else EMPTY


cdef int visit_array(Node items, list values) except -1:
    cdef Py_ssize_t index
    cdef Py_ssize_t size = PyList_GET_SIZE(values)
    cdef int verdict
    for index in range(size):
        value = <object>PyList_GET_ITEM(values, index)
        if value is None:
            return REFUSED
        verdict = visit(items, value)
        if verdict == REFUSED:
            return REFUSED
        if verdict == REPLACED:
            Py_INCREF(made)
            PyList_SetItem(values, index, made)
    return KEPT if size else EMPTY


cdef int visit_map(Node items, dict values) except -1:
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t position = 0
    cdef int verdict
    while PyDict_Next(values, &position, &key, &value):
        if <object>value is None:
            return REFUSED
        verdict = visit(items, <object>value)
        if verdict == REFUSED:
            return REFUSED
        if verdict == REPLACED:
            PyDict_SetItem(values, <object>key, made)
    return KEPT if PyDict_Size(values) else EMPTY


cdef int visit_special(Node node, object value) except -1:
    global made
    cdef int kind = node.kind
    cdef PyObject* found
    if kind == QUANTITY:
        if not PyUnicode_CheckExact(value) and not PyLong_CheckExact(value):
            return REFUSED
        found = PyDict_GetItem(quantities, value)
        if found == NULL:
            text = new_quantity(value)
            if text is None:
                return REFUSED
        else:
            text = <object>found
        if text is value:
            return KEPT
        made = text
        return REPLACED
    if kind == INT_OR_STRING:
        if PyUnicode_CheckExact(value):
            return KEPT
        return KEPT if visit_integer(32, value) != REFUSED else REFUSED
    if kind == TIME:
        return KEPT if PyUnicode_CheckExact(value) and is_canonical_time(value, 0) else REFUSED
    if kind == MICRO_TIME:
        return KEPT if PyUnicode_CheckExact(value) and is_canonical_time(value, 7) else REFUSED
    if kind == ANY:
        return KEPT
    if kind == NUMBER:
        if PyFloat_CheckExact(value):
            return KEPT if value != 0 else EMPTY
        if PyLong_CheckExact(value):
            return KEPT if value != 0 else EMPTY
        return REFUSED
    if kind == BYTES:
        if not PyUnicode_CheckExact(value) or not is_base64(value):
            return REFUSED
        return KEPT if PyUnicode_GET_LENGTH(value) else EMPTY
    # A JSON schema, or what else may stand in its place.
    if PyDict_CheckExact(value):
        return visit_object(node.items, <dict>value)
    if kind == SCHEMA_OR_BOOL:
        return KEPT if PyBool_Check(value) else REFUSED
    if not PyList_CheckExact(value):
        return REFUSED
    for item in <list>value:
        if kind == SCHEMA_OR_STRINGS:
            if not PyUnicode_CheckExact(item):
                return REFUSED
        elif not PyDict_CheckExact(item) or visit_object(node.items, <dict>item) == REFUSED:
            return REFUSED
    return KEPT


cdef object new_quantity(object value):
    """The canonical text of a quantity that was not met before, or None when it is none."""
    try:
        text = canonical_quantity(value)
    except ValueError:
        return None
    if text == value and PyUnicode_CheckExact(value):
        text = value
    if PyDict_Size(quantities) >= QUANTITIES_MAX:
        quantities.clear()
    quantities[value] = text
    return text


cdef bint is_canonical_time(object text, int fraction):
    """``2006-01-02T15:04:05Z``, with ``fraction`` characters for the point and digits before the Z. Days are let pass up
    to 28 only: the twin knows the calendar."""
    cdef const unsigned char* data
    cdef int index
    cdef int month, day, hour, minute, second
    if not PyUnicode_IS_COMPACT_ASCII(text) or PyUnicode_GET_LENGTH(text) != 20 + fraction:
        return False
    data = PyUnicode_1BYTE_DATA(text)
    if data[4] != b"-" or data[7] != b"-" or data[10] != b"T" or data[13] != b":" or data[16] != b":":
        return False
    if data[19 + fraction] != b"Z" or (fraction and data[19] != b"."):
        return False
    for index in range(19 + fraction):
        if index in (4, 7, 10, 13, 16, 19):
            continue
        if data[index] < b"0" or data[index] > b"9":
            return False
    month = (data[5] - 48) * 10 + data[6] - 48
    day = (data[8] - 48) * 10 + data[9] - 48
    hour = (data[11] - 48) * 10 + data[12] - 48
    minute = (data[14] - 48) * 10 + data[15] - 48
    second = (data[17] - 48) * 10 + data[18] - 48
    if not (1 <= month <= 12 and 1 <= day <= 28 and hour < 24 and minute < 60 and second < 60):
        return False
    # Year 0 is one that Python's calendar does not have.
    return data[0] != b"0"


def count_entries(value):
    """The entries of all objects in a value."""
    return entries_of(value)


cdef Py_ssize_t entries_of(object value) except -1:
    cdef PyObject* key
    cdef PyObject* item
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t index
    if PyDict_CheckExact(value):
        count = PyDict_Size(<dict>value)
        while PyDict_Next(<dict>value, &position, &key, &item):
            if PyDict_CheckExact(<object>item) or PyList_CheckExact(<object>item):
                count += entries_of(<object>item)
    elif PyList_CheckExact(value):
        for index in range(PyList_GET_SIZE(<list>value)):
            element = <object>PyList_GET_ITEM(<list>value, index)
            if PyDict_CheckExact(element) or PyList_CheckExact(element):
                count += entries_of(element)
    return count


def count_colons(const unsigned char[::1] data):
    """The colons outside strings of a JSON text."""
    cdef Py_ssize_t size = data.shape[0]
    cdef Py_ssize_t index = 0
    cdef Py_ssize_t count = 0
    cdef const unsigned char* text
    if size == 0:
        return 0
    text = &data[0]
    with nogil:
        while index < size:
            if text[index] == b":":
                count += 1
            elif text[index] == b'"':
                index += 1
                while index < size and text[index] != b'"':
                    if text[index] == b"\\":
                        index += 1
                    index += 1
            index += 1
    return count
