"""Which fields a write changed: two objects in, the sets of fields that are new or other, and gone, out.

The rules are in ``core/api/apply/comparison.py``, which is the face and the slow twin; sets are dicts of dicts as in
``fieldset.py``. The kernel takes the plain cases; what is not (an element that is there twice, keys that are neither
text nor integer, a value of another kind than its type) raises ``Refused``, and the twin starts again.

A struct's fields come out in the order of their names, whatever their order in the object: each field knows its rank, and
the few that are there are put in their places as they are met.
"""

from cpython.bool cimport PyBool_Check
from cpython.dict cimport PyDict_Contains, PyDict_GetItemWithError, PyDict_Next, PyDict_SetItem, PyDict_Size
from cpython.list cimport PyList_GET_SIZE
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport Py_EQ, PyObject, PyObject_RichCompareBool
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_Compare, PyUnicode_Concat

cdef extern from "Python.h":
    bint PyDict_CheckExact(object value)
    bint PyList_CheckExact(object value)

cdef enum:
    LEAF = 0
    STRUCT = 1
    MAP = 2
    LIST = 3
    DEDUCED = 4
    OTHER = 5

cdef enum:
    FIELDS_MAX = 96   # so many fields of one struct may change in one write; beyond, the twin looks
    STEPS_MAX = 2048  # so many elements of a list are remembered by their keys before the memory is started anew

cdef str SELF = "."
cdef str FIELD = "f:"
cdef object key_step = None
cdef object value_step = None
cdef object strictly_equal = None


class Refused(Exception):
    """For the twin."""


def configure(make_key_step, make_value_step, equality):
    """Hand in what names an element of a list by its keys or its value, and what compares values of unknown types."""
    global key_step, value_step, strictly_equal
    key_step = make_key_step
    value_step = make_value_step
    strictly_equal = equality


cdef class Field:
    """A field of a struct. ``node`` is None for what is passed over."""

    cdef Node node
    cdef str step
    cdef int rank


cdef class Node:
    """One type as the kernel sees it. ``kind`` as above; ``is_untyped``: the schema says nothing of what is inside."""

    cdef int kind
    cdef bint is_untyped
    cdef dict fields
    cdef Node element
    cdef tuple keys
    cdef dict defaults
    cdef dict steps

    def __init__(self, int kind, bint is_untyped):
        self.kind = kind
        self.is_untyped = is_untyped
        self.fields = {}
        self.steps = {}

    def set_fields(self, dict nodes):
        """The fields of a struct: name -> Node, or None for one that is passed over."""
        cdef Field field
        cdef int rank = 0
        for name in sorted(nodes):
            field = Field()
            field.node = nodes[name]
            field.step = FIELD + name
            field.rank = rank
            self.fields[name] = field
            rank += 1

    def set_element(self, Node element, tuple keys=(), dict defaults=None):
        """The type of a map's values or a list's elements, and of these the keys, sorted; a set's have none."""
        self.element = element
        self.keys = keys
        self.defaults = defaults


cdef class Walk:
    """``removed``: what the last visit found gone, None for nothing."""

    cdef dict removed


cdef struct Place:
    int rank
    PyObject* step   # the field's own
    PyObject* found  # a reference of ours


cdef int put(Place* places, int count, Field field, dict found) except -1:
    """Put what was found of a field into its place among ``count`` others."""
    cdef int at = count
    if count == FIELDS_MAX:
        raise Refused
    while at > 0 and places[at - 1].rank > field.rank:
        places[at] = places[at - 1]
        at -= 1
    Py_INCREF(found)
    places[at].rank = field.rank
    places[at].step = <PyObject*>field.step
    places[at].found = <PyObject*>found
    return 0


cdef int fill(dict result, Place* places, int count) except -1:
    cdef int index
    for index in range(count):
        PyDict_SetItem(result, <object>places[index].step, <object>places[index].found)
    return 0


cdef void release(Place* places, int count) noexcept:
    cdef int index
    for index in range(count):
        Py_DECREF(<object>places[index].found)


def compare(Node node, old, new):
    """(changed, removed), or None: the twin has to look."""
    cdef Walk walk = Walk()
    cdef dict changed
    try:
        changed = visit(node, old, new, walk)
    except (Refused, TypeError, RecursionError):
        return None
    return ({} if changed is None else changed, {} if walk.removed is None else walk.removed)


cdef dict whole(Node node, object value):
    """The set of a value that is there on one side only: everything in it, and itself."""
    cdef int kind = node.kind
    if kind == LEAF:
        return {}
    if kind == DEDUCED:
        if not PyDict_CheckExact(value):
            return {}
        kind = MAP
    if kind == OTHER:
        raise Refused
    if is_empty(value, kind <= MAP):
        return {}
    if kind == STRUCT:
        return whole_struct(node, <dict>value)
    return whole_map(node, <dict>value) if kind == MAP else whole_list(node, <list>value)


