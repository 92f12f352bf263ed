"""Messages of Kubernetes' protobuf from plain dicts and back, driven by tables of fields.

``core/api/protobuf`` is its face, holds the tables and has the slow twins of both directions. Writing goes forward into
one growing buffer: the length of a nested message is left one byte, and moved up when it turns out to need more.

    key  length  …nested…            a length of 128 and more is a longer varint: the nested bytes move by one or two
    0x12 [?]     0a 03 6e 67 …

Reading stops at the first thing that is not plain and right (``Refused``): the twin starts again and finds the words.
Types that are one thing in JSON and another here are told by ``Message.form``: the frequent ones are done here, the
others by functions that the table brings.
"""

import binascii

from cpython.bool cimport PyBool_Check
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem, PyDict_Next, PyDict_SetItem
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_DecodeUTF8, PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    int PyUnicode_IS_COMPACT_ASCII(object text)
    const unsigned char* PyUnicode_1BYTE_DATA(object text)
    long long PyLong_AsLongLong(object value) except? -1
    bint PyDict_CheckExact(object value)
    bint PyList_CheckExact(object value)
    bint PyLong_CheckExact(object value)

# Kinds of fields.
cdef enum:
    TEXT = 0
    BYTES = 1
    INTEGER = 2
    TRUTH = 3
    DOUBLE = 4
    MESSAGE = 5

# Marks of fields: one, repeated, a map from strings, fields that stand in the parent's JSON object.
cdef enum:
    ONE = 0
    MANY = 1
    MAP = 2
    INLINE = 3

# Forms of messages. OTHER goes through the functions of its table.
cdef enum:
    PLAIN = 0
    TIME = 1
    MICRO_TIME = 2
    QUANTITY = 3
    INT_OR_STRING = 4
    OTHER = 5

cdef enum:
    VARINT = 0
    FIXED64 = 1
    DELIMITED = 2
    FIXED32 = 5

cdef int DEPTH_READ_MAX = 100
#: Deeper than any JSON that is read.
cdef int DEPTH_WRITTEN_MAX = 1100

cdef object parse_seconds = None


def configure(read_time):
    """Hand in what reads a time in any form: text -> (seconds, nanoseconds), ValueError."""
    global parse_seconds
    parse_seconds = read_time


class Refused(ValueError):
    """The bytes are not plainly right."""


cdef class Field:
    """One field of a message. ``kind`` and ``mark`` are numbers as above."""

    cdef str name
    cdef int number
    cdef int kind
    cdef int mark
    cdef Message message

    def __init__(self, str name, int number, int kind, int mark):
        self.name = name
        self.number = number
        self.kind = kind
        self.mark = mark

    def set_message(self, Message message):
        """What a field of the kind MESSAGE holds."""
        self.message = message


cdef class Message:
    """One type. ``form`` as above; for OTHER ``to_fields`` makes the message's fields of a JSON value (bytes as bytes)
    and ``from_fields`` the value of the fields."""

    cdef int form
    cdef object to_fields
    cdef object from_fields
    cdef dict by_name
    cdef list by_number
    cdef tuple inlines

    def __init__(self, int form, to_fields, from_fields):
        self.form = form
        self.to_fields = to_fields
        self.from_fields = from_fields
        self.by_name = {}
        self.by_number = []
        self.inlines = ()

    def set_fields(self, fields):
        """All fields, each with the names that it has in JSON: (Field, names). An inline one has those of its message."""
        cdef Field field
        cdef list numbered = []
        cdef list inlines = []
        for field, names in fields:
            for name in names:
                self.by_name[name] = field
            while len(numbered) <= field.number:
                numbered.append(None)
            numbered[field.number] = field
            if field.mark == INLINE:
                inlines.append(field)
        self.by_number = numbered
        self.inlines = tuple(inlines)

    @property
    def names(self):
        """The JSON names of all fields, also of inline ones."""
        return tuple(self.by_name)


# Writing.

cdef struct Buffer:
    unsigned char* data
    size_t size
    size_t capacity
    int depth


cdef int reserve(Buffer* out, size_t more) except -1:
    cdef size_t wanted = out.size + more
    cdef size_t capacity
    cdef unsigned char* data
    if wanted <= out.capacity:
        return 0
    capacity = out.capacity * 2 if out.capacity else 2048
    while capacity < wanted:
        capacity *= 2
    data = <unsigned char*>realloc(out.data, capacity)
    if data == NULL:
        raise MemoryError()
    out.data = data
    out.capacity = capacity
    return 0


