# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: cdivision=True, embedsignature=True, embedsignature.format=clinic, binding=False
"""The framing core, compiled: the incremental decoder.

``_framing_py.py`` is its twin in Python; ``tests/framing`` compares the two. Nothing here is made
per byte, and per frame only what the caller gets: a tuple and the message.
"""

cimport cython
from cpython.list cimport PyList_GET_SIZE
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport (
    PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_GET_SIZE, PyByteArray_Resize
)
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
)
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.object cimport PyObject_Size
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from hisock._commands cimport Commands, drop_commands, read_command
from hisock._wire cimport (
    MARK, MAX_HEADER, NOT_A_HEADER, command_length, copy_bytes, is_command, new_bytes, read_header
)

from hisock._building import build_command, build_header, build_raw
from hisock._framing_common import (
    DEFAULT_HEADER_LEN, DEFAULT_MAX_FRAME_SIZE, DEFAULT_SCRATCH_SIZE, bad_command, bad_header,
    check_command, checked_frame_limit, checked_header_len, checked_scratch_size, cut_short,
    reject_count, too_long
)
from hisock.exceptions import FramingError

cdef extern from "Python.h":
    ctypedef struct PyByteArrayObject:
        Py_ssize_t ob_exports
    Py_ssize_t PyNumber_AsSsize_t(object number, void* overflow) except? -1

cdef enum:
    LEAST_BLOCK = 64  # as in _framing_common
    MOST_SPARE = 4194304  # as in _framing_common
    FIRST_READ = 4096  # as in _framing_common
    LEAST_IN_PLACE = 4096  # bytes of a payload that tell whether its message is received in place


cdef inline object again(error):
    return FramingError(error.reason, error.position)


cdef inline list as_list(frames):
    return [] if frames is None else frames if isinstance(frames, list) else [frames]


cdef inline tuple read_payload(Scratch scratch, const char* p, Py_ssize_t n):
    """Return the frame with this payload, or None if its command is not allowed."""
    cdef Py_ssize_t length
    cdef str command
    cdef tuple frame
    if not is_command(p, n):
        frame = (None, new_bytes(p, n))
    else:
        p += MARK
        n -= MARK
        command = read_command(&scratch._commands, p, n, &length)
        if command is None:
            return None
        if length == n:
            frame = (command, None)
        else:
            length += MARK
            frame = (command, new_bytes(p + length, n - length))
    return frame


include "_scratch.pxi"
include "_in_place.pxi"


