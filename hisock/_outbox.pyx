# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: cdivision=True, embedsignature=True, embedsignature.format=clinic, binding=False
"""The writing side of the framing core, compiled: a peer's outbox, and the ways of a frame into it.

``_outbox_py.py`` is its twin in Python; ``tests/framing`` compares the two.
"""

import sys

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_Check, PyBytes_CheckExact, PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE, _PyBytes_Resize
)
from cpython.dict cimport PyDict_CheckExact, PyDict_Next
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.string cimport memcpy

from hisock._wire cimport (
    MARK, command_utf8, copy_bytes, digits_of, payload_length, write_command, write_header
)

from hisock._building import build_command, build_raw
from hisock._framing_common import (
    DEFAULT_HEADER_LEN, build_header, checked_header_len, reject_command, reject_frame,
    reject_message
)

cdef extern from "Python.h":
    """
    #ifdef Py_GIL_DISABLED
    #define HISOCK_FREE_THREADED 1
    #else
    #define HISOCK_FREE_THREADED 0
    #endif
    """
    const bint HISOCK_FREE_THREADED
    const Py_ssize_t PY_SSIZE_T_MAX
    Py_ssize_t Py_REFCNT(PyObject*) noexcept

include "_gathered.pxi"


cdef class Outbox:
    """The frames that wait to be written to one peer, in order.

    :param queue: list that ``owner`` is appended to when the first frame comes after a take.
    :param owner: whatever finds this outbox again; it is only passed on.
    :param schedule: called when ``owner`` became the first in ``queue``.
    :param header_len: length of a header in bytes, 1 to 20.
    :param full: called with ``owner`` by whoever queues a frame with which more than ``limit``
        bytes wait; the frame is queued by then.

    Any thread may :meth:`send`, :meth:`write` and :meth:`close`; one thread takes. ``size`` and
    ``frames`` tell how many bytes and frames wait. ``limit`` is without bounds at first.

    A peer that is too slow can be refused more: while ``refusing`` is set, :meth:`send` and
    :meth:`write` queue nothing, count in ``refused`` and return ``False``.

    Who sends to its peer with :func:`send_client` is the ``sender``, ``None`` at first.

    No Python code runs between the first and the last change that a method makes, which makes
    each of them atomic where there is a GIL; where there is none they lock the outbox.
    """

    def __cinit__(
        self, list queue not None, owner, schedule, header_len=DEFAULT_HEADER_LEN, full=None
    ):
        self._header_len = checked_header_len(header_len)
        self._chunks = []
        self._queue = queue
        self.owner = owner
        self._schedule = schedule
        self._full = full
        self.limit = sys.maxsize

    def __dealloc__(self):
        Py_XDECREF(self._tail)

    @property
    def closed(self):
        return bool(self._state & CLOSED)

    @property
    def refusing(self):
        return bool(self._state & REFUSING)

    @refusing.setter
    def refusing(self, bint refusing):
        with cython.critical_section(self):
            self._state = (self._state & ~REFUSING) | (REFUSING if refusing else 0)

    def send(self, command, message=None):
        """Queue the frame of a command; ``False`` if the outbox is closed or refuses."""
        return self.put_command(command, message)

    def write(self, frame, /):
        """Queue a frame built before; ``False`` if the outbox is closed or refuses."""
        cdef int outcome
        if not PyBytes_Check(frame):
            reject_frame(frame)
        outcome = self.put(frame)
        if outcome > QUEUED:
            self.announce(outcome)
        return outcome != REFUSED

    def hold(self, Gathered gathered not None, Py_ssize_t since, /):
        """Have what is gathered, from a number of frames on, go before whatever is queued next."""
        with cython.critical_section(self):
            if not self._state & CLOSED:
                self._held = gathered
                self._since = since
                self._state |= HOLDING

    def catch_up(self):
        """Queue the frames that are held, if there are any."""
        cdef int outcome = QUEUED
        with cython.critical_section(self):
            if self._state & HOLDING and self.queue_held(PY_SSIZE_T_MAX):
                outcome = self.mark()
        if outcome != QUEUED:
            self.announce(outcome)

    def take(self):
        """Return all that waits, mostly as one ``bytes``, and start afresh.

        Large messages are elements of their own. The rest is cut somewhere, into at most 96 KiB.
        """
        return self.take_chunks(PY_SSIZE_T_MAX)

    def take_until(self, Py_ssize_t end, /):
        """As :meth:`take`, but frames that are gathered stay held from the number ``end`` on."""
        return self.take_chunks(end)

    @cython.final
    cdef list take_chunks(self, Py_ssize_t end):
        cdef list chunks
        cdef list fresh = []  # allocated before any state is read; see _chunks
        with cython.critical_section(self):
            if self._state & HOLDING:
                self.queue_held(end)
            self.seal()  # may fail, so nothing is counted as taken before
            chunks = self._chunks
            self.note_taken()
            self._chunks = fresh
        return chunks

    cdef bytes take_single(self):
        """Return all that waits if that is one chunk without more ado; else ``None``."""
        cdef bytes single
        with cython.critical_section(self):
            if self._tail is NULL or self._state & HOLDING or PyList_GET_SIZE(self._chunks):
                return None
            single = self.cut_tail()
            self.note_taken()
            return single

    def release(self):
        """Let go of the owner, once it is closed; so the two are no reference cycle."""
        with cython.critical_section(self):
            self.owner = None

    def close(self):
        """Drop what waits and accept nothing more."""
        cdef list chunks
        cdef list fresh = []
        with cython.critical_section(self):
            chunks = self._chunks
            self._chunks = fresh
            self.drop()

    @cython.final
    cdef int drop(self) except -1:
        """Be closed, with nothing left. It is the last that a method does."""
        self._state = CLOSED | (self._state & REFUSING)
        self._held = None
        self.size = self.frames = 0
        self._kept = self._used = self._room = 0
        Py_XDECREF(self._tail)
        self._tail = NULL
        self._chunks.clear()
        return 0

    @cython.final
    cdef bint put_command(self, command, message) except -1:
        """Build the frame of a command where it waits; as :meth:`send`."""
        cdef Py_ssize_t n
        cdef const char* name = command_utf8(command, &n)
        cdef Py_ssize_t length, copied
        cdef int digits, outcome
        cdef bint kept
        cdef char* p
        if name is NULL:
            reject_command(command)
        length = payload_length(n, message)
        if length < 0:
            reject_message(message)
        digits = digits_of(length)
        if digits > self._header_len:
            build_header(length, self._header_len)  # raises
        copied = self._header_len + length
        kept = message is not None and by_reference(message)
        if kept:
            copied -= PyBytes_GET_SIZE(message)
        with cython.critical_section(self):
            if self._state and not self.accepts():
                return False
            p = self.space(copied)
            p = write_header(p, length, digits, self._header_len)
            p = write_command(p, name, n, message)
            if kept:
                try:
                    self.keep(message)
                except BaseException:  # nothing may follow half of a frame
                    self.drop()
                    raise
            elif message is not None:
                copy_bytes(p, PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
            self.frames += 1
            outcome = self.mark()
        if outcome != QUEUED:
            self.announce(outcome)
        return True

    @cython.final
    cdef char* space(self, Py_ssize_t n) except NULL:
        """Count ``n`` more bytes as written; return where they go."""
        cdef PyObject* tail = self._tail
        cdef bytes fresh
        cdef Py_ssize_t room
        cdef char* p
        if n > self._room or tail is NULL:
            if self._used + n > MOST_TAIL:
                self.seal()
                tail = NULL
            if tail is NULL:
                room = max(n, self._hint)  # the hint is 0 before the first take
            else:
                room = max(LEAST_TAIL, self._hint, min(2 * (self._used + n), MOST_TAIL))
            fresh = PyBytes_FromStringAndSize(NULL, room)
            if tail is not NULL:
                copy_bytes(PyBytes_AS_STRING(fresh), PyBytes_AS_STRING(<object>tail), self._used)
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
    cdef int seal(self) except -1:
        """Make the tail, if there is one, a chunk."""
        cdef Py_ssize_t at = PyList_GET_SIZE(self._chunks)
        if self._tail is not NULL:
            self._chunks.append(None)  # first, since there may be no memory for it
            self._chunks[at] = self.cut_tail()
        return 0

    @cython.final
    cdef bytes cut_tail(self):
        """Return the tail without the room that is left in it, and have none any more."""
        cdef object chunk
        if self._room:
            try:
                _PyBytes_Resize(&self._tail, self._used)
            except BaseException:  # it is gone, and what follows it would be out of step
                self.drop()
                raise
        elif Py_REFCNT(self._tail) > 1:
            self._kept += self._used
        chunk = <object>self._tail
        Py_DECREF(chunk)
        self._tail = NULL
        self._used = self._room = 0
        return <bytes>chunk

    @cython.final
    cdef int note_taken(self) except -1:
        """Count what waits as taken, which the caller is about to do."""
        # Chunks held by reference need no room in a tail, so the hint leaves them out.
        self._hint = min(self.size - self._kept, MOST_TAIL)
        self._kept = 0
        self.taken_bytes += self.size
        self.taken_frames += self.frames
        self.size = self.frames = 0
        self._dirty = False
        return 0

    @cython.final
    cdef int keep(self, bytes chunk) except -1:
        """Append bytes by reference, as a chunk of their own."""
        self.seal()
        self._chunks.append(chunk)
        self.size += PyBytes_GET_SIZE(chunk)
        self._kept += PyBytes_GET_SIZE(chunk)
        return 0

    @cython.final
    cdef int put(self, frame) except -1:
        """Queue a frame; return what became of it. No Python code runs."""
        with cython.critical_section(self):
            if self._state and not self.accepts():
                return REFUSED
            self.append(frame)
            self.frames += 1
            return self.mark()

    @cython.final
    cdef int put_joined(self, frames, Py_ssize_t count) except -1:
        """Queue several frames in one, as :meth:`put` does one."""
        with cython.critical_section(self):
            if self._state and not self.accepts():
                if self._state & REFUSING:
                    self.refused += count - 1
                return REFUSED
            self.append(frames)
            self.frames += count
            return self.mark()

    @cython.final
    cdef int append(self, frame) except -1:
        cdef Py_ssize_t n = PyBytes_GET_SIZE(frame)
        if by_reference(frame):
            self.keep(frame)
        elif self._tail is NULL and PyBytes_CheckExact(frame):
            # The tail is the shared frame itself until a second one forces a copy.
            Py_INCREF(frame)
            self._tail = <PyObject*>frame
            self._used = n
            self.size += n
        else:
            copy_bytes(self.space(n), PyBytes_AS_STRING(frame), n)
        return 0

    @cython.final
    cdef bint accepts(self) except -1:
        """Whether a frame may be queued now; those that are held are queued before it."""
        if self._state & HOLDING:
            self.queue_held(PY_SSIZE_T_MAX)
        if self._state:
            self.refused += self._state & REFUSING != 0
        return not self._state

    @cython.final
    cdef Py_ssize_t queue_held(self, Py_ssize_t end) except -1:
        """Queue what is held before a number; return how many frames. No Python code runs."""
        cdef Gathered held = self._held
        while held is not None:
            # Both, since to wait for the lock of what is held may give up that of the outbox.
            with cython.critical_section(self, held):
                if self._held is held:
                    return queue_from(self, held, end)
            held = self._held
        return 0

    @cython.final
    cdef int mark(self) except -1:
        """Note the owner when a frame is the first after a take; return what is to be called."""
        cdef int outcome = QUEUED | FULL if self.size > self.limit else QUEUED
        if not self._dirty:
            self._dirty = True
            owner = self.owner  # now: to wait for the queue may give up the lock of the outbox
            with cython.critical_section(self._queue):
                try:
                    self._queue.append(owner)
                except BaseException:  # else nothing would ever be written again
                    self._dirty = False
                    raise
                if len(self._queue) == 1:
                    outcome |= DUE
        return outcome

    @cython.final
    cdef int announce(self, int outcome) except -1:
        if outcome & DUE:
            self._schedule()
        if outcome & FULL and self._full is not None:
            with cython.critical_section(self):
                owner = self.owner
            if owner is not None:  # else another thread has closed and released it
                self._full(owner)
        return 0


include "_sending.pxi"
include "_publishing.pxi"
