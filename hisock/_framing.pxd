# cython: language_level=3
"""What other compiled modules know of a decoder."""

from libc.stdint cimport uint64_t

cimport cython

from hisock._commands cimport Commands
from hisock._wire cimport MAX_HEADER


cdef class Scratch:
    cdef readonly Py_ssize_t size
    cdef Py_ssize_t _handed
    cdef bytearray _buffer
    cdef object _view
    cdef bytearray _spare
    cdef Py_ssize_t _given  # length of the last large message, when it was not copied from a block
    cdef Commands _commands

    cdef object writable(self)
    cdef int keep(self, bytearray block) except -1
    cdef int keep_length(self, Py_ssize_t length) except -1
    cdef Py_ssize_t spare_length(self, Py_ssize_t size, Py_ssize_t need) except -1
    cdef bytearray spare(self, Py_ssize_t size, Py_ssize_t need)


cdef class Decoder:
    cdef Scratch _scratch
    cdef bytearray _block  # the part of an incomplete payload that has arrived, or else:
    cdef bytes _message  # the message of it, in full or growing, and nobody else's yet
    cdef str _command  # that goes with the message
    cdef Py_ssize_t _skip  # bytes of the payload before the message
    cdef readonly object error
    cdef readonly long long position
    cdef readonly long long frames  # number of frames received, for statistics
    cdef Py_ssize_t _limit
    cdef Py_ssize_t _first_limit  # size limit of the first frame of the stream
    cdef Py_ssize_t _need  # length of the incomplete payload; -1 without a complete header
    cdef Py_ssize_t _have  # bytes of it that have arrived
    cdef Py_ssize_t _handed  # length of the buffer handed out last; -1 for none
    cdef bint _direct  # whether that buffer is part of _block or _message
    cdef public bint short_reads  # whether at most FIRST_READ bytes are received at once
    cdef unsigned char _header_len
    cdef unsigned char _head_have  # bytes of the incomplete header in _head
    cdef char _head[MAX_HEADER]

    cdef object take_received(self, Py_ssize_t received)
    cdef object take_bytes(self, data)
    cdef Py_ssize_t held_bytes(self) noexcept
    cdef Py_ssize_t room(self) noexcept

    @cython.final
    cdef Scratch shared(self)
    @cython.final
    cdef int reserve(self, Py_ssize_t size) except -1
    @cython.final
    cdef int store(self, const char* p, Py_ssize_t n) except -1
    @cython.final
    cdef int forget(self) except -1
    @cython.final
    cdef int fail(self, error) except -1
    @cython.final
    cdef int fail_header(self, const char* p, Py_ssize_t verdict, long long start) except -1
    @cython.final
    cdef int fail_command(self, const char* p, Py_ssize_t n, long long start) except -1
    @cython.final
    cdef Py_ssize_t resume(self, const char* data, Py_ssize_t size, list frames) except -2
    @cython.final
    cdef object split(self, const char* data, Py_ssize_t size)
