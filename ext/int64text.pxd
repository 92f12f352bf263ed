"""Text to int64 as Go's ``strconv.ParseInt(text, 10, 64)`` reads it. Inlined into its users."""

from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint64_t

cdef inline bint parse_int64(str text, int64_t* number) except -1:
    """False when the text is no int64."""
    cdef Py_ssize_t size = 0, i = 0
    cdef const char* data = PyUnicode_AsUTF8AndSize(text, &size)
    cdef bint is_negative = False
    cdef uint64_t value = 0, digit, limit
    if size and (data[0] == c"-" or data[0] == c"+"):
        is_negative = data[0] == c"-"
        i = 1
    if i == size:
        return False
    limit = (<uint64_t>1 << 63) if is_negative else (<uint64_t>1 << 63) - 1
    while i < size:
        if data[i] < c"0" or data[i] > c"9":
            return False
        digit = <uint64_t>(data[i] - c"0")
        if value > (limit - digit) // 10:
            return False
        value = value * 10 + digit
        i += 1
    number[0] = <int64_t>(<uint64_t>0 - value) if is_negative else <int64_t>value
    return True
