# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: cdivision=True, nonecheck=True, binding=False
"""Entries of batches between servers, compiled: messages for many, each with its target.

``_entries_py.py`` is its twin in Python; ``tests/framing/test_entries.py`` compares the two.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
)
from cpython.dict cimport PyDict_GetItem, PyDict_Next
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.unicode cimport PyUnicode_READ_CHAR

from hisock._outbox cimport Outbox
from hisock._wire cimport MARK, command_utf8, copy_bytes, digits_of, write_command, write_header

cdef extern from "Python.h":
    """
    #ifdef Py_GIL_DISABLED
    #define HISOCK_FREE_THREADED 1
    #else
    #define HISOCK_FREE_THREADED 0
    #endif
    """
    const bint HISOCK_FREE_THREADED

cdef enum:
    ENTRY_DIGITS = 8  # as in _framing_common
    MOST_GATHERED = 64  # as in _framing_common
    MOST_TOGETHER = 65536  # as in _framing_common
    REFUSED = 0  # results of queueing a frame; as in _outbox.pyx
    DUE = 2
    FULL = 4


cdef class EntryQueue:
    """Entries that wait to be sent to other servers, oldest first.

    :ivar entries: not to be changed.
    :ivar size: bytes of all of them.
    """

    cdef readonly list entries
    cdef readonly Py_ssize_t size
    cdef set _volatile  # the numbers of those that are dropped first

    def __cinit__(self):
        self.entries = []
        self._volatile = set()

    def add(self, bytes entry not None, bint volatile):
        """Append one; a volatile one is dropped first."""
        if volatile:
            self._volatile.add(PyList_GET_SIZE(self.entries))
        self.append(entry)

    @cython.final
    cdef int append(self, bytes entry) except -1:
        self.entries.append(entry)
        self.size += PyBytes_GET_SIZE(entry)
        return 0

    def drop_volatile(self):
        """Drop what may be dropped first; return how many entries that were."""
        cdef Py_ssize_t count = len(self._volatile)
        cdef Py_ssize_t number = 0
        cdef list entries = self.entries
        cdef set volatile = self._volatile
        if count:
            self.clear()
            for entry in entries:
                if number not in volatile:
                    self.append(entry)
                number += 1
        return count

    def clear(self):
        """Drop everything; return how many entries that were."""
        cdef Py_ssize_t count = PyList_GET_SIZE(self.entries)
        self.entries = []
        self.size = 0
        if self._volatile:
            self._volatile = set()
        return count

    def sent(self, Py_ssize_t count):
        """Remove the first entries, which have been sent."""
        cdef list entries = self.entries
        cdef Py_ssize_t at
        if count == PyList_GET_SIZE(entries):
            self.clear()  # the caller may still have the list
            return
        for at in range(count):
            self.size -= PyBytes_GET_SIZE(entries[at])
        del entries[:count]
        if self._volatile:
            self._volatile = {number - count for number in self._volatile if number >= count}


cdef class EntryGatherer:
    """Gathers the messages for other servers that one thread sends.

    :ivar ident: that of the thread.
    :ivar is_current: whether the caller runs in that thread; for the twin.
    :ivar room: bytes that an entry may have.
    :ivar has_before: whether something has to go before the next message.
    :ivar scheduled: whether what waits is sent soon without more ado.
    :ivar put_apart: takes over the arguments of :meth:`pass_on` where nothing is gathered: in
        another thread, or where the target or the size does not fit an entry.
    """

    cdef public object put_apart
    cdef public object is_current
    cdef public unsigned long ident
    cdef public Py_ssize_t room
    cdef public bint has_before
    cdef public bint scheduled
    cdef list _gathered  # the names of servers and an entry, in turn

    def __cinit__(self, *args, **kwargs):
        self._gathered = []

    def pass_on(self, reached, kind, name, bytes frame not None, /):
        """Pass a ready frame on to servers; return how many clients of theirs it is for.

        :param reached: the ``names`` of the servers, the ``target``, and the ``total`` of clients.
        """
        cdef bytes entry = None
        cdef tuple names
        cdef Py_ssize_t count
        if not self.has_before and self.ident == PyThread_get_thread_ident():
            entry = entry_for(reached.target, frame)
        if entry is None or PyBytes_GET_SIZE(entry) > self.room:
            self.put_apart(reached, kind, name, frame)
            return reached.total
        names = reached.names
        with cython.critical_section(self):
            self._gathered.append(names)
            self._gathered.append(entry)
            count = PyList_GET_SIZE(self._gathered) // 2
        if not self.scheduled:
            self.wake()
        elif count >= MOST_GATHERED:
            self.take_gathered()
        return reached.total

    def take_each(self):
        """Return what was gathered, each the names and the entry, and start afresh."""
        cdef list gathered = self.take_list()
        return list(zip(gathered[::2], gathered[1::2], strict=True))

    def spread(self, dict queues not None):
        """Append what was gathered to the queues of the servers; return the largest size of one."""
        cdef list gathered = self.take_list()
        cdef Py_ssize_t at, largest = 0
        cdef PyObject* found
        cdef EntryQueue queue
        for at in range(0, PyList_GET_SIZE(gathered), 2):
            for name in <tuple>gathered[at]:
                found = PyDict_GetItem(queues, name)
                if found is not NULL:
                    queue = <EntryQueue?><object>found
                    queue.append(<bytes>gathered[at + 1])
                    largest = max(largest, queue.size)
        return largest

    @property
    def gathered_bytes(self):
        """Bytes of what is gathered."""
        with cython.critical_section(self):
            return sum(map(len, self._gathered[1::2]))

    @property
    def has_gathered(self):
        """Whether anything is gathered."""
        with cython.critical_section(self):
            return PyList_GET_SIZE(self._gathered) > 0

    @cython.final
    cdef list take_list(self):
        cdef list gathered
        cdef list fresh = []  # allocated before any state is read; see Outbox
        with cython.critical_section(self):
            gathered = self._gathered
            self._gathered = fresh
        return gathered


cdef bytes entry_for(target, bytes frame):
    """Return the entry of a frame for a target; ``None`` if the target cannot be a command."""
    cdef Py_ssize_t n
    cdef const char* name = command_utf8(target, &n)
    cdef Py_ssize_t length = 2 * MARK + n + PyBytes_GET_SIZE(frame)
    cdef int digits = digits_of(length)
    cdef bytes entry
    cdef char* p
    if name is NULL or digits > ENTRY_DIGITS:
        return None
    entry = PyBytes_FromStringAndSize(NULL, ENTRY_DIGITS + length)
    p = write_header(PyBytes_AS_STRING(entry), length, digits, ENTRY_DIGITS)
    p = write_command(p, name, n, frame)
    copy_bytes(p, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
    return entry


def all_commands(list frames not None):
    """Return whether each of some frames is a command."""
    for frame in frames:
        if (<tuple>frame)[0] is None:
            return False
    return True


def deliver(list messages not None, dict groups not None, dict everyone not None, rooms, otherwise):
    """Write ready frames that have come, each with its target, to outboxes.

    Those for the same clients are joined, so that each outbox takes one ``bytes``. Frames for
    several groups may change places, as a client is in one of them only.

    :param groups: the outboxes of each group, as the keys of a dict.
    :param rooms: returns those of a room.
    :param otherwise: called with the target and the frame of any others.
    """
    cdef dict waiting = {}  # of each target its frame, or a list of them
    cdef bint of_groups = True
    cdef bint of_group
    cdef PyObject* found
    for message in messages:
        target, frame = <tuple>message
        if frame is None:
            frame = b""
        found = PyDict_GetItem(waiting, target)
        if found is not NULL:
            if PyBytes_CheckExact(<object>found):
                waiting[target] = [<object>found, frame]
            else:
                (<list><object>found).append(frame)
            continue
        of_group = PyUnicode_READ_CHAR(target, 0) == u"g"
        if waiting and not (of_group and of_groups):
            write_all(waiting, groups, everyone, rooms, otherwise)
            waiting.clear()
        waiting[target] = frame
        of_groups = of_group
    write_all(waiting, groups, everyone, rooms, otherwise)


cdef int write_all(dict waiting, dict groups, dict everyone, rooms, otherwise) except -1:
    cdef list due = []
    cdef list full = []
    cdef Py_UCS4 letter
    cdef dict members
    try:
        for target, frames in waiting.items():
            letter = PyUnicode_READ_CHAR(target, 0)
            if letter == u"g":
                with cython.critical_section(groups):  # get() borrows; see _publishing.pxi
                    members = groups.get(target[1:])
            elif letter == u"*":
                members = everyone
            elif letter == u"r":
                members = rooms(target[1:])
            else:
                for frame in [frames] if PyBytes_CheckExact(frames) else <list>frames:
                    otherwise(target, frame)
                continue
            if members:
                write_frames(members, frames, due, full)
    finally:
        announce_all(due, full)
    return 0


cdef int announce_all(list due, list full) except -1:
    """Make the calls that are due, and forget them.

    Not while a dict is read: what is called may change it.
    """
    while due:
        (<Outbox>due.pop())._schedule()
    if full:
        for box in list(full):
            (<Outbox>box).announce(FULL)
        full.clear()
    return 0


cdef int write_frames(dict members, frames, list due, list full) except -1:
    cdef bytes together
    if PyBytes_CheckExact(frames):
        return write_to(members, frames, 1, due, full)
    together = b"".join(frames)
    if PyBytes_GET_SIZE(together) <= MOST_TOGETHER:
        return write_to(members, together, PyList_GET_SIZE(frames), due, full)
    for frame in <list>frames:
        write_to(members, frame, 1, due, full)
        announce_all(due, full)  # an outbox that is full may refuse the next one
    return 0


cdef int write_to(dict members, bytes frames, Py_ssize_t count, list due, list full) except -1:
    """Write so many frames in one ``bytes`` to each outbox, which takes all of them or none."""
    cdef Py_ssize_t at = 0
    cdef PyObject* key
    if HISOCK_FREE_THREADED:
        for box in list(members):
            write_one(<Outbox?>box, frames, count, due, full)
    else:
        while PyDict_Next(members, &at, &key, NULL):
            write_one(<Outbox?><object>key, frames, count, due, full)
    return 0


cdef inline int write_one(
    Outbox box, bytes frames, Py_ssize_t count, list due, list full
) except -1:
    cdef int outcome = box.put_joined(frames, count)
    if outcome & DUE:
        due.append(box)
    if outcome & FULL:
        full.append(box)
    return 0
