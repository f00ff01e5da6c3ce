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

    def join(self, Py_ssize_t since, /):
        """Join the frames from a number on, so that outboxes which lack just those share them."""
        self._joined = b"".join(self.frames[since - self.first:])
        self._joined_from = since
        self._joined_to = self.first + len(self.frames)

    def forget(self, Py_ssize_t count, /):
        """Forget the frames before a number, which all outboxes have got."""
        with cython.critical_section(self):
            del self.frames[:count - self.first]
            self.first = count
