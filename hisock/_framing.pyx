# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: initializedcheck=False, embedsignature=True, embedsignature.format=clinic, binding=False
"""The framing core, compiled: headers, commands, the incremental decoder, the outbox.

``_framing_py.py`` is its twin in Python; ``tests/framing`` compares the two. The wire format is
described in :mod:`hisock.framing`. Nothing here is made per byte, and per frame only what the
caller gets: a tuple and the message.
"""

cimport cython
from cpython.bytearray cimport (
    PyByteArray_AS_STRING,
    PyByteArray_FromStringAndSize,
    PyByteArray_GET_SIZE,
    PyByteArray_Resize,
)
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_Check,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
    _PyBytes_Resize,
)
from cpython.dict cimport PyDict_CheckExact, PyDict_Next
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.object cimport PyObject, PyObject_Hash, PyObject_Size
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_Check, PyUnicode_DecodeUTF8
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from hisock._framing_common import (
    DEFAULT_HEADER_LEN,
    DEFAULT_MAX_FRAME_SIZE,
    DEFAULT_SCRATCH_SIZE,
    bad_command,
    bad_header,
    checked_frame_limit,
    checked_header_len,
    checked_scratch_size,
    cut_short,
    reject_count,
    reject_frame,
    reject_message,
    too_long,
)
from hisock._framing_common import build_header as _build_header
from hisock._framing_common import check_command as _check_command
from hisock.exceptions import FramingError

cdef extern from "Python.h":
    """
    #ifdef Py_GIL_DISABLED
    #define HISOCK_FREE_THREADED 1
    #else
    #define HISOCK_FREE_THREADED 0
    #endif
    """
    const bint HISOCK_FREE_THREADED
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    Py_ssize_t PyNumber_AsSsize_t(object number, void* overflow) except? -1
    void PyObject_GC_UnTrack(PyObject* container)

cdef enum:
    BY_REFERENCE = 32768  # as in _framing_common
    CACHED_COMMAND = 64  # as in _framing_common
    MARK = 5  # len("$CMD$") and len("$MSG$")
    MAX_HEADER = 20
    SLOTS = 256
    LEAST_BLOCK = 64
    LEAST_TAIL = 512
    REFUSED = 0  # what became of a frame that was put into an outbox
    QUEUED = 1
    DUE = 2  # queued, and schedule() is to be called


# -- reading -------------------------------------------------------------------------------------


cdef inline bint eight_spaces(const char* p) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, p, 8)
    return word == 0x2020202020202020ULL


cdef inline Py_ssize_t read_header(
    const char* p, Py_ssize_t header_len, uint64_t limit
) noexcept nogil:
    """Return the length that a header claims; -1: not a header, -2: over the limit."""
    cdef uint64_t value = 0
    cdef unsigned int digit
    cdef Py_ssize_t i = 0
    cdef bint huge = False
    while i < header_len:
        digit = <unsigned int><unsigned char>p[i] - 48
        if digit > 9:
            break
        if i >= 19 and value > 1844674407370955160ULL:  # ten times it does not fit in 64 bits
            huge = True
        value = value * 10 + digit
        i += 1
    if i == 0:
        return -1
    if header_len - i >= 8:
        # At most 19 spaces: from both ends, and the middle.
        if not eight_spaces(p + i) or not eight_spaces(p + header_len - 8):
            return -1
        if header_len - i > 16 and not eight_spaces(p + i + 8):
            return -1
    else:
        while i < header_len:
            if p[i] != 32:
                return -1
            i += 1
    if huge or value > limit:
        return -2
    return <Py_ssize_t>value


cdef inline Py_ssize_t command_length(const char* p, Py_ssize_t n) noexcept nogil:
    """Return how many of the ``n`` bytes after $CMD$ come before the first $MSG$."""
    cdef const char* end = p + n
    cdef const char* at = p
    while end - at >= MARK:
        at = <const char*>memchr(at, 36, end - at)
        if at is NULL or end - at < MARK:
            break
        if memcmp(at, b"$MSG$", MARK) == 0:
            return at - p
        at += 1
    return n


cdef inline bint has_pair(const char* p, Py_ssize_t n) noexcept nogil:
    """Whether the first and the last ``$`` have something between them."""
    cdef const char* first = <const char*>memchr(p, 36, n)
    if first is NULL:
        return False
    while p[n - 1] != 36:
        n -= 1
    return p + n - 1 - first > 1


