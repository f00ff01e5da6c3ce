# Part of _outbox.pyx: the ways of a frame into one outbox, or into many.

cdef enum:
    CALL = 6  # length of $CALL$
    REPLY = 7  # length of $REPLY$
    LONGEST_NUMBER = 19  # digits of a Py_ssize_t


cdef inline bint by_reference(message) noexcept:
    return PyBytes_GET_SIZE(message) >= BY_REFERENCE and PyBytes_CheckExact(message)


def fan_out(outboxes, frame, /):
    """Write one frame to every outbox (of a dict: its keys); return how many accepted it."""
    if not PyBytes_Check(frame):
        reject_frame(frame)
    return write_to_all(outboxes, frame, NULL)


cdef Py_ssize_t write_to_all(outboxes, frame, PyObject* left_out) except -1:
    """Write one frame to every outbox but one, or but none (NULL); as :func:`fan_out`."""
    cdef list calls = []  # not later: a new list may run the garbage collector, and so anything
    cdef Py_ssize_t accepted = 0
    cdef Py_ssize_t at = 0
    cdef PyObject* key
    try:
        if PyDict_CheckExact(outboxes) and not HISOCK_FREE_THREADED:
            while PyDict_Next(outboxes, &at, &key, NULL):
                if key != left_out:
                    accepted += put_one(<object>key, frame, calls)
        else:
            for outbox in list(outboxes):
                if <PyObject*>outbox != left_out:
                    accepted += put_one(outbox, frame, calls)
    finally:
        if PyList_GET_SIZE(calls):
            announce_all(calls)
    return accepted


def fan_out_joined(outboxes, frames, Py_ssize_t count, /):
    """Write several frames in one ``bytes`` to every outbox, which takes all of them or none."""
    cdef list calls = []
    cdef Py_ssize_t accepted = 0
    cdef int outcome
    if not PyBytes_Check(frames):
        reject_frame(frames)
    try:
        for outbox in list(outboxes):
            if not isinstance(outbox, Outbox):
                name = type(outbox).__name__
                raise TypeError(f"fan_out_joined() writes to outboxes, not to {name}")
            outcome = (<Outbox>outbox).put_joined(frames, count)
            accepted += outcome != REFUSED
            if outcome > QUEUED:
                calls += (outbox, outcome)
    finally:
        announce_all(calls)
    return accepted


cdef inline int put_one(outbox, frame, list calls) except -1:
    cdef int outcome
    if not isinstance(outbox, Outbox):
        raise TypeError(f"fan_out() writes to outboxes, not to {type(outbox).__name__}")
    if put_behind(<Outbox>outbox, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame)):
        return 1
    outcome = (<Outbox>outbox).put(frame)
    if outcome > QUEUED:
        calls.append(outbox)
        calls.append(outcome)
    return outcome != REFUSED


cdef inline bint put_behind(Outbox box, const char* frame, Py_ssize_t n) noexcept:
    """Copy a frame behind others if that is all there is to do; return whether it was."""
    with cython.critical_section(box):
        if box._state or not box._dirty or box.size + n > box.limit:
            return False
        if not 0 < n <= box._room or n >= BY_REFERENCE:  # where no room is left there is no tail
            return False
        copy_bytes(PyBytes_AS_STRING(<object>box._tail) + box._used, frame, n)
        box._used += n
        box._room -= n
        box.size += n
        box.frames += 1
        return True


cdef int announce_all(list calls) except -1:
    """Make the calls that are due, once all have the frame: what is called may change the dict.

    :param calls: outboxes, each followed by what became of the frame.
    """
    cdef Py_ssize_t at
    cdef int wanted
    for wanted in (DUE, FULL):
        for at in range(0, PyList_GET_SIZE(calls), 2):
            (<Outbox>calls[at]).announce(wanted & <int>calls[at + 1])
    return 0


def send_reply(Outbox outbox not None, bytes number not None, bytes message not None, /):
    """Queue the reply to a call; ``False``, and nothing is counted, if the outbox takes nothing.

    :raises ValueError: a header has not enough digits for it.
    """
    if outbox._state & (CLOSED | REFUSING):
        return False
    if PyBytes_GET_SIZE(message) >= BY_REFERENCE:
        return outbox.write(build_raw(b"$REPLY$%b$MSG$%b" % (number, message), outbox._header_len))
    return put_numbered(
        outbox, b"$REPLY$", REPLY, PyBytes_AS_STRING(number), PyBytes_GET_SIZE(number),
        NULL, 0, message
    )