cdef dict whole_struct(Node node, dict value):
    cdef Place places[FIELDS_MAX]
    cdef int count = 0
    cdef PyObject* key
    cdef PyObject* item
    cdef PyObject* found
    cdef Py_ssize_t position = 0
    cdef Field field
    cdef dict result = {SELF: {}}
    try:
        while PyDict_Next(value, &position, &key, &item):
            found = PyDict_GetItemWithError(node.fields, <object>key)
            if found == NULL:
                raise Refused
            field = <Field>found
            if field.node is None:
                continue
            put(places, count, field, whole(field.node, <object>item))
            count += 1
        fill(result, places, count)
    finally:
        release(places, count)
    return result


cdef dict whole_map(Node node, dict value):
    cdef PyObject* key
    cdef PyObject* item
    cdef Py_ssize_t position = 0
    cdef list found = []
    while PyDict_Next(value, &position, &key, &item):
        found.append((<object>key, PyUnicode_Concat(FIELD, <object>key), whole(node.element, <object>item)))
    return sorted_set(found, True)


cdef dict whole_list(Node node, list items):
    cdef list found = []
    cdef dict seen = {}
    for item in items:
        known = identity(node, item)
        PyDict_SetItem(seen, known, None)
        found.append((known, step_of(node, known), whole(node.element, item)))
    if PyDict_Size(seen) != PyList_GET_SIZE(items):
        raise Refused
    return sorted_set(found, True)


cdef dict sorted_set(list found, bint is_member):
    """The set of (what it is sorted by, step, what is below); None when it is empty and no member itself."""
    cdef dict result
    cdef tuple entry
    if found is None:
        return None
    result = {}
    if is_member:
        PyDict_SetItem(result, SELF, {})
    if PyList_GET_SIZE(found) > 1:
        found.sort()
    for entry in found:
        PyDict_SetItem(result, entry[1], entry[2])
    return result


cdef dict visit(Node node, object old, object new, Walk walk):
    """What changed below and at this place, where both sides have a value (null is one), or None."""
    cdef int kind = node.kind
    walk.removed = None
    if old is new:
        return None
    if kind == DEDUCED:
        kind = deduced(old, new)
    if kind == LEAF:
        return None if same(node, old, new) else {}
    if kind == OTHER:
        raise Refused
    if is_empty(old, kind <= MAP) and is_empty(new, kind <= MAP):
        return {} if (old is None) != (new is None) else None
    if kind == STRUCT:
        return visit_struct(node, <dict>old, <dict>new, walk)
    if kind == MAP:
        return visit_map(node, <dict>old, <dict>new, walk)
    return visit_list(node, <list>old, <list>new, walk)


cdef bint is_empty(object value, bint is_map) except -1:
    """Of a map or a list; null is empty."""
    if value is None:
        return True
    if is_map:
        if PyDict_CheckExact(value):
            return PyDict_Size(value) == 0
    elif PyList_CheckExact(value):
        return PyList_GET_SIZE(value) == 0
    raise Refused


cdef int deduced(object old, object new) except -1:
    """MAP when both are maps (or null), LEAF when neither is one."""
    cdef bint old_is_map = PyDict_CheckExact(old)
    cdef bint new_is_map = PyDict_CheckExact(new)
    if not old_is_map and not new_is_map:
        return LEAF
    if (not old_is_map and old is not None) or (not new_is_map and new is not None):
        return OTHER
    return MAP


cdef bint same(Node node, object old, object new) except -1:
    if PyUnicode_CheckExact(old):
        return PyUnicode_CheckExact(new) and PyUnicode_Compare(old, new) == 0
    if PyBool_Check(old) or PyBool_Check(new):
        return old is new
    if node.is_untyped:
        return strictly_equal(old, new)
    return PyObject_RichCompareBool(old, new, Py_EQ)


cdef dict visit_struct(Node node, dict old, dict new, Walk walk):
    """Either may be None."""
    cdef Place changes[FIELDS_MAX]
    cdef Place losses[FIELDS_MAX]
    cdef int changes_count = 0
    cdef int losses_count = 0
    cdef PyObject* key
    cdef PyObject* value
    cdef PyObject* other
    cdef PyObject* found
    cdef Py_ssize_t position = 0
    cdef Field field
    cdef dict changed
    cdef dict result = None
    try:
        while new is not None and PyDict_Next(new, &position, &key, &value):
            found = PyDict_GetItemWithError(node.fields, <object>key)
            if found == NULL:
                raise Refused
            field = <Field>found
            if field.node is None:
                continue
            other = NULL if old is None else PyDict_GetItemWithError(old, <object>key)
            if other == NULL:
                put(changes, changes_count, field, whole(field.node, <object>value))
                changes_count += 1
                continue
            changed = visit(field.node, <object>other, <object>value, walk)
            if changed is not None:
                put(changes, changes_count, field, changed)
                changes_count += 1
            if walk.removed is not None:
                put(losses, losses_count, field, walk.removed)
                losses_count += 1
        position = 0
        while old is not None and PyDict_Next(old, &position, &key, &value):
            if new is not None and PyDict_Contains(new, <object>key):
                continue
            found = PyDict_GetItemWithError(node.fields, <object>key)
            if found == NULL:
                raise Refused
            field = <Field>found
            if field.node is not None:
                put(losses, losses_count, field, whole(field.node, <object>value))
                losses_count += 1
        walk.removed = None
        if losses_count:
            walk.removed = {}
            fill(walk.removed, losses, losses_count)
        if changes_count:
            result = {}
            fill(result, changes, changes_count)
    finally:
        release(changes, changes_count)
        release(losses, losses_count)
    return result


