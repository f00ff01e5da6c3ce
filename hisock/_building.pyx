# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: cdivision=True, embedsignature=True, embedsignature.format=clinic, binding=False
"""Building frames, compiled; ``_building_py.py`` is its twin in Python."""

from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
)

from hisock._wire cimport (
    command_utf8, copy_bytes, digits_of, payload_length, write_command, write_header
)

from hisock._framing_common import (
    DEFAULT_HEADER_LEN, checked_header_len, reject_command, reject_frame, reject_message
)
from hisock._framing_common import build_header as any_header

cdef extern from "Python.h":
    Py_ssize_t PyNumber_AsSsize_t(object number, void* overflow) except? -1


cdef object USUAL = DEFAULT_HEADER_LEN  # usually this very object: no call is needed
cdef Py_ssize_t USUAL_LEN = DEFAULT_HEADER_LEN


cdef inline Py_ssize_t header_length(object header_len) except -1:
    if header_len is USUAL:
        return USUAL_LEN
    return checked_header_len(header_len)


cdef inline bytes begun(Py_ssize_t length, Py_ssize_t room, object header_len, char** payload):
    """Return new bytes: the header of ``length``, and room; ``payload`` gets where that begins."""
    cdef Py_ssize_t head = header_length(header_len)
    cdef int digits = digits_of(length)
    cdef bytes frame
    if digits > head:
        any_header(length, head)  # raises
    frame = PyBytes_FromStringAndSize(NULL, head + room)
    payload[0] = write_header(PyBytes_AS_STRING(frame), length, digits, head)
    return frame


def build_header(length, header_len=DEFAULT_HEADER_LEN):
    """Build the header of a payload of ``length`` bytes."""
    cdef Py_ssize_t head = header_length(header_len)
    cdef Py_ssize_t n = PyNumber_AsSsize_t(length, NULL)
    cdef char* end
    if not 0 <= n < 10**18:  # wrong, or so large that the conversion may have clipped it
        return any_header(length, head)
    return begun(n, 0, head, &end)


def build_command(command, message=None, header_len=DEFAULT_HEADER_LEN):
    """Build the whole frame of a command, header included."""
    cdef Py_ssize_t n, length
    cdef const char* name = command_utf8(command, &n)
    cdef bytes frame
    cdef char* p
    if name is NULL:
        reject_command(command)
    length = payload_length(n, message)
    if length < 0:
        reject_message(message)
    frame = begun(length, length, header_len, &p)
    p = write_command(p, name, n, message)
    if message is not None:
        copy_bytes(p, PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
    return frame


def build_raw(payload, header_len=DEFAULT_HEADER_LEN):
    """Build the whole frame of a payload that is sent as it is, header included."""
    cdef Py_ssize_t length
    cdef bytes frame
    cdef char* p
    if not PyBytes_Check(payload):
        reject_frame(payload, "payload")
    length = PyBytes_GET_SIZE(payload)
    frame = begun(length, length, header_len, &p)
    copy_bytes(p, PyBytes_AS_STRING(payload), length)
    return frame
