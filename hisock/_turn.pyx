# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: cdivision=True, nonecheck=True, binding=False
"""One turn of a connection, compiled: from the bytes of a read to the answer that is written.

``_turn_py.py`` is its twin in Python; ``tests/framing/test_turn.py`` compares the two. What happens
rarely is left to the classes that inherit from these: a turn in which plain handlers take a few
frames and answer their sender enters no Python function but the handlers.
"""

from types import CoroutineType

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE, PyList_SetSlice
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from cpython.pythread cimport PyThread_get_thread_ident

from hisock._calling cimport PyObject_Vectorcall, raise_pending
from hisock._framing cimport Decoder
from hisock._outbox cimport Outbox

from hisock.exceptions import FramingError

cdef extern from "Python.h":
    ctypedef struct PyMemberDef:
        Py_ssize_t offset
    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member

cdef enum:
    MANY = 256  # as in _framing_common
    LONGEST_DIRECT = 65536  # as in _framing_common
    SHORT_READ = 16384  # as in _framing_common

cdef object COROUTINE = CoroutineType


# What Python code reads often is in slots of a class in Python, since the interpreter reads those
# several times as fast as the attributes of a class in C. Here they are read by their place.

cdef Py_ssize_t place(type owner, str name) except -1:
    return (<PyMemberDescrObject*><PyObject*>owner.__dict__[name]).d_member.offset


cdef inline object slot(object instance, Py_ssize_t offset):
    cdef PyObject* value = (<PyObject**>(<char*><PyObject*>instance + offset))[0]
    if value is NULL:
        raise AttributeError("a slot that is read in C is not set")
    return <object>value


include "_flushing.pxi"


cdef class _Reader:
    cdef public FlushQueue _flushing
    cdef public Py_ssize_t held
    cdef public bint alive
    cdef Decoder _stream
    cdef object _events
    cdef dict _handlers

    def buffer_updated(self, Py_ssize_t nbytes, /):
        """Take bytes that were received into the decoder's buffer. Called by the loop."""
        if slot(self, ENDED):
            return
        self.alive = True
        try:
            frames = self._stream.take_received(nbytes)
        except FramingError:
            frames = None
        if frames is not None:
            self.handle(frames)
            if nbytes >= SHORT_READ:
                self.read_much(nbytes)
        self.settle()

    def feed(self, data, /):
        """Take bytes that were received into another buffer."""
        if slot(self, ENDED):
            return
        self.alive = True
        try:
            frames = self._stream.take_bytes(data)
        except FramingError:
            frames = None
        if frames is not None:
            self.handle(frames)
        self.settle()

    @cython.final
    cdef int settle(self) except -1:
        cdef Decoder decoder = self._stream
        cdef Py_ssize_t held = decoder.held_bytes()
        if held != self.held:
            self.hold(held)
        if decoder.error is not None:
            self.fail_if_idle()
        return 0

    @cython.final
    cdef int handle(self, frames) except -1:
        """Dispatch one frame or a list of them, then write what the handlers sent."""
        cdef FlushQueue flushing = self._flushing
        cdef bint alone = isinstance(frames, tuple)
        flushing._reading = PyThread_get_thread_ident()
        try:
            if slot(self, LIMIT) is not None or not slot(self, JOINED) or slot(self, BUSY):
                self.take_batch([frames] if alone else frames)
            elif alone:
                if not self.called(<tuple>frames):
                    self.dispatch([frames], 0)
            elif PyList_GET_SIZE(frames) < MANY:
                self.dispatch(<list>frames, 0)
            else:
                self.take_batch(frames)
        except (SystemExit, KeyboardInterrupt) as exc:
            self.interrupt(exc)
        finally:
            flushing._reading = 0
            if flushing.due:
                flushing.finish(self)
        return 0

    def dispatch_all(self, list frames not None, /):
        """Call the handlers of frames, in order; the list is used up."""
        self.dispatch(frames, 0)

    @cython.final
    cdef int dispatch(self, list frames, Py_ssize_t at) except -1:
        """Call the handler of each frame, in order, until one needs more than that."""
        self._batch = frames
        while at < PyList_GET_SIZE(frames):
            if not self.called(<tuple>frames[at]):
                del frames[:at]
                self._events.dispatch(self, iter(frames))
                break
            at += 1
        self._batch = None
        return 0

    @cython.final
    cdef bint called(self, tuple frame) except -1:
        """Call the plain handler of a frame; returns whether there is one."""
        cdef object command = frame[0]
        cdef object message = frame[1]
        cdef object handler, info
        cdef PyObject* result
        cdef PyObject* args[2]
        if not PyBytes_CheckExact(message) or not PyBytes_GET_SIZE(message):
            return False
        with cython.critical_section(self._handlers):  # get() borrows; see _publishing.pxi
            handler = self._handlers.get(command)
        if handler is None:
            return False
        info = slot(self, INFO)
        args[0] = <PyObject*>info
        args[1] = <PyObject*>message
        result = PyObject_Vectorcall(handler, args, 2, NULL)
        if result is NULL or type(<object>result) is COROUTINE:
            self.failed(command, result)
        Py_XDECREF(result)
        return True

    @cython.final
    cdef int failed(self, command, PyObject* result) except -1:
        """Report the exception that is set, or what a handler must not return."""
        try:
            if result is NULL:
                raise_pending()
            raise self._events.never_awaited(<object>result, command)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._events.failed(self, command, exc)
        return 0


class Reader(_Reader):
    """One peer: takes what is received, and calls the handlers.

    :param events: dispatches frames that need more than a plain handler; ``plain_handlers`` has
        the others.
    :ivar info: what handlers get as their first argument.
    :ivar writer: writes to the same peer.
    :ivar limit: how many messages it may send now; ``None`` for any number.
    :ivar joined: its place in the order of joining, 0 before.
    :ivar busy: how many handlers must end before its next frame is handled.
    :ivar held: bytes of memory that an incomplete frame occupies.
    :ivar alive: set when anything arrives.
    """

    __slots__ = ("_batch", "_decoder", "_ended", "busy", "info", "joined", "limit", "writer")

    def __init__(self, events, Decoder decoder not None, FlushQueue flushing not None):
        cdef _Reader reader = self
        reader._flushing = flushing
        reader._stream = decoder
        reader._events = events
        reader._handlers = events.plain_handlers
        self.limit = None
        self.joined = 0
        self.busy = 0
        self.alive = True
        self._ended = False
        self._decoder = decoder
        # The frames that are being dispatched; emptied when it ends.
        self._batch = None


cdef Py_ssize_t BUSY = place(Reader, "busy")
cdef Py_ssize_t ENDED = place(Reader, "_ended")
cdef Py_ssize_t INFO = place(Reader, "info")
cdef Py_ssize_t JOINED = place(Reader, "joined")
cdef Py_ssize_t LIMIT = place(Reader, "limit")
cdef Py_ssize_t WRITER = place(Reader, "writer")
