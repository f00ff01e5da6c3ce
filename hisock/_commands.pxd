# cython: language_level=3
"""A table of the commands that were read lately, so that equal ones are one ``str``.

It is direct-mapped: a few bytes of a command pick its slot, and a newcomer takes the slot over. So
its size is fixed, and a peer that makes up commands can do no more than evict others.
"""

from cpython.object cimport PyObject, PyObject_Hash
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8

from hisock._wire cimport (
    MARK, PyUnicode_AsUTF8AndSize, command_length, has_pair, is_message, same_bytes
)

cdef enum:
    CACHED_COMMAND = 64  # as in _framing_common
    SLOTS = 256

cdef struct Slot:
    PyObject* text  # an exact str, owned
    const char* utf8  # its bytes, kept by the str
    Py_ssize_t length

cdef struct Commands:  # starts as zeros
    Slot slots[SLOTS]
    Slot* last  # slot of the last frame, if it had a message; NULL if unknown


cdef inline void drop_commands(Commands* table) noexcept:
    """Give up what the table owns."""
    for i in range(SLOTS):
        Py_XDECREF(table.slots[i].text)
        table.slots[i].text = NULL


cdef inline str decoded(const char* p, Py_ssize_t n):
    """Return the command in these bytes, or None if they are not allowed to be one."""
    if n == 0 or has_pair(p, n):
        return None
    try:
        return PyUnicode_DecodeUTF8(p, n, NULL)
    except UnicodeDecodeError:
        return None


cdef inline str remembered(Commands* table, Slot* slot, const char* p, Py_ssize_t n):
    """Return the command in these bytes and put it in the slot, or None if it is not allowed."""
    cdef str command = decoded(p, n)
    cdef PyObject* evicted = slot.text
    table.last = NULL
    if command is not None:
        PyObject_Hash(command)  # computed once, kept in the str
        slot.utf8 = PyUnicode_AsUTF8AndSize(command, &slot.length)
        slot.text = <PyObject*>command
        Py_INCREF(command)
        Py_XDECREF(evicted)
    return command


cdef inline str read_command(Commands* table, const char* p, Py_ssize_t n, Py_ssize_t* length):
    """Return the command in the ``n`` bytes after $CMD$; ``length`` gets how many are its own.

    None if those are not allowed to be a command.
    """
    cdef Slot* slot = table.last
    cdef Py_ssize_t size
    if (
        slot is not NULL
        and n - slot.length >= MARK
        and same_bytes(slot.utf8, p, slot.length)
        and is_message(p + slot.length)
    ):
        # The same command as last time, so no search is needed. (A command that came without a
        # message may end with $MSG; with one, that would be its end.)
        length[0] = slot.length
        return <str>slot.text
    size = command_length(p, n)
    length[0] = size
    if size == 0 or size > CACHED_COMMAND:
        return decoded(p, size)
    slot = &table.slots[
        (size * 61 + <unsigned char>p[0] * 31 + <unsigned char>p[size >> 1] * 7
         + <unsigned char>p[size - 1]) & (SLOTS - 1)
    ]
    if slot.length != size or not same_bytes(slot.utf8, p, size):
        if remembered(table, slot, p, size) is None:
            return None
    if size < n:
        table.last = slot
    return <str>slot.text