cdef inline int put_varint(Buffer* out, uint64_t number) except -1:
    reserve(out, 10)
    while number >= 128:
        out.data[out.size] = <unsigned char>(number & 127) | 128
        out.size += 1
        number >>= 7
    out.data[out.size] = <unsigned char>number
    out.size += 1
    return 0


cdef inline int put_key(Buffer* out, int number, int wire) except -1:
    return put_varint(out, <uint64_t>((number << 3) | wire))


cdef int put_raw(Buffer* out, const char* data, size_t size) except -1:
    put_varint(out, size)
    reserve(out, size)
    memcpy(out.data + out.size, data, size)
    out.size += size
    return 0


cdef int put_text(Buffer* out, object text) except -1:
    cdef Py_ssize_t size
    cdef const char* data
    if not PyUnicode_CheckExact(text):
        raise TypeError(f"a text was expected, not {text!r}")
    if PyUnicode_IS_COMPACT_ASCII(text):
        return put_raw(out, <const char*>PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text))
    data = PyUnicode_AsUTF8AndSize(text, &size)
    return put_raw(out, data, size)


cdef size_t begin(Buffer* out) except? 0:
    """Leave a byte for a length. Returns where."""
    reserve(out, 1)
    out.size += 1
    return out.size


cdef int close(Buffer* out, size_t start) except -1:
    """Write the length of what came since ``begin``, in as many bytes as it needs."""
    cdef size_t size = out.size - start
    cdef size_t extra = 0
    cdef size_t rest = size >> 7
    cdef size_t at = start - 1
    while rest:
        extra += 1
        rest >>= 7
    if extra:
        reserve(out, extra)
        memmove(out.data + start + extra, out.data + start, size)
        out.size += extra
    while size >= 128:
        out.data[at] = <unsigned char>(size & 127) | 128
        at += 1
        size >>= 7
    out.data[at] = <unsigned char>size
    return 0


cdef int put_fields(Buffer* out, Message message, dict obj) except -1:
    cdef PyObject* key
    cdef PyObject* value
    cdef PyObject* found
    cdef Py_ssize_t position = 0
    cdef Field field
    cdef bint has_inline = False
    cdef size_t before, start
    out.depth += 1
    if out.depth > DEPTH_WRITTEN_MAX:
        raise RecursionError("the object is nested too deeply")
    while PyDict_Next(obj, &position, &key, &value):
        if <object>value is None:
            continue
        found = PyDict_GetItem(message.by_name, <object>key)
        if found == NULL:
            continue
        field = <Field>found
        if field.mark == INLINE:
            has_inline = True
        else:
            put_field(out, field, <object>value)
    if has_inline:
        for field in message.inlines:
            before = out.size
            put_key(out, field.number, DELIMITED)
            start = begin(out)
            put_fields(out, field.message, obj)
            if out.size == start:
                out.size = before
            else:
                close(out, start)
    out.depth -= 1
    return 0


cdef int put_field(Buffer* out, Field field, object value) except -1:
    cdef PyObject* key
    cdef PyObject* item
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t index
    cdef size_t start
    if field.mark == ONE:
        return put_value(out, field, field.number, value)
    if field.mark == MANY:
        if not PyList_CheckExact(value):
            raise TypeError(f"a list was expected in {field.name}")
        for index in range(PyList_GET_SIZE(<list>value)):
            put_value(out, field, field.number, <object>PyList_GET_ITEM(<list>value, index))
        return 0
    if not PyDict_CheckExact(value):
        raise TypeError(f"an object was expected in {field.name}")
    while PyDict_Next(<dict>value, &position, &key, &item):
        put_key(out, field.number, DELIMITED)
        start = begin(out)
        put_key(out, 1, DELIMITED)
        put_text(out, <object>key)
        put_value(out, field, 2, <object>item)
        close(out, start)
    return 0