cdef inline object again(error):
    return FramingError(error.reason, error.position)


cdef struct Slot:
    PyObject* text  # an exact str, owned
    const char* utf8  # its bytes, kept by the str
    Py_ssize_t length


cdef class Scratch:
    """What decoders that never run at the same time share: a receive buffer and command names.

    Never use one from two threads at once.

    :param size: size of the receive buffer in bytes; it is made when first asked for.
    """

    cdef readonly Py_ssize_t size
    cdef bytearray _buffer
    cdef object _view
    cdef Slot _slots[SLOTS]

    def __cinit__(self, size=DEFAULT_SCRATCH_SIZE):
        self.size = checked_scratch_size(size)

    def __dealloc__(self):
        for slot in range(SLOTS):
            Py_XDECREF(self._slots[slot].text)

    cdef object writable(self):
        """Return the receive buffer, always the same view unless somebody released it."""
        if self._view is not None:
            try:
                PyObject_Size(self._view)
            except ValueError:
                self._view = None
        if self._view is None:
            if self._buffer is None or PyByteArray_GET_SIZE(self._buffer) != self.size:
                self._buffer = PyByteArray_FromStringAndSize(NULL, self.size)
            self._view = PyMemoryView_FromObject(self._buffer)
        return self._view

    @cython.final
    cdef inline str command(self, const char* p, Py_ssize_t n):
        """Return the command in these bytes, or None if it is not allowed to be one."""
        cdef Slot* slot
        if n == 0:
            return None
        if n > CACHED_COMMAND:
            return None if has_pair(p, n) else decoded(p, n)
        slot = &self._slots[
            (n * 61 + <unsigned char>p[0] * 31 + <unsigned char>p[n >> 1] * 7
             + <unsigned char>p[n - 1]) & (SLOTS - 1)
        ]
        if slot.length == n and memcmp(slot.utf8, p, n) == 0:
            return <str>slot.text
        return self.remember(slot, p, n)

    @cython.final
    cdef str remember(self, Slot* slot, const char* p, Py_ssize_t n):
        cdef str command = None if has_pair(p, n) else decoded(p, n)
        cdef PyObject* evicted = slot.text
        if command is not None:
            PyObject_Hash(command)  # computed once, kept in the str
            slot.utf8 = PyUnicode_AsUTF8AndSize(command, &slot.length)
            slot.text = <PyObject*>command
            Py_INCREF(command)
            Py_XDECREF(evicted)
        return command


cdef str decoded(const char* p, Py_ssize_t n):
    """Return the text of UTF-8 bytes, or None if they are not UTF-8."""
    try:
        return PyUnicode_DecodeUTF8(p, n, NULL)
    except UnicodeDecodeError:
        return None


cdef inline tuple read_payload(Scratch scratch, const char* p, Py_ssize_t n):
    """Return the frame with this payload, or None if its command is not allowed."""
    cdef Py_ssize_t length
    cdef str command
    cdef tuple frame
    if n < MARK or memcmp(p, b"$CMD$", MARK) != 0:
        frame = (None, PyBytes_FromStringAndSize(p, n))
    else:
        p += MARK
        n -= MARK
        length = command_length(p, n)
        command = scratch.command(p, length)
        if command is None:
            return None
        if length == n:
            frame = (command, None)
        else:
            length += MARK
            frame = (command, PyBytes_FromStringAndSize(p + length, n - length))
    # It can be in no cycle, so the collector need not look at it.
    PyObject_GC_UnTrack(<PyObject*>frame)
    return frame


