# Part of _framing.pyx: what decoders share.


cdef class Scratch:
    """What decoders that never run at the same time share: a receive buffer and command names.

    Also the block of the last large message, up to 4 MiB, where the next one as large goes: fresh
    memory would cost more than receiving into it. Never use a scratch from two threads at once.

    :param size: size of the receive buffer in bytes; it is made when first asked for.
    """

    def __cinit__(self, size=DEFAULT_SCRATCH_SIZE):
        self.size = self._handed = checked_scratch_size(size)

    def __dealloc__(self):
        drop_commands(&self._commands)

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
            self._handed = self.size
        return self._view

    def narrow(self, Py_ssize_t size):
        """Hand out the first ``size`` bytes of the buffer only, until :meth:`widen`."""
        self.widen()
        self._view = self.writable()[:size]
        self._handed = PyObject_Size(self._view)

    def widen(self):
        """Hand out the whole buffer again."""
        self._view = None
        self._handed = self.size

    cdef int keep(self, bytearray block) except -1:
        """Keep the block of a complete message in place of the one before."""
        if self.size <= PyByteArray_GET_SIZE(block) <= MOST_SPARE:
            self._spare = block
            self._given = 0
        return 0

    cdef int keep_length(self, Py_ssize_t length) except -1:
        """Like :meth:`keep`, for a message that went away with its memory."""
        if self.size <= length <= MOST_SPARE:
            self._spare = None
            self._given = length
        return 0

    cdef Py_ssize_t spare_length(self, Py_ssize_t size, Py_ssize_t need) except -1:
        """Give up what was kept, if it is longer than ``size`` and a message needs all of it.

        Returns its length, or 0. Only one message at a time gets it, so that no more than this is
        ever made ready for bytes that have not come.
        """
        cdef Py_ssize_t length = self._given
        if self._spare is not None:
            length = PyByteArray_GET_SIZE(self._spare)
        if not size < length <= need:
            return 0
        self._spare = None
        self._given = 0
        return length

    cdef bytearray spare(self, Py_ssize_t size, Py_ssize_t need):
        """Like :meth:`spare_length`, but returns a block as long, or None.

        Never one that somebody has a view of.
        """
        cdef bytearray block = self._spare
        cdef Py_ssize_t length = self.spare_length(size, need)
        if not length:
            return None
        if block is None:
            return PyByteArray_FromStringAndSize(NULL, length)
        return None if (<PyByteArrayObject*>block).ob_exports else block
