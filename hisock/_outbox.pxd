# cython: language_level=3
"""What other compiled modules know of an outbox."""

cimport cython
from cpython.object cimport PyObject

from hisock._messages cimport Encoder

cdef enum:
    BY_REFERENCE = 32768  # as in _framing_common
    LEAST_TAIL = 512
    MOST_TAIL = 98304  # MOST_JOINED in _framing_common
    REFUSED = 0  # results of queueing a frame
    QUEUED = 1
    DUE = 2  # the caller must call schedule()
    FULL = 4  # the caller must call full()
    CLOSED = 1  # bits of the state that take an outbox off its fast path
    REFUSING = 2
    HOLDING = 4


cdef class Gathered:
    cdef readonly list frames
    cdef readonly dict caught_up
    cdef readonly Py_ssize_t first
    cdef bytes _joined  # the frames from one number up to another, in one
    cdef Py_ssize_t _joined_from, _joined_to


cdef class Outbox:
    cdef list _queue
    cdef readonly object owner
    cdef public object sender
    cdef Encoder _encode  # what encodes the messages of the sender, once it has sent one
    cdef object _schedule
    cdef object _full
    # The chunks before the tail. Allocated with the outbox, because allocating a list later may
    # run the garbage collector, and with it arbitrary code.
    cdef list _chunks
    cdef PyObject* _tail  # bytes, the first _used of which are written; owned
    cdef Py_ssize_t _used
    cdef Py_ssize_t _room  # bytes of the tail that are still free
    cdef Py_ssize_t _hint  # bytes copied before the last take: the size of the next tail
    cdef Py_ssize_t _kept  # bytes in _chunks that are held by reference
    cdef readonly Py_ssize_t size
    cdef readonly Py_ssize_t frames
    cdef readonly Py_ssize_t refused
    cdef readonly Py_ssize_t taken_frames  # ever, for statistics
    cdef readonly Py_ssize_t taken_bytes
    cdef public Py_ssize_t limit
    cdef Gathered _held
    cdef Py_ssize_t _since  # number of the frames of _held that are queued already
    cdef unsigned char _state
    cdef unsigned char _dirty  # whether the owner is in the queue
    cdef unsigned char _header_len

    cdef bytes take_single(self)

    @cython.final
    cdef list take_chunks(self, Py_ssize_t end)
    @cython.final
    cdef int drop(self) except -1
    @cython.final
    cdef bint put_command(self, command, message) except -1
    @cython.final
    cdef char* space(self, Py_ssize_t n) except NULL
    @cython.final
    cdef int seal(self) except -1
    @cython.final
    cdef bytes cut_tail(self)
    @cython.final
    cdef int note_taken(self) except -1
    @cython.final
    cdef int keep(self, bytes chunk) except -1
    @cython.final
    cdef int put(self, frame) except -1
    @cython.final
    cdef int put_joined(self, frames, Py_ssize_t count) except -1
    @cython.final
    cdef int append(self, frame) except -1
    @cython.final
    cdef bint accepts(self) except -1
    @cython.final
    cdef Py_ssize_t queue_held(self, Py_ssize_t end) except -1
    @cython.final
    cdef int mark(self) except -1
    @cython.final
    cdef int announce(self, int outcome) except -1


cdef class Recipient:
    cdef Outbox _box