cdef class Decoder:
    """Turns a stream of bytes, however it was split, into frames.

    :param header_len: length of a header in bytes, 1 to 20.
    :param max_frame_size: the longest payload accepted, in bytes.
    :param scratch: shared with other decoders that run in the same thread; own one by default.

    Either :meth:`feed` it, or receive into :meth:`get_buffer` and tell :meth:`buffer_updated`.
    """

    cdef Scratch _scratch
    cdef bytearray _block  # the payload under way, as far as it came
    cdef readonly object error
    cdef readonly long long position
    cdef Py_ssize_t _limit
    cdef Py_ssize_t _need  # length of the payload under way; -1: its header is not complete
    cdef Py_ssize_t _have  # bytes of it in _block
    cdef Py_ssize_t _handed  # length of the buffer handed out; -1: none
    cdef bint _direct  # that buffer is part of _block
    cdef unsigned char _header_len
    cdef unsigned char _head_have  # bytes of the incomplete header in _head
    cdef char _head[MAX_HEADER]

    def __cinit__(
        self,
        header_len=DEFAULT_HEADER_LEN,
        max_frame_size=DEFAULT_MAX_FRAME_SIZE,
        Scratch scratch=None,
    ):
        self._need = -1
        self._handed = -1
        self._header_len = checked_header_len(header_len)
        self._limit = checked_frame_limit(max_frame_size)
        self._scratch = scratch

    @property
    def pending(self):
        """Bytes held of a frame that is not complete yet."""
        return self._head_have if self._need < 0 else self._header_len + self._have

    def feed(self, data, /):
        """Take the next bytes of the stream; return the frames that they complete."""
        cdef Py_buffer view
        self._handed = -1
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
        self._direct = self._have >= half and self._need - self._have >= half
        if not self._direct:
            self._handed = scratch.size
            return scratch.writable()
        # As much again as has come, so that memory follows what was received.
        end = min(self._need, 2 * self._have)
        self.reserve(end)
        self._handed = end - self._have
        return PyMemoryView_FromObject(self._block)[self._have : end]

    def buffer_updated(self, nbytes, /):
        """Like :meth:`feed`, for ``nbytes`` received into the buffer handed out last."""
        cdef Py_ssize_t received
        cdef Py_buffer view
        if self.error is not None:
            raise again(self.error)
        received = PyNumber_AsSsize_t(nbytes, NULL)
        if received < 0 or received > self._handed:
            reject_count(nbytes, self._handed)
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
            raise cut_short(
                self._head_have, self._header_len, "header", self.position + self.pending
            )

    @cython.final
    cdef inline Scratch shared(self):
        if self._scratch is None:
            self._scratch = Scratch()
        return self._scratch

    @cython.final
    cdef int reserve(self, Py_ssize_t size) except -1:
        """Make the block at least ``size`` long; a view that somebody keeps stays valid."""
        cdef bytearray old = self._block
        if old is None:
            self._block = PyByteArray_FromStringAndSize(NULL, size)
        elif PyByteArray_GET_SIZE(old) < size:
            try:
                PyByteArray_Resize(old, size)
            except BufferError:
                self._block = PyByteArray_FromStringAndSize(NULL, size)
                memcpy(PyByteArray_AS_STRING(self._block), PyByteArray_AS_STRING(old), self._have)
        return 0

    @cython.final
    cdef int store(self, const char* p, Py_ssize_t n) except -1:
        """Append to the incomplete payload."""
        cdef Py_ssize_t end = self._have + n
        cdef Py_ssize_t room = 0 if self._block is None else PyByteArray_GET_SIZE(self._block)
        if n == 0:
            return 0
        if end > room:
            self.reserve(min(self._need, max(end, 2 * room, LEAST_BLOCK)))
        memcpy(PyByteArray_AS_STRING(self._block) + self._have, p, n)
        self._have = end
        return 0

    @cython.final
    cdef int fail(self, error) except -1:
        self.error = error
        self._block = None
        self._head_have = 0
        self._need = -1
        self._have = 0
        return 0

    @cython.final
    cdef int fail_header(self, const char* p, Py_ssize_t verdict, long long start) except -1:
        header = p[: self._header_len]
        if verdict == -1:
            return self.fail(bad_header(header, start))
        return self.fail(too_long(header, start, self._limit))

    @cython.final
    cdef int fail_command(self, const char* p, Py_ssize_t n, long long start) except -1:
        cdef Py_ssize_t length = command_length(p + MARK, n - MARK)
        return self.fail(bad_command(p[MARK : MARK + length], start + MARK))

    @cython.final
    cdef Py_ssize_t resume(self, const char* data, Py_ssize_t size, list frames) except -2:
        """Go on with the frame under way; return the bytes used, -1 if it is not complete yet."""
        cdef const char* p = data
        cdef const char* payload
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
            n = read_header(self._head, self._header_len, self._limit)
            if n < 0:
                self.fail_header(self._head, n, self.position)
                return -1
            self._head_have = 0
            self._need = n
        n = min(self._need - self._have, size)
        if n == self._need:
            payload = p  # all of it is in the input
        else:
            self.store(p, n)
            if self._have < self._need:
                return -1
            payload = PyByteArray_AS_STRING(self._block)
        frame = read_payload(self._scratch, payload, self._need)
        if frame is None:
            self.fail_command(payload, self._need, self.position + self._header_len)
            return -1
        frames.append(frame)
        self.position += self._header_len + self._need
        self._need = -1
        self._have = 0
        self._block = None
        return p + n - data

    @cython.final
    cdef list split(self, const char* data, Py_ssize_t size):
        """Return the frames that these bytes complete; keep the rest."""
        cdef list frames = []
        cdef tuple frame
        cdef Scratch scratch = self.shared()
        cdef const char* p = data
        cdef const char* end = data + size
        cdef Py_ssize_t header_len = self._header_len
        cdef uint64_t limit = self._limit
        cdef Py_ssize_t length
        cdef long long base

        if self._head_have or self._need >= 0:
            length = self.resume(data, size, frames)
            if length < 0:
                if self.error is not None:
                    raise again(self.error)
                return frames
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
            frames.append(frame)
            p += length
        else:
            self._head_have = <unsigned char>(end - p)
            memcpy(self._head, p, end - p)
        self.position = base + (p - data)
        if self.error is not None and not frames:
            raise again(self.error)
        return frames