cdef int put_value(Buffer* out, Field field, int number, object value) except -1:
    cdef int kind = field.kind
    cdef size_t start
    cdef double real
    if kind == TEXT:
        put_key(out, number, DELIMITED)
        return put_text(out, value)
    if kind == MESSAGE:
        put_key(out, number, DELIMITED)
        start = begin(out)
        put_message(out, field.message, value)
        return close(out, start)
    if kind == INTEGER:
        put_key(out, number, VARINT)
        return put_varint(out, <uint64_t>PyLong_AsLongLong(value))
    if kind == TRUTH:
        put_key(out, number, VARINT)
        return put_varint(out, 1 if value else 0)
    if kind == BYTES:
        if not PyBytes_Check(value):
            value = binascii.a2b_base64(value)
        put_key(out, number, DELIMITED)
        return put_raw(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    real = value
    put_key(out, number, FIXED64)
    reserve(out, 8)
    memcpy(out.data + out.size, &real, 8)
    out.size += 8
    return 0


cdef int put_message(Buffer* out, Message message, object value) except -1:
    cdef int form = message.form
    if value is None:
        return 0
    if form == PLAIN:
        if not PyDict_CheckExact(value):
            raise TypeError(f"an object was expected, not {value!r}")
        return put_fields(out, message, <dict>value)
    if form == QUANTITY:
        put_key(out, 1, DELIMITED)
        return put_text(out, value if PyUnicode_CheckExact(value) else str(value))
    if form == TIME or form == MICRO_TIME:
        return put_time(out, value)
    if form == INT_OR_STRING:
        if PyUnicode_CheckExact(value):
            put_key(out, 1, VARINT)
            put_varint(out, 1)
            put_key(out, 3, DELIMITED)
            return put_text(out, value)
        put_key(out, 2, VARINT)
        return put_varint(out, <uint64_t>PyLong_AsLongLong(value))
    return put_fields(out, message, <dict>message.to_fields(value))


cdef int put_time(Buffer* out, object text) except -1:
    cdef int64_t seconds = 0
    cdef int64_t nanos = 0
    if not read_time(text, &seconds, &nanos):
        seconds, nanos = parse_seconds(text)
    put_key(out, 1, VARINT)
    put_varint(out, <uint64_t>seconds)
    if nanos:
        put_key(out, 2, VARINT)
        put_varint(out, <uint64_t>nanos)
    return 0


cdef bint read_time(object text, int64_t* seconds, int64_t* nanos):
    """``2006-01-02T15:04:05Z``, also with six digits after a point. False for every other form."""
    cdef const unsigned char* data
    cdef Py_ssize_t size
    cdef Py_ssize_t index
    cdef int64_t year, month, day, micros
    if not PyUnicode_CheckExact(text) or not PyUnicode_IS_COMPACT_ASCII(text):
        return False
    size = PyUnicode_GET_LENGTH(text)
    if size != 20 and size != 27:
        return False
    data = PyUnicode_1BYTE_DATA(text)
    if data[4] != b"-" or data[7] != b"-" or data[10] != b"T" or data[13] != b":" or data[16] != b":":
        return False
    if data[size - 1] != b"Z" or (size == 27 and data[19] != b"."):
        return False
    for index in range(size - 1):
        if index in (4, 7, 10, 13, 16, 19):
            continue
        if data[index] < b"0" or data[index] > b"9":
            return False
    year = two(data) * 100 + two(data + 2)
    month = two(data + 5)
    day = two(data + 8)
    if not (year and 1 <= month <= 12 and 1 <= day <= 31):
        return False
    # Days since 1970-01-01, counted in years that begin in March (Howard Hinnant, "chrono-compatible date algorithms").
    if month <= 2:
        year -= 1
        month += 12
    seconds[0] = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
    seconds[0] = seconds[0] * 86400 + two(data + 11) * 3600 + two(data + 14) * 60 + two(data + 17)
    nanos[0] = 0
    if size == 27:
        micros = two(data + 20) * 10000 + two(data + 22) * 100 + two(data + 24)
        nanos[0] = micros * 1000
    return True


cdef inline int64_t two(const unsigned char* data):
    return (data[0] - 48) * 10 + data[1] - 48


def encode(Message message, value):
    """The message of a JSON value, without its length. Raises TypeError and ValueError for what does not fit its type."""
    cdef Buffer out = Buffer(NULL, 0, 0, 0)
    try:
        put_message(&out, message, value)
        return PyBytes_FromStringAndSize(<char*>out.data, out.size)
    finally:
        free(out.data)


def delimited(int number, list messages):
    """Messages one after another as the repeated field ``number``: what a list's items are."""
    cdef Buffer out = Buffer(NULL, 0, 0, 0)
    cdef size_t size = 0
    for each in messages:
        size += PyBytes_GET_SIZE(each) + 16
    try:
        reserve(&out, size)
        for each in messages:
            put_key(&out, number, DELIMITED)
            put_raw(&out, PyBytes_AS_STRING(each), PyBytes_GET_SIZE(each))
        return PyBytes_FromStringAndSize(<char*>out.data, out.size)
    finally:
        free(out.data)


# Reading.

cdef struct Input:
    const unsigned char* data
    size_t at
    size_t end
    int depth


def decode(Message message, bytes data, Py_ssize_t start, Py_ssize_t end):
    """The JSON value of a message. Raises Refused."""
    cdef Input source
    if not 0 <= start <= end <= PyBytes_GET_SIZE(data):
        raise ValueError("no such part")
    source = Input(<const unsigned char*>PyBytes_AS_STRING(data), start, end, 0)
    return get_message(&source, message)


cdef inline int get_varint(Input* source, uint64_t* number) except -1:
    cdef uint64_t value = 0
    cdef int shift = 0
    cdef unsigned char byte
    while True:
        if source.at >= source.end or shift > 63:
            raise Refused()
        byte = source.data[source.at]
        source.at += 1
        value |= <uint64_t>(byte & 127) << shift
        if byte < 128:
            number[0] = value
            return 0
        shift += 7


cdef inline int get_part(Input* source, Input* part) except -1:
    """What a length delimits; ``source`` goes on behind it."""
    cdef uint64_t size
    get_varint(source, &size)
    if size > source.end - source.at:
        raise Refused()
    part.data = source.data
    part.at = source.at
    part.end = source.at + size
    part.depth = source.depth + 1
    source.at += size
    return 0


cdef int skip(Input* source, int wire) except -1:
    cdef uint64_t number
    cdef Input part
    if wire == VARINT:
        get_varint(source, &number)
    elif wire == DELIMITED:
        get_part(source, &part)
    elif wire == FIXED64 or wire == FIXED32:
        source.at += 8 if wire == FIXED64 else 4
        if source.at > source.end:
            raise Refused()
    else:
        raise Refused()
    return 0


cdef object get_message(Input* source, Message message):
    cdef dict found
    cdef int form = message.form
    if form == PLAIN:
        found = {}
        get_fields(source, message, found)
        return found
    if form == TIME or form == MICRO_TIME:
        return get_time(source, form == MICRO_TIME)
    found = {}
    get_fields(source, message, found)
    if form == QUANTITY:
        return found.get("string", "0")
    if form == INT_OR_STRING:
        return found.get("strVal", "") if found.get("type") == 1 else found.get("intVal", 0)
    try:
        return message.from_fields(found)
    except ValueError:
        raise Refused() from None


cdef int get_fields(Input* source, Message message, dict found) except -1:
    cdef uint64_t key, number
    cdef int wire
    cdef Field field
    cdef list by_number = message.by_number
    cdef Py_ssize_t count = PyList_GET_SIZE(by_number)
    cdef PyObject* there
    cdef Input part
    cdef bint keeps_bytes = message.form == OTHER
    if source.depth > DEPTH_READ_MAX:
        raise Refused()
    while source.at < source.end:
        get_varint(source, &key)
        wire = key & 7
        key >>= 3
        if key >= <uint64_t>count or <object>PyList_GET_ITEM(by_number, key) is None:
            skip(source, wire)
            continue
        field = <Field>PyList_GET_ITEM(by_number, key)
        if field.mark == INLINE:
            if wire != DELIMITED:
                raise Refused()
            get_part(source, &part)
            get_fields(&part, field.message, found)
            continue
        if field.mark == ONE:
            PyDict_SetItem(found, field.name, get_value(source, field, wire, keeps_bytes))
            continue
        there = PyDict_GetItem(found, field.name)
        if field.mark == MANY:
            if there == NULL:
                values = []
                PyDict_SetItem(found, field.name, values)
            else:
                values = <object>there
            if field.kind == INTEGER and wire == DELIMITED:
                get_part(source, &part)
                while part.at < part.end:
                    get_varint(&part, &number)
                    (<list>values).append(<int64_t>number)
            else:
                (<list>values).append(get_value(source, field, wire, keeps_bytes))
            continue
        if there == NULL:
            values = {}
            PyDict_SetItem(found, field.name, values)
        else:
            values = <object>there
        get_entry(source, field, wire, <dict>values)
    return 0


cdef int get_entry(Input* source, Field field, int wire, dict into) except -1:
    """One entry of a map: a message with the key as field 1 and the value as 2."""
    cdef Input part, value_part
    cdef uint64_t key
    cdef object name = ""
    cdef object value = None
    if wire != DELIMITED:
        raise Refused()
    get_part(source, &part)
    part.depth = source.depth
    while part.at < part.end:
        get_varint(&part, &key)
        if key == 10:
            get_part(&part, &value_part)
            name = PyUnicode_DecodeUTF8(<char*>value_part.data + value_part.at, value_part.end - value_part.at, NULL)
        elif key >> 3 == 2:
            value = get_value(&part, field, key & 7, False)
        elif key >> 3 == 1:
            raise Refused()
        else:
            skip(&part, key & 7)
    if value is None:
        value = empty_value(field)
    PyDict_SetItem(into, name, value)
    return 0


cdef object empty_value(Field field):
    cdef Input nothing = Input(NULL, 0, 0, 0)
    if field.kind == MESSAGE:
        return get_message(&nothing, field.message)
    if field.kind == TRUTH:
        return False
    if field.kind == INTEGER:
        return 0
    return 0.0 if field.kind == DOUBLE else ""


cdef object get_value(Input* source, Field field, int wire, bint keeps_bytes):
    cdef int kind = field.kind
    cdef uint64_t number
    cdef double real
    cdef Input part
    if kind == TEXT:
        if wire != DELIMITED:
            raise Refused()
        get_part(source, &part)
        return PyUnicode_DecodeUTF8(<char*>part.data + part.at, part.end - part.at, NULL)
    if kind == MESSAGE:
        if wire != DELIMITED:
            raise Refused()
        get_part(source, &part)
        return get_message(&part, field.message)
    if kind == INTEGER or kind == TRUTH:
        if wire != VARINT:
            raise Refused()
        get_varint(source, &number)
        if kind == TRUTH:
            return number != 0
        return <int64_t>number
    if kind == BYTES:
        if wire != DELIMITED:
            raise Refused()
        get_part(source, &part)
        data = PyBytes_FromStringAndSize(<char*>part.data + part.at, part.end - part.at)
        return data if keeps_bytes else binascii.b2a_base64(data, newline=False).decode("ascii")
    if wire != FIXED64 or source.end - source.at < 8:
        raise Refused()
    memcpy(&real, source.data + source.at, 8)
    source.at += 8
    return real


cdef object get_time(Input* source, bint is_micro):
    cdef int64_t seconds = 0
    cdef int64_t nanos = 0
    cdef uint64_t key, number
    if source.at == source.end:
        return None
    while source.at < source.end:
        get_varint(source, &key)
        if key == 8 or key == 16:
            get_varint(source, &number)
            if key == 8:
                seconds = <int64_t>number
            else:
                nanos = <int64_t>number
        elif key >> 3 == 1 or key >> 3 == 2:
            raise Refused()  # not as numbers are written
        else:
            skip(source, key & 7)
    # Years 1 to 9999: what text can say.
    if not -62135596800 <= seconds < 253402300800 or not 0 <= nanos < 1000000000:
        raise Refused()
    return time_text(seconds, nanos // 1000, is_micro)


cdef object time_text(int64_t seconds, int64_t micros, bint is_micro):
    cdef char text[27]
    cdef int64_t days, rest, era, year, day, month
    cdef int index
    # From 0000-03-01 on nothing is negative.
    days = (seconds + 62162035200) // 86400
    rest = (seconds + 62162035200) % 86400
    era = days // 146097
    days = days % 146097
    year = (days - days // 1460 + days // 36524 - days // 146096) // 365
    day = days - (365 * year + year // 4 - year // 100)
    month = (5 * day + 2) // 153
    day = day - (153 * month + 2) // 5 + 1
    year += era * 400
    month += 3
    if month > 12:
        month -= 12
        year += 1
    put_two(text, year // 100)
    put_two(text + 2, year % 100)
    text[4] = b"-"
    put_two(text + 5, month)
    text[7] = b"-"
    put_two(text + 8, day)
    text[10] = b"T"
    put_two(text + 11, rest // 3600)
    text[13] = b":"
    put_two(text + 14, rest // 60 % 60)
    text[16] = b":"
    put_two(text + 17, rest % 60)
    if not is_micro:
        text[19] = b"Z"
        return PyUnicode_DecodeUTF8(text, 20, NULL)
    text[19] = b"."
    put_two(text + 20, micros // 10000)
    put_two(text + 22, micros // 100 % 100)
    put_two(text + 24, micros % 100)
    text[26] = b"Z"
    return PyUnicode_DecodeUTF8(text, 27, NULL)


cdef inline void put_two(char* text, int64_t number) noexcept:
    text[0] = <char>(48 + number // 10)
    text[1] = <char>(48 + number % 10)