cdef dict visit_map(Node node, dict old, dict new, Walk walk):
    """Either may be None."""
    cdef PyObject* key
    cdef PyObject* value
    cdef PyObject* other
    cdef Py_ssize_t position = 0
    cdef dict changed
    cdef list changes = None
    cdef list losses = None
    while new is not None and PyDict_Next(new, &position, &key, &value):
        other = NULL if old is None else PyDict_GetItemWithError(old, <object>key)
        if other == NULL:
            walk.removed = None
            changed = whole(node.element, <object>value)
        else:
            changed = visit(node.element, <object>other, <object>value, walk)
        if changed is not None:
            changes = noted(changes, <object>key, PyUnicode_Concat(FIELD, <object>key), changed)
        if walk.removed is not None:
            losses = noted(losses, <object>key, PyUnicode_Concat(FIELD, <object>key), walk.removed)
    position = 0
    while old is not None and PyDict_Next(old, &position, &key, &value):
        if new is None or not PyDict_Contains(new, <object>key):
            changed = whole(node.element, <object>value)
            losses = noted(losses, <object>key, PyUnicode_Concat(FIELD, <object>key), changed)
    walk.removed = sorted_set(losses, False)
    return sorted_set(changes, False)


cdef list noted(list entries, object known, object step, dict found):
    if entries is None:
        entries = []
    entries.append((known, step, found))
    return entries


cdef object identity(Node node, object item):
    """What an element of the list is known by: its key, the tuple of its keys, or itself in a set."""
    cdef tuple keys = node.keys
    cdef list values
    if len(keys) == 0:
        return plain(item)
    if not PyDict_CheckExact(item):
        raise Refused
    if len(keys) == 1:
        return part(node, item, keys[0])
    values = []
    for key in keys:
        values.append(part(node, item, key))
    return tuple(values)


cdef object plain(object value):
    """Text and integers are taken; what else may name an element is for the twin."""
    if not PyUnicode_CheckExact(value) and not PyLong_CheckExact(value):
        raise Refused
    return value


cdef object part(Node node, object item, object key):
    cdef PyObject* value = PyDict_GetItemWithError(item, key)
    if value == NULL:
        value = PyDict_GetItemWithError(node.defaults, key)
    if value == NULL:
        raise Refused
    return plain(<object>value)


cdef str step_of(Node node, object known):
    """The step to the element that is known by this."""
    cdef PyObject* found = PyDict_GetItemWithError(node.steps, known)
    if found != NULL:
        return <str>found
    if PyDict_Size(node.steps) >= STEPS_MAX:
        node.steps.clear()
    if len(node.keys) == 0:
        step = value_step(known)
    else:
        step = key_step(tuple(zip(node.keys, (known,) if len(node.keys) == 1 else known)))
    node.steps[known] = step
    return step


cdef dict visit_list(Node node, list old, list new, Walk walk):
    """Either may be None."""
    cdef PyObject* other
    cdef dict changed
    cdef dict earlier = {}
    cdef dict seen = {}
    cdef list changes = None
    cdef list losses = None
    if old is not None:
        for item in old:
            PyDict_SetItem(earlier, identity(node, item), item)
        if PyDict_Size(earlier) != PyList_GET_SIZE(old):
            raise Refused
    if new is not None:
        for item in new:
            known = identity(node, item)
            PyDict_SetItem(seen, known, None)
            other = PyDict_GetItemWithError(earlier, known)
            if other == NULL:
                walk.removed = None
                changed = whole(node.element, item)
            else:
                changed = visit(node.element, <object>other, item, walk)
            if changed is not None:
                changes = noted(changes, known, step_of(node, known), changed)
            if walk.removed is not None:
                losses = noted(losses, known, step_of(node, known), walk.removed)
        if PyDict_Size(seen) != PyList_GET_SIZE(new):
            raise Refused
    for known, item in earlier.items():
        if not PyDict_Contains(seen, known):
            losses = noted(losses, known, step_of(node, known), whole(node.element, item))
    walk.removed = sorted_set(losses, False)
    return sorted_set(changes, False)