# -- building ------------------------------------------------------------------------------------


cdef const char* command_utf8(command, Py_ssize_t* length) except NULL:
    """Return the bytes of a command, which live as long as it does; raises if not allowed."""
    cdef const char* text
    cdef Py_ssize_t n
    if not PyUnicode_Check(command):
        _check_command(command)
    if PyUnicode_IS_COMPACT_ASCII(command):
        text = <const char*>PyUnicode_DATA(command)
        n = PyUnicode_GET_LENGTH(command)
    else:
        try:
            text = PyUnicode_AsUTF8AndSize(command, &n)
        except UnicodeEncodeError:
            _check_command(command)
            raise
    if n == 0 or memchr(text, 36, n) is not NULL:
        _check_command(command)
    length[0] = n
    return text


cdef inline Py_ssize_t payload_length(Py_ssize_t name, message) except -1:
    """Return the length of the payload of a command frame."""
    if message is None:
        return MARK + name
    if not PyBytes_Check(message):
        reject_message(message)
    return MARK + name + MARK + PyBytes_GET_SIZE(message)


cdef inline Py_ssize_t header_length(object header_len) except -1:
    cdef Py_ssize_t length = PyNumber_AsSsize_t(header_len, NULL)
    if not 1 <= length <= MAX_HEADER:
        checked_header_len(header_len)
    return length


cdef inline int digits_of(Py_ssize_t length, Py_ssize_t header_len) except -1:
    """Return how many digits the length of a payload has; raises if the header has fewer."""
    cdef int digits = 1
    cdef Py_ssize_t rest = length
    while rest >= 10:
        rest //= 10
        digits += 1
    if digits > header_len:
        _build_header(length, header_len)
    return digits


cdef inline char* write_header(
    char* p, Py_ssize_t length, int digits, Py_ssize_t header_len
) noexcept nogil:
    """Write a header; return where the payload goes."""
    if header_len == 16:
        memset(p, 32, 16)
    else:
        memset(p, 32, header_len)
    while digits:
        digits -= 1
        p[digits] = <char>(48 + length % 10)
        length //= 10
    return p + header_len


cdef inline char* write_command(char* p, const char* name, Py_ssize_t n, message) noexcept:
    """Write the payload of a command up to where the bytes of its message go."""
    memcpy(p, b"$CMD$", MARK)
    memcpy(p + MARK, name, n)
    p += MARK + n
    if message is None:
        return p
    memcpy(p, b"$MSG$", MARK)
    return p + MARK


def check_command(command, /):
    """Raise unless ``command`` can be sent and read back as what it is.

    :raises TypeError: it is not a ``str``.
    :raises ValueError: it is empty, holds a ``$...$`` pair, ends with ``$MSG`` or is not valid
        Unicode text.
    """
    cdef Py_ssize_t n
    command_utf8(command, &n)


def build_header(length, header_len=DEFAULT_HEADER_LEN):
    """Build the header of a payload of ``length`` bytes."""
    return _build_header(length, header_len)