def send_call(Outbox outbox not None, Py_ssize_t number, command, message, /):
    """Queue a call; ``False``, and nothing is counted, if the outbox takes nothing.

    :param number: from 0 to ``2**63 - 1``.
    :param message: ``bytes`` or ``None``.
    :raises OverflowError: there is no such number.
    :raises ValueError: the command is not allowed, or a header has not enough digits for it.
    """
    cdef Py_ssize_t n
    cdef const char* name = command_utf8(command, &n)
    cdef char[LONGEST_NUMBER] digits
    cdef int count
    if number < 0:
        raise OverflowError(f"the number of a call is not {number}")
    if name is NULL:
        reject_command(command)
    if payload_length(n, message) < 0:
        reject_message(message)
    if outbox._state & (CLOSED | REFUSING):
        return False
    if message is not None and PyBytes_GET_SIZE(message) >= BY_REFERENCE:
        payload = b"$CALL$%d$CMD$%b$MSG$%b" % (number, name[:n], message)
        return outbox.write(build_raw(payload, outbox._header_len))
    count = digits_of(number)
    write_header(digits, number, count, count)
    return put_numbered(outbox, b"$CALL$", CALL, digits, count, name, n, message)


cdef bint put_numbered(
    Outbox outbox, const char* kind, Py_ssize_t kind_length, const char* number,
    Py_ssize_t digits_of_number, const char* name, Py_ssize_t n, message
) except -1:
    """Build ``$KIND$`` number [ ``$CMD$`` name ] [ ``$MSG$`` message ] where it waits."""
    cdef Py_ssize_t length = kind_length + digits_of_number
    cdef Py_ssize_t message_length = 0
    cdef int digits, outcome
    cdef char* p
    if name is not NULL:
        length += MARK + n
    if message is not None:
        message_length = PyBytes_GET_SIZE(message)
        length += MARK + message_length
    digits = digits_of(length)
    if digits > outbox._header_len:
        build_header(length, outbox._header_len)  # raises
    with cython.critical_section(outbox):
        if outbox._state and not outbox.accepts():
            return False
        p = outbox.space(outbox._header_len + length)
        p = write_header(p, length, digits, outbox._header_len)
        memcpy(p, kind, kind_length)
        memcpy(p + kind_length, number, digits_of_number)
        p += kind_length + digits_of_number
        if name is not NULL:
            p = write_command(p, name, n, None)
        if message is not None:
            memcpy(p, b"$MSG$", MARK)
            copy_bytes(p + MARK, PyBytes_AS_STRING(message), message_length)
        outbox.frames += 1
        outcome = outbox.mark()
    if outcome != QUEUED:
        outbox.announce(outcome)
    return True


cdef class Recipient:
    """What a frame can be sent to with nothing looked up: it has the outbox with it.

    ``_outbox`` is ``None`` while nobody is behind it, at first and when the peer has gone.
    """

    @property
    def _outbox(self):
        with cython.critical_section(self):
            return self._box

    @_outbox.setter
    def _outbox(self, Outbox outbox):
        with cython.critical_section(self):
            self._box = outbox


@cython.binding(True)
def send_client(
    self, client, command, content=None, object volatile=False, latest=None  # "object": see below
):
    """Send a command to one client.

    :param client: a :class:`ClientInfo`, ``(ip, port)``, ``"ip:port"`` or a name; several
        with that name: the one that joined first, and a warning.
    :raises ClientNotFound: no such client is connected.
    """
    # A method of servers, but no server inherits from a class in C: the attributes of those are
    # slower. ("volatile" without a type would be the keyword of C.)
    cdef Outbox outbox = None
    cdef bint known, plain = True
    if isinstance(client, Recipient):
        with cython.critical_section(client):
            outbox = (<Recipient>client)._box
    known = outbox is not None and outbox.sender is self
    if not PyBytes_CheckExact(content):
        if not known:
            content = self._codec.encode(content)
        else:
            if outbox._encode is None:
                outbox._encode = <Encoder?>self._codec.encode.__self__
            content = outbox._encode.encoded(content)
        # Anything but bytes depends on what the peer is.
        plain = content is None or PyBytes_CheckExact(content)
    if known and plain and volatile is False and latest is None:
        if outbox.put_command(command, content) or not outbox.closed:
            return
    self._send_otherwise(client, command, content, volatile, latest)