cdef class Decoder:
    """Turns a stream of bytes, however it was split, into frames.

    :param header_len: length of a header in bytes, 1 to 20.
    :param max_frame_size: the longest payload accepted, in bytes.
    :param scratch: shared with other decoders that run in the same thread; own one by default.
    :param max_first_frame: the longest payload accepted of the first frame, if that is less;
        sets ``short_reads``: at most 4 KiB are received at once, until the caller clears it.

    Either :meth:`feed` it, or receive into :meth:`get_buffer` and tell :meth:`buffer_updated`.
    """

    def __cinit__(
        self,
        header_len=DEFAULT_HEADER_LEN,
        max_frame_size=DEFAULT_MAX_FRAME_SIZE,
        Scratch scratch=None,
        max_first_frame=None,
    ):
        self._need = -1
        self._handed = -1
        self._header_len = checked_header_len(header_len)
        self._limit = checked_frame_limit(max_frame_size)
        self._first_limit = self._limit
        if max_first_frame is not None:
            self.short_reads = True
            self._first_limit = min(self._limit, checked_frame_limit(max_first_frame))
        self._scratch = scratch

    @property
    def pending(self):
        """Bytes that have come of a frame that is not complete yet."""
        return self._head_have if self._need < 0 else self._header_len + self._have

    @property
    def held(self):
        """Bytes of memory that a frame which is not complete yet occupies."""
        return self.held_bytes()

    cdef Py_ssize_t held_bytes(self) noexcept:
        return self._head_have if self._need < 0 else self._header_len + self.room()

    cdef Py_ssize_t room(self) noexcept:
        """Bytes of the payload under way for which there is memory."""
        if self._message is not None:
            return self._skip + PyBytes_GET_SIZE(self._message)
        return 0 if self._block is None else PyByteArray_GET_SIZE(self._block)

    def feed(self, data, /):
        """Take the next bytes of the stream; return the frames that they complete."""
        return as_list(self.take_bytes(data))

    cdef object take_bytes(self, data):
        cdef Py_buffer view
        self._handed = -1
        self._direct = False
        if self.error is not None:
            raise again(self.error)
        if PyBytes_CheckExact(data):
            return self.split(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.split(<const char*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def get_buffer(self, sizehint=-1, /):
        """Return a writable buffer, never empty, to receive the next bytes into."""
        cdef Scratch scratch = self.shared()
        cdef Py_ssize_t half = (scratch.size + 1) // 2
        cdef Py_ssize_t end
        cdef bytearray spare
        cdef object view
        self._direct = self._have >= half and self._need - self._have >= half
        if not self._direct:
            view = scratch.writable()
            self._handed = scratch._handed
            if self.short_reads and self._handed > FIRST_READ:
                self._handed = FIRST_READ
                view = view[:FIRST_READ]
            return view
        # Doubling ties memory to the bytes received, not to the length that is claimed.
        end = max(2 * self._have, self.room(), LEAST_BLOCK)
        if self._message is not None:
            end = max(end, scratch.spare_length(end, self._need))
        else:
            spare = scratch.spare(end, self._need)
            if spare is not None:
                copy_bytes(spare, self._block, self._have)
                self._block = spare
                end = PyByteArray_GET_SIZE(spare)
        end = min(end, self._need)
        self.reserve(end)
        self._handed = end - self._have
        if self._message is not None:
            return window(self, end)
        return PyMemoryView_FromObject(self._block)[self._have : end]

    def buffer_updated(self, nbytes, /):
        """Like :meth:`feed`, for ``nbytes`` received into the buffer handed out last."""
        if self.error is not None:
            raise again(self.error)
        cdef Py_ssize_t received = PyNumber_AsSsize_t(nbytes, NULL)
        if received < 0 or received > self._handed:
            reject_count(nbytes, self._handed)
        return as_list(self.take_received(received))

    cdef object take_received(self, Py_ssize_t received):
        """Take so many bytes of the buffer handed out last."""
        cdef Py_buffer view
        if self.error is not None:
            raise again(self.error)
        if received < 0 or received > self._handed:
            reject_count(received, self._handed)
        self._handed = -1
        if self._direct:
            self._have += received
            return self.split(b"", 0)
        PyObject_GetBuffer(self._scratch._buffer, &view, PyBUF_SIMPLE)
        try:
            return self.split(<const char*>view.buf, min(received, view.len))
        finally:
            PyBuffer_Release(&view)

    def eof(self):
        """Raise :class:`FramingError` if the stream, ending here, ends inside a frame."""
        if self.error is not None:
            raise again(self.error)
        if self._need >= 0:
            raise cut_short(self._have, self._need, "payload", self.position + self.pending)
        if self._head_have:
            end = self.position + self.pending
            raise cut_short(self._head_have, self._header_len, "header", end)

    def discard(self):
        """Forget the frame under way and free its memory: nothing more is read from the stream."""
        self.position += self.pending
        self.forget()

    @cython.final
    cdef Scratch shared(self):
        if self._scratch is None:
            self._scratch = Scratch()
        return self._scratch

    @cython.final
    cdef int reserve(self, Py_ssize_t size) except -1:
        """Make room for ``size`` bytes of the payload; a view that somebody keeps stays valid."""
        cdef bytearray old = self._block
        if self._message is not None:
            grow_in_place(self, size)
        elif old is None:
            self._block = PyByteArray_FromStringAndSize(NULL, size)
        elif PyByteArray_GET_SIZE(old) < size:
            try:
                PyByteArray_Resize(old, size)
            except BufferError:
                self._block = PyByteArray_FromStringAndSize(NULL, size)
                copy_bytes(
                    PyByteArray_AS_STRING(self._block),
                    PyByteArray_AS_STRING(old),
                    min(self._have, PyByteArray_GET_SIZE(old)),
                )
        return 0

    @cython.final
    cdef int store(self, const char* p, Py_ssize_t n) except -1:
        """Append to the incomplete payload."""
        cdef Py_ssize_t end = self._have + n
        cdef Py_ssize_t room = self.room()
        if n == 0:
            return 0
        if self._have == 0:
            begin_in_place(self, p, n)
        if end > room:
            self.reserve(min(self._need, max(end, 2 * room, LEAST_BLOCK)))
        if self._message is not None:
            store_in_place(self, p, n)
        else:
            copy_bytes(PyByteArray_AS_STRING(self._block) + self._have, p, n)
        self._have = end
        return 0

    @cython.final
    cdef int forget(self) except -1:
        self._block = None
        self._message = None
        self._command = None
        self._direct = False
        self._handed = self._need = -1
        self._head_have = 0
        self._have = 0
        return 0

    @cython.final
    cdef int fail(self, error) except -1:
        self.error = error
        return self.forget()

    @cython.final
    cdef int fail_header(self, const char* p, Py_ssize_t verdict, long long start) except -1:
        header = p[: self._header_len]
        if verdict == NOT_A_HEADER:
            return self.fail(bad_header(header, start))
        return self.fail(too_long(header, start, self._limit if start else self._first_limit))

    @cython.final
    cdef int fail_command(self, const char* p, Py_ssize_t n, long long start) except -1:
        cdef Py_ssize_t length = command_length(p + MARK, n - MARK)
        return self.fail(bad_command(p[MARK : MARK + length], start + MARK))

    @cython.final
    cdef Py_ssize_t resume(self, const char* data, Py_ssize_t size, list frames) except -2:
        """Go on with the frame under way; return the bytes used, -1 if it is not complete yet."""
        cdef const char* p = data
        cdef const char* payload = NULL  # stays so if the message is in its place already
        cdef Py_ssize_t n
        cdef tuple frame
        if self._need < 0:
            n = min(self._header_len - self._head_have, size)
            memcpy(self._head + self._head_have, p, n)
            self._head_have += <unsigned char>n
            if self._head_have < self._header_len:
                return -1
            p += n
            size -= n
            n = read_header(
                self._head, self._header_len, self._limit if self.position else self._first_limit
            )
            if n < 0:
                self.fail_header(self._head, n, self.position)
                return -1
            self._head_have = 0
            self._need = n
        n = min(self._need - self._have, size)
        if n == self._need:
            payload = p  # the whole payload is in the input
        else:
            self.store(p, n)
            if self._have < self._need:
                return -1
            if self._message is None:
                payload = PyByteArray_AS_STRING(self._block)
                if PyByteArray_GET_SIZE(self._block) < self._need:
                    raise BufferError("somebody shortened the buffer of a decoder")
        frame = read_payload(self._scratch, payload, self._need) if payload else give_away(self)
        if frame is None:
            self.fail_command(payload, self._need, self.position + self._header_len)
            return -1
        frames.append(frame)
        self.position += self._header_len + self._need
        self._need = -1
        self._have = 0
        if self._block is not None:
            self._scratch.keep(self._block)
            self._block = None
        return p + n - data

    @cython.final
    cdef object split(self, const char* data, Py_ssize_t size):
        """Return the frames that these bytes complete; keep the rest.

        A frame that is the only one is returned without a list around it; ``None`` for none.
        """
        cdef list frames = None
        cdef tuple frame
        cdef tuple first = None
        cdef Scratch scratch = self.shared()
        cdef const char* p = data
        cdef const char* end = data + size
        cdef Py_ssize_t header_len = self._header_len
        cdef uint64_t limit = self._limit
        cdef Py_ssize_t length
        cdef long long base

        # The first frame takes the slow path too, because its size limit may differ.
        if self._head_have or self._need >= 0 or self.position == 0:
            frames = []
            length = self.resume(data, size, frames)
            if length < 0:
                if self.error is not None:
                    raise again(self.error)
                return None
            p += length
        base = self.position - (p - data)  # where data begins in the stream
        while end - p >= header_len:
            length = read_header(p, header_len, limit)
            if length < 0:
                self.fail_header(p, length, base + (p - data))
                break
            p += header_len
            if length > end - p:
                self._need = length
                self.store(p, end - p)
                p -= header_len
                break
            frame = read_payload(scratch, p, length)
            if frame is None:
                self.fail_command(p, length, base + (p - data))
                p -= header_len
                break
            if frames is not None:
                frames.append(frame)
            elif first is None:
                first = frame
            else:
                frames = [first, frame]
            p += length
        else:
            self._head_have = <unsigned char>(end - p)
            memcpy(self._head, p, end - p)
        self.position = base + (p - data)
        if frames is not None:
            self.frames += PyList_GET_SIZE(frames)
            return frames
        if first is not None:
            self.frames += 1
        elif self.error is not None:
            raise again(self.error)
        return first
