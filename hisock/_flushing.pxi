# Part of _turn.pyx: the queue of those that are written to, and what writes to one of them.

cdef extern from *:
    """
    #ifdef _WIN32
    /* The transports there do not write to a socket by its descriptor, so none is given. */
    static Py_ssize_t send_now(int descriptor, const char *data, Py_ssize_t size) { return -1; }
    #else
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0  /* macOS; Python ignores SIGPIPE */
    #endif
    static Py_ssize_t send_now(int descriptor, const char *data, Py_ssize_t size) {
        return send(descriptor, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    #endif
    """
    Py_ssize_t send_now(int descriptor, const char* data, Py_ssize_t size)


cdef class FlushQueue:
    """The readers whose peers are to be written to, in order.

    :ivar queue: outboxes append their owners to it, from any thread, so it is never replaced.
    :ivar due: whether a turn is due when the read under way ends.
    :ivar written: how many readers have left the queue since the start.
    """

    cdef readonly list queue
    cdef public bint due
    cdef public long long written
    cdef unsigned long _reading  # the thread that reads; 0 while none does

    def __cinit__(self):
        self.queue = []

    def schedule(self):
        """Write to those in the queue, after the reads of this iteration. From any thread."""
        if self._reading == PyThread_get_thread_ident():
            self.due = True
        else:
            self.schedule_turn()

    def flush_first(self, Py_ssize_t most, /):
        """Write to the first of those in the queue, at most so many; those behind them stay.

        If it fails for one, the others are in the queue again.
        """
        cdef list batch
        cdef Py_ssize_t at = 0
        with cython.critical_section(self.queue):
            batch = self.queue[:most]
            PyList_SetSlice(self.queue, 0, PyList_GET_SIZE(batch), <object>NULL)
        self.written += PyList_GET_SIZE(batch)
        try:
            while at < PyList_GET_SIZE(batch):
                reader = batch[at]
                at += 1
                if not isinstance(reader, Reader):
                    raise TypeError(f"the queue holds readers, not {type(reader).__name__}")
                (<_Flusher?>slot(reader, WRITER)).write_waiting()
        except BaseException:
            self.written -= PyList_GET_SIZE(batch) - at
            PyList_SetSlice(self.queue, 0, 0, batch[at:])
            raise

    @cython.final
    cdef int finish(self, _Reader reader) except -1:
        """Write what the handlers of a reader have sent.

        An answer to its own peer is written at once, which saves an iteration of the loop. Frames
        for others wait until all are read, since the next may add to them.
        """
        cdef list queue = self.queue
        cdef bint alone = False
        self.due = False
        with cython.critical_section(queue):
            if PyList_GET_SIZE(queue) == 1 and queue[0] is reader:
                alone = True
                PyList_SetSlice(queue, 0, 1, <object>NULL)
        if alone:
            self.written += 1
            (<_Flusher?>slot(reader, WRITER)).write_waiting()
        if PyList_GET_SIZE(queue):
            self.turn_soon()
        return 0


cdef class _Flusher:
    cdef public int descriptor
    cdef public bint behind
    cdef public object loop_closed
    cdef Outbox _box

    def flush(self):
        """Give the transport all queued frames, unless its buffer is full."""
        self.write_waiting()

    def write(self, bytes chunk not None, /):
        """Write a chunk: what the socket takes at once, and the rest through the transport."""
        self.write_chunk(chunk)

    @cython.final
    cdef int write_chunk(self, bytes chunk) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(chunk)
        cdef Py_ssize_t sent = 0
        transport = slot(self, TRANSPORT)
        if self.descriptor >= 0 and self.loop_closed is not None and self.loop_closed():
            self.descriptor = -1
        if self.descriptor >= 0:
            if size > LONGEST_DIRECT:
                self.behind = True
            elif self.behind:
                # One that is aborted has dropped what it held, and nothing may follow that.
                self.behind = transport.get_write_buffer_size() > 0 or transport.is_closing()
            if not self.behind:
                sent = send_now(self.descriptor, PyBytes_AS_STRING(chunk), size)
                if sent == size:
                    return 0
                self.behind = True
        # Whatever was wrong, the transport finds it as well, and says it to its protocol.
        try:
            transport.write(chunk[sent:] if sent > 0 else chunk)
        except BaseException:  # nothing may follow what is lost, or half of a frame
            transport.abort()
            raise
        return 0

    @cython.final
    cdef int write_waiting(self) except -1:
        cdef bytes chunk
        if self.waits():
            return 0  # resume() flushes later
        if slot(self, LATEST) is None:
            chunk = self._box.take_single()
            if chunk is not None:
                self.write_chunk(chunk)
                if self.waits():
                    self.fall_behind(PyBytes_GET_SIZE(chunk))
                return 0
        self.flush_chunks(self._box.take())
        return 0

    @cython.final
    cdef inline bint waits(self) except -1:
        return slot(self, PAUSED) and not slot(self, ENDING)


class Flusher(_Flusher):
    """Gives a transport what waits in an outbox.

    A transport takes a quarter of what a small answer costs outside of the kernel. Where it does
    nothing but write to a socket, the socket is written to first, and the transport gets the rest.

    :ivar descriptor: of the socket that the transport writes to unchanged; -1 for none, and once
        the transport has let go of it: the number may be another socket's then.
    :ivar loop_closed: says whether the loop has been closed, and the socket with it, which nobody
        is told; ``None`` where the transport keeps its socket even then.
    :ivar behind: whether the transport may hold something, which is to be written first.
    :ivar paused: whether the transport's buffer is full.
    :ivar latest: newest states that wait beside the outbox; ``None`` for none.
    """

    __slots__ = ("_ending", "_transport", "latest", "outbox", "paused")

    def __init__(self, Outbox outbox not None):
        (<_Flusher>self)._box = outbox
        self.descriptor = -1
        self.loop_closed = None
        self.outbox = outbox
        self.paused = False
        self.latest = None
        self._ending = False


cdef Py_ssize_t ENDING = place(Flusher, "_ending")
cdef Py_ssize_t TRANSPORT = place(Flusher, "_transport")
cdef Py_ssize_t LATEST = place(Flusher, "latest")
cdef Py_ssize_t PAUSED = place(Flusher, "paused")
