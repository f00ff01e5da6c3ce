# Part of _outbox.pyx: frames that many outboxes hold ready.


cdef class Gathered:
    """Frames for many outboxes, which :meth:`Outbox.hold` keeps ready for each of them.

    :param lock: kept while an outbox queues what it holds, where that is not atomic by itself.
    :ivar frames: the frames, in order.
    :ivar caught_up: outboxes that hold none of it, each with the number of frames it has got.
    :ivar first: the number of the first of the frames; those before it are forgotten.
    """

    def __cinit__(self, lock):
        self.frames = []
        self.caught_up = {}
        self._joined_from = self._joined_to = -1

    def add(self, bytes frame not None, /):
        """Append a frame: outboxes that are in ``caught_up`` after that have not got it."""
        with cython.critical_section(self):
            self.frames.append(frame)

    def got(self, Outbox outbox not None, Py_ssize_t count, /):
        """Note that an outbox holds nothing of it, and has got the frames before a number."""
        with cython.critical_section(self):
            self.caught_up[outbox] = count

    def pop_caught_up(self):
        """Return an outbox that holds nothing of it, and its number, which are forgotten."""
        pop = self.caught_up.popitem
        with cython.critical_section(self):
            return pop() if self.caught_up else None

    def join(self, Py_ssize_t since, /):
        """Join the frames from a number on, so that outboxes which lack just those share them."""
        with cython.critical_section(self):
            self._joined = b"".join(self.frames[since - self.first:])
            self._joined_from = since
            self._joined_to = self.first + len(self.frames)

    def forget(self, Py_ssize_t count, /):
        """Forget the frames before a number, which all outboxes have got."""
        with cython.critical_section(self):
            del self.frames[:count - self.first]
            self.first = count


cdef Py_ssize_t queue_from(Outbox outbox, Gathered held, Py_ssize_t end) except -1:
    """Queue what an outbox holds before a number; return how many frames that was.

    Both are locked, and whatever else changes ``caught_up`` locks ``held``, so that nothing of this
    waits for a lock half-way, which would give up those two.
    """
    cdef Py_ssize_t at = max(outbox._since - held.first, 0)
    cdef Py_ssize_t gathered = held.first + len(held.frames)
    cdef Py_ssize_t count = max(min(end, gathered) - held.first - at, 0)
    cdef bint joined = held._joined_from == outbox._since
    end = held.first + at + count
    outbox._since = max(end, outbox._since)
    try:
        if outbox._since >= gathered:
            outbox._held = None
            outbox._state &= ~HOLDING
            held.caught_up[outbox] = end
        if not count or outbox._state & (CLOSED | REFUSING):
            outbox.refused += count
            return 0
        if joined and held._joined_to == end:
            outbox.append(held._joined)
        else:
            for at in range(at, at + count):
                outbox.append(held.frames[at])
    except BaseException:  # what it has not got is forgotten with what all have got
        outbox.drop()
        raise
    outbox.frames += count
    return count
