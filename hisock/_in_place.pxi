# Part of _framing.pyx: long messages, which are received where they stay.

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from "Python.h":
    int PyBuffer_FillInfo(
        Py_buffer* view, object owner, void* start, Py_ssize_t size, int readonly, int flags
    ) except -1
    int _PyBytes_Resize(PyObject** message, Py_ssize_t size) except -1
    Py_ssize_t Py_REFCNT(PyObject* message)


@cython.final
@cython.no_gc
cdef class Window:
    """The part of a long message where the next bytes go.

    It is for one read, like any buffer of a protocol: whoever writes to it after telling the decoder
    what came changes a message that somebody else may have by now. Its memory stays as long as it.
    """

    cdef bytes _message
    cdef char* _start
    cdef Py_ssize_t _size

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self._start, self._size, 0, flags)


cdef int begin_in_place(Decoder self, const char* p, Py_ssize_t n) except -1:
    """Find out whether a payload, of which these bytes have come, is a command with a message.

    Then its message gets an object of its own at once, and need not be copied out of a block when
    it is complete. All else, commands that are not allowed too, is for the whole payload to tell.
    """
    cdef Py_ssize_t length
    cdef tuple frame
    if n < LEAST_IN_PLACE or not is_command(p, n):
        return 0
    n = LEAST_IN_PLACE - MARK
    length = command_length(p + MARK, n)
    if length + MARK >= n:
        return 0
    frame = read_payload(self.shared(), p, MARK + length + MARK)  # as if the message was empty
    if frame is not None:
        self._skip = MARK + length + MARK
        self._command = frame[0]
        self._message = b""
    return 0


cdef int grow_in_place(Decoder self, Py_ssize_t end) except -1:
    """Make room for the payload up to ``end``; a window that somebody keeps stays valid."""
    cdef Py_ssize_t size = end - self._skip
    if size > PyBytes_GET_SIZE(self._message):
        try:
            self._message = larger_in_place(self, size)
        except MemoryError:
            self.forget()  # what had come is gone
            raise
    return 0


cdef bytes larger_in_place(Decoder self, Py_ssize_t size):
    cdef Py_ssize_t old = PyBytes_GET_SIZE(self._message)
    cdef bytes larger
    cdef PyObject* moved
    if old == 0 or Py_REFCNT(<PyObject*>self._message) > 1:
        larger = PyBytes_FromStringAndSize(NULL, size)
        copy_bytes(PyBytes_AS_STRING(larger), PyBytes_AS_STRING(self._message), old)
        return larger
    moved = <PyObject*>self._message
    Py_INCREF(<object>moved)
    self._message = None  # or there were two who refer to it
    _PyBytes_Resize(&moved, size)
    larger = <bytes>moved
    Py_DECREF(<object>moved)
    return larger


cdef int store_in_place(Decoder self, const char* p, Py_ssize_t n) except -1:
    """Append to the message; what comes before it is known already."""
    cdef Py_ssize_t at = self._have - self._skip
    if at < 0:
        p -= at
        n += at
        at = 0
    if n > 0:
        copy_bytes(PyBytes_AS_STRING(self._message) + at, p, n)
    return 0


cdef object window(Decoder self, Py_ssize_t end):
    """Return a writable view of where the payload goes on, up to ``end``."""
    cdef Window part = Window.__new__(Window)
    part._message = self._message
    part._start = PyBytes_AS_STRING(self._message) + self._have - self._skip
    part._size = end - self._have
    return PyMemoryView_FromObject(part)


cdef tuple give_away(Decoder self):
    """Return the frame whose message is complete, and give its memory away with it.

    The reader that has just filled a window may hold it until its call is over, as uvloop does. If
    there is another, somebody keeps it, and could still write there: the frame gets a copy.
    """
    cdef bytes message = self._message
    cdef tuple frame
    self._message = None
    if Py_REFCNT(<PyObject*>message) > 1 + self._direct:
        message = PyBytes_AS_STRING(message)[: PyBytes_GET_SIZE(message)]
    frame = (self._command, message)
    self._command = None
    self._scratch.keep_length(self._need)
    return frame
