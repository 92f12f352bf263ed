"""The part of a pod that the scheduler looks at, as bytes: equal for pods that it cannot tell apart.

A flat encoding of JSON values, written once into a buffer: a tag, then for a text its length and UTF-8, for a list or
dict the number of entries and the entries. It is never read back. marshal would do, but makes a bytes object of every
text: this takes a third of its time. The slow twin is ``plain_shape_key`` in core/scheduling/podshape.py, which also
says which parts there are.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem, PyDict_Next
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy

cdef extern from "Python.h":
    int PyUnicode_IS_COMPACT_ASCII(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    int64_t PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1

# One buffer for all calls: each has the GIL from its first byte to its last, and runs no Python code between.
cdef char* buffer = NULL
cdef Py_ssize_t room = 0
cdef Py_ssize_t used = 0

cdef enum:
    DEPTH_MAX = 64


cdef int want(Py_ssize_t size) except -1:
    global buffer, room
    cdef void* grown
    if used + size > room:
        grown = realloc(buffer, (used + size) * 2 + 1024)
        if grown == NULL:
            raise MemoryError
        buffer = <char*>grown
        room = (used + size) * 2 + 1024
    return 0


cdef int put(char tag, const void* data, Py_ssize_t size) except -1:
    global used
    want(size + 1)
    buffer[used] = tag
    memcpy(buffer + used + 1, data, size)
    used += size + 1
    return 0


cdef int put_text(object text) except -1:
    global used
    cdef Py_ssize_t size = 0
    cdef const char* data
    if PyUnicode_IS_COMPACT_ASCII(text):
        size = PyUnicode_GET_LENGTH(text)
        data = <const char*>PyUnicode_DATA(text)
    else:
        data = PyUnicode_AsUTF8AndSize(text, &size)
    want(size + 1 + sizeof(Py_ssize_t))
    buffer[used] = c"s"
    memcpy(buffer + used + 1, &size, sizeof(Py_ssize_t))
    memcpy(buffer + used + 1 + sizeof(Py_ssize_t), data, size)
    used += size + 1 + sizeof(Py_ssize_t)
    return 0


cdef int put_value(object value, int depth) except -1:
    cdef Py_ssize_t size, position = 0
    cdef PyObject* key
    cdef PyObject* entry
    cdef int overflow = 0
    cdef int64_t number
    cdef double real
    if value is None:
        return put(c"N", NULL, 0)
    if type(value) is str:
        return put_text(value)
    if value is True or value is False:
        return put(c"T" if value is True else c"F", NULL, 0)
    if type(value) is int:
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow:
            return put_text(f"{value}")
        return put(c"i", &number, sizeof(number))
    if type(value) is float:
        real = value
        return put(c"f", &real, sizeof(real))
    if depth > DEPTH_MAX:
        raise ValueError("a pod that is nested too deeply")
    if type(value) is dict:
        size = len(<dict>value)
        put(c"{", &size, sizeof(size))
        while PyDict_Next(<dict>value, &position, &key, &entry):
            put_value(<object>key, depth + 1)
            put_value(<object>entry, depth + 1)
        return 0
    if type(value) is list:
        size = len(<list>value)
        put(c"[", &size, sizeof(size))
        for each in <list>value:
            put_value(each, depth + 1)
        return 0
    raise TypeError(f"a pod holds no {type(value).__name__}")


cdef int put_field(dict source, str name) except -1:
    cdef PyObject* found = PyDict_GetItem(source, name)
    if found == NULL:
        return put(c"N", NULL, 0)
    return put_value(<object>found, 0)


cdef int put_containers(dict spec, str name, tuple fields) except -1:
    cdef PyObject* found = PyDict_GetItem(spec, name)
    cdef Py_ssize_t size
    if found == NULL or <object>found is None:
        return put(c"N", NULL, 0)
    size = len(<list?><object>found)
    put(c"[", &size, sizeof(size))
    for container in <list><object>found:
        for field in fields:
            put_field(<dict?>container, <str>field)
    return 0


def pod_key(dict pod not None, tuple fields not None, tuple container_fields not None, frozenset volume_sources not None):
    """Raises KeyError for a pod without metadata or spec, TypeError where a part is none of JSON."""
    global used
    cdef dict spec = <dict?>pod["spec"]
    cdef PyObject* volumes = PyDict_GetItem(spec, "volumes")
    used = 0
    put_field(<dict?>pod["metadata"], "namespace")
    put_containers(spec, "containers", container_fields)
    put_containers(spec, "initContainers", container_fields)
    if volumes != NULL and <object>volumes is not None:
        for volume in <list?><object>volumes:
            for source in <dict?>volume:
                if source in volume_sources:
                    put_value(volume, 0)
                    break
    put(c"v", NULL, 0)
    for name in fields:
        put_field(spec, <str>name)
    return PyBytes_FromStringAndSize(buffer, used)