def build_command(command, message=None, header_len=DEFAULT_HEADER_LEN):
    """Build the whole frame of a command, header included."""
    cdef Py_ssize_t n
    cdef const char* name = command_utf8(command, &n)
    cdef Py_ssize_t length = payload_length(n, message)
    cdef Py_ssize_t head = header_length(header_len)
    cdef int digits = digits_of(length, head)
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, head + length)
    cdef char* p = write_header(PyBytes_AS_STRING(frame), length, digits, head)
    p = write_command(p, name, n, message)
    if message is not None:
        memcpy(p, PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
    return frame


def build_raw(payload, header_len=DEFAULT_HEADER_LEN):
    """Build the whole frame of a payload that is sent as it is, header included."""
    cdef Py_ssize_t length
    cdef Py_ssize_t head
    cdef bytes frame
    cdef char* p
    if not PyBytes_Check(payload):
        reject_frame(payload, "payload")
    length = PyBytes_GET_SIZE(payload)
    head = header_length(header_len)
    digits = digits_of(length, head)
    frame = PyBytes_FromStringAndSize(NULL, head + length)
    p = write_header(PyBytes_AS_STRING(frame), length, digits, head)
    memcpy(p, PyBytes_AS_STRING(payload), length)
    return frame


cdef class Outbox:
    """The frames that wait to be written to one peer, in order.

    :param queue: list that ``owner`` is appended to when the first frame comes after a take.
    :param owner: whatever finds this outbox again; it is only passed on.
    :param schedule: called when ``owner`` became the first in ``queue``.
    :param header_len: length of a header in bytes, 1 to 20.

    Any thread may :meth:`send`, :meth:`write` and :meth:`close`; one thread takes.

    No Python code runs between the first and the last change that a method makes, which makes
    each of them atomic where there is a GIL; where there is none they lock the outbox.
    """

    cdef list _queue
    cdef object _owner
    cdef object _schedule
    cdef list _chunks  # what comes before the tail; None while there is nothing
    cdef PyObject* _tail  # bytes, the first _used of which are written; owned
    cdef Py_ssize_t _used
    cdef Py_ssize_t _room  # how many more bytes may be written into the tail
    cdef readonly Py_ssize_t size
    cdef readonly bint closed
    cdef bint _dirty
    cdef unsigned char _header_len

    def __cinit__(self, list queue not None, owner, schedule, header_len=DEFAULT_HEADER_LEN):
        self._header_len = checked_header_len(header_len)
        self._queue = queue
        self._owner = owner
        self._schedule = schedule

    def __dealloc__(self):
        Py_XDECREF(self._tail)

    def send(self, command, message=None):
        """Queue the frame of a command; ``False`` if the outbox is closed."""
        cdef Py_ssize_t n
        cdef const char* name = command_utf8(command, &n)
        cdef Py_ssize_t length = payload_length(n, message)
        cdef int digits = digits_of(length, self._header_len)
        cdef Py_ssize_t copied = self._header_len + length
        cdef list chunks = None
        cdef bint due
        cdef char* p
        if message is not None and by_reference(message):
            copied -= PyBytes_GET_SIZE(message)
            chunks = []
        with cython.critical_section(self):
            if self.closed:
                return False
            p = self.space(copied)
            p = write_header(p, length, digits, self._header_len)
            p = write_command(p, name, n, message)
            if chunks is not None:
                self.keep(message, chunks)
            elif message is not None:
                memcpy(p, PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
            due = self.mark()
        if due:
            self._schedule()
        return True

    def write(self, frame, /):
        """Queue a frame built before; ``False`` if the outbox is closed."""
        cdef int outcome
        if not PyBytes_Check(frame):
            reject_frame(frame)
        outcome = self.put(frame)
        if outcome == DUE:
            self._schedule()
        return outcome != REFUSED

    def take(self):
        """Return all that waits, mostly as one ``bytes``, and start afresh."""
        cdef list chunks = []  # made first: it may start the collector, which runs anything
        with cython.critical_section(self):
            if self._chunks is not None:
                chunks = self._chunks
                self._chunks = None
            self.seal(chunks)
            self.size = 0
            self._dirty = False
        return chunks

    def close(self):
        """Drop what waits and accept nothing more."""
        cdef list chunks = None
        with cython.critical_section(self):
            chunks = self._chunks
            self._chunks = None
            self.closed = True
            self.size = 0
            self._used = 0
            self._room = 0
            Py_XDECREF(self._tail)
            self._tail = NULL

    @cython.final
    cdef char* space(self, Py_ssize_t n) except NULL:
        """Count ``n`` more bytes as written; return where they go."""
        cdef PyObject* tail = self._tail
        cdef bytes fresh
        cdef Py_ssize_t room
        cdef char* p
        if n > self._room:
            # The first frame mostly stays the only one and gets just what it needs.
            room = n if tail is NULL else max(LEAST_TAIL, self._used + 2 * n, 2 * self._used)
            fresh = PyBytes_FromStringAndSize(NULL, room)
            if tail is not NULL:
                memcpy(PyBytes_AS_STRING(fresh), PyBytes_AS_STRING(<object>tail), self._used)
                Py_DECREF(<object>tail)
            Py_INCREF(fresh)
            self._tail = <PyObject*>fresh
            self._room = room - self._used
        p = PyBytes_AS_STRING(<object>self._tail) + self._used
        self._used += n
        self._room -= n
        self.size += n
        return p

    @cython.final
    cdef int seal(self, list chunks) except -1:
        """Append the tail, if there is one, to ``chunks``."""
        cdef object chunk
        if self._tail is NULL:
            return 0
        if self._room:
            _PyBytes_Resize(&self._tail, self._used)
        chunk = <object>self._tail
        Py_DECREF(chunk)
        self._tail = NULL
        self._used = 0
        self._room = 0
        chunks.append(chunk)
        return 0

    @cython.final
    cdef int keep(self, bytes chunk, list chunks) except -1:
        """Append bytes by reference, as a chunk of their own; ``chunks`` is a list to start."""
        if self._chunks is None:
            self._chunks = chunks
        self.seal(self._chunks)
        self._chunks.append(chunk)
        self.size += PyBytes_GET_SIZE(chunk)
        return 0

    @cython.final
    cdef int put(self, frame) except -1:
        """Queue a frame; return what became of it. No Python code runs."""
        cdef list chunks = [] if by_reference(frame) else None
        cdef Py_ssize_t n = PyBytes_GET_SIZE(frame)
        cdef bint due
        with cython.critical_section(self):
            if self.closed:
                return REFUSED
            if chunks is not None:
                self.keep(frame, chunks)
            elif self._tail is NULL and PyBytes_CheckExact(frame):
                # Shared until a second one comes, which does not fit and makes a copy.
                Py_INCREF(frame)
                self._tail = <PyObject*>frame
                self._used = n
                self.size += n
            else:
                memcpy(self.space(n), PyBytes_AS_STRING(frame), n)
            due = self.mark()
        return DUE if due else QUEUED

    @cython.final
    cdef bint mark(self) except -1:
        """Announce the first frame after a take; return whether to call schedule()."""
        if self._dirty:
            return False
        self._dirty = True
        with cython.critical_section(self._queue):
            self._queue.append(self._owner)
            return len(self._queue) == 1


cdef inline bint by_reference(message) noexcept:
    return PyBytes_GET_SIZE(message) >= BY_REFERENCE and PyBytes_CheckExact(message)


def fan_out(outboxes, frame, /):
    """Write one frame to every outbox (of a dict: its keys); return how many accepted it."""
    cdef list due = []
    cdef Py_ssize_t accepted = 0
    cdef Py_ssize_t at = 0
    cdef PyObject* key
    if not PyBytes_Check(frame):
        reject_frame(frame)
    try:
        if PyDict_CheckExact(outboxes) and not HISOCK_FREE_THREADED:
            while PyDict_Next(outboxes, &at, &key, NULL):
                accepted += put_one(<object>key, frame, due)
        else:
            for outbox in list(outboxes):
                accepted += put_one(outbox, frame, due)
    finally:
        for box in due:
            (<Outbox>box)._schedule()
    return accepted


cdef inline int put_one(outbox, frame, list due) except -1:
    cdef int outcome
    if not isinstance(outbox, Outbox):
        raise TypeError(f"fan_out() writes to outboxes, not to {type(outbox).__name__}")
    outcome = (<Outbox>outbox).put(frame)
    if outcome == DUE:
        due.append(outbox)
    return outcome != REFUSED
