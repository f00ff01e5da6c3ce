# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: cdivision=True, embedsignature=True, embedsignature.format=clinic, binding=True
"""The ways between the bytes of a message and a handler, compiled.

``_messages_py.py`` is its twin in Python; ``tests/framing`` compares the two.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
)
from cpython.exc cimport PyErr_Clear, PyErr_ExceptionMatches
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from cpython.set cimport PySet_Contains
from cpython.unicode cimport PyUnicode_AsUTF8String, PyUnicode_CheckExact
from libc.string cimport memchr, memcmp

from hisock._calling cimport PyObject_Vectorcall, raise_pending
from hisock._wire cimport MARK, is_message, new_bytes

cdef enum:
    LONGEST_FALSY = 5  # as in _framing_common
    MOST_DIGITS = 18  # as in _framing_common
    CALL = 6  # length of $CALL$
    REPLY = 7  # length of $REPLY$


@cython.final
cdef class Encoder:
    """What :func:`encoder` makes, for compiled code to call without a call of Python's."""

    @cython.binding(False)
    def encode(self, content, /):
        """Return the bytes of a value."""
        return self.encoded(content)

    cdef object encoded(self, content):
        cdef PyObject* args[1]
        cdef PyObject* result = NULL
        if PyBytes_CheckExact(content):
            return content
        if PyUnicode_CheckExact(content):
            try:
                return PyUnicode_AsUTF8String(content)
            except Exception:
                pass
        elif PySet_Contains(self._direct, type(content)):
            args[0] = <PyObject*>content
            result = PyObject_Vectorcall(self._write, args, 1, NULL)
            if result is NULL:
                forget_exception()
        if result is NULL:
            return self._otherwise(content)
        written = <object>result
        Py_DECREF(written)
        if is_settled(written, self._nulls):
            return written
        return self._settle(content, written)


cdef int forget_exception() except -1:
    """Clear the exception that is set, unless it ends the program."""
    if not PyErr_ExceptionMatches(Exception):
        return raise_pending()
    PyErr_Clear()
    return 0


def encoder(write, set direct not None, otherwise, settle, bint nulls):
    """Return what encodes a value: of a type that ``write`` knows, with one call of it.

    :param write: encodes a value of a type in ``direct`` as ``bytes``.
    :param otherwise: encodes all other values, and those that ``write`` refuses.
    :param settle: called with the value and its bytes if these are few, or perhaps not all.
    :param nulls: whether bytes that hold ``null`` may not be all.
    """
    cdef Encoder made = Encoder.__new__(Encoder)
    made._write = write
    made._direct = direct
    made._otherwise = otherwise
    made._settle = settle
    made._nulls = nulls
    return made.encode


cdef inline bint is_settled(encoded, bint nulls) noexcept:
    return (
        PyBytes_CheckExact(encoded)
        and PyBytes_GET_SIZE(encoded) > LONGEST_FALSY
        and not (nulls and has_null(PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded)))
    )


cdef bint has_null(const char* p, Py_ssize_t n) noexcept nogil:
    cdef const char* end = p + n - 3
    while p < end:
        p = <const char*>memchr(p, 110, end - p)
        if p is NULL:
            return False
        if memcmp(p, b"null", 4) == 0:
            return True
        p += 1
    return False


def handler_of_two(func, decode, recover):
    """Return ``call(client, message)``, which calls ``func`` with the value of the message.

    :param decode: from the bytes of a message to its value.
    :param recover: gets the bytes and the exception if that raises; returns the value or raises.
    """
    def call(client, message, /):
        return func(client, decoded(decode, recover, message))

    return call


def handler_of_one(func, decode, recover):
    """Return ``call(message)``, otherwise the same."""
    def call(message, /):
        return func(decoded(decode, recover, message))

    return call


cdef inline object decoded(decode, recover, message):
    cdef PyObject* args[1]
    cdef PyObject* result
    args[0] = <PyObject*>message
    result = PyObject_Vectorcall(decode, args, 1, NULL)
    if result is NULL:
        return recovered(recover, message)
    value = <object>result
    Py_DECREF(value)
    return value


cdef object recovered(recover, message):
    """Return what ``recover`` makes of a message, and of the exception that is set."""
    try:
        raise_pending()
    except Exception as exc:
        return recover(message, exc)


def split_call(bytes payload not None, /):
    """Return the number, command and message of a call, as bytes; ``None`` for one to parse.

    To be parsed with care are calls without a message or with a trace, and those that are none.
    """
    cdef const char* p = PyBytes_AS_STRING(payload)
    cdef const char* end = p + PyBytes_GET_SIZE(payload)
    cdef const char* number = p + CALL
    cdef const char* command
    if end - p < CALL or memcmp(p, b"$CALL$", CALL) != 0:
        return None
    p = number
    while p < end and 48 <= p[0] <= 57:
        p += 1
    if not 0 < p - number <= MOST_DIGITS or number[0] == 48:
        return None
    if end - p < MARK or memcmp(p, b"$CMD$", MARK) != 0:
        return None
    command = p + MARK
    p = command
    while True:
        p = <const char*>memchr(p, 36, end - p)
        if p is NULL or end - p <= MARK:
            return None
        if is_message(p):
            break
        p += 1
    return (
        PyBytes_FromStringAndSize(number, command - MARK - number),
        PyBytes_FromStringAndSize(command, p - command),
        new_bytes(p + MARK, end - p - MARK),
    )


def split_reply(bytes payload not None, /):
    """Return the number and message of a reply; ``None`` for one to parse.

    To be parsed with care are errors, replies without a message, and those that are none.
    """
    cdef const char* p = PyBytes_AS_STRING(payload)
    cdef const char* end = p + PyBytes_GET_SIZE(payload)
    cdef const char* first = p + REPLY
    cdef long long number = 0
    if end - p < REPLY or memcmp(p, b"$REPLY$", REPLY) != 0:
        return None
    p = first
    while p < end and 48 <= p[0] <= 57 and p - first < MOST_DIGITS:
        number = number * 10 + p[0] - 48
        p += 1
    if p == first or end - p < MARK or not is_message(p):
        return None
    return number, new_bytes(p + MARK, end - p - MARK)
