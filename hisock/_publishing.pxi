# Part of _outbox.pyx: frames for audiences, which a server finds by name.


cdef class Broadcaster:
    """Writes messages to audiences, where nothing else has to be done.

    :param everyone: has the outboxes of all clients as its keys.
    :param groups: such a dict for each group, by name.
    :param rooms: the rooms by name; ``members`` of each is such a dict.
    :ivar backplane: passes messages on to other servers; ``None`` where there are none.
    """

    cdef object _backplane
    cdef dict _reach  # of the backplane, and what it has for the kinds that are sent to most often
    cdef dict _groups_elsewhere
    cdef dict _rooms_elsewhere
    cdef dict _everyone
    cdef dict _groups
    cdef dict _rooms
    cdef object _header_len

    def __init__(
        self, dict everyone not None, dict groups not None, dict rooms not None, header_len
    ):
        self._everyone = everyone
        self._groups = groups
        self._rooms = rooms
        self._header_len = header_len

    @property
    def backplane(self):
        return self._backplane

    @backplane.setter
    def backplane(self, backplane):
        cdef dict reach = None if backplane is None else backplane.reach
        self._reach = reach
        self._groups_elsewhere = None if reach is None else reach["group"]
        self._rooms_elsewhere = None if reach is None else reach["room"]
        self._backplane = backplane

    def publish(self, audience, command, message, object volatile=False, latest=None):
        """Write a message to an audience, wherever its clients are.

        :returns: how many clients it was written to, or passed on for to other servers.
        """
        cdef Py_ssize_t written = self.plainly(audience, command, message, volatile, latest)
        if written < 0:
            return self.publish_otherwise(audience, command, message, volatile, latest)
        return written

    @cython.final
    cdef Py_ssize_t plainly(
        self, audience, command, message, object volatile, latest  # "object": see send_client
    ) except -2:
        """Write a message to an audience; -1, and nothing is done, if there is more to it."""
        cdef object members
        cdef object elsewhere = None
        cdef Outbox left_out = None
        cdef Py_ssize_t passed = 0
        if volatile is not False or latest is not None:
            return -1
        if message is not None and not PyBytes_CheckExact(message):
            return -1
        kind, name, refs, exclude = audience
        if self._backplane is not None:
            elsewhere = self.elsewhere(kind, name)
            if elsewhere is not None and (exclude is not None or kind == "clients"):
                return -1
        if exclude is not None:
            left_out = self.outbox_of(exclude)
            if left_out is None:
                return -1
        # Locked, since get() borrows what it finds, and another thread may remove it meanwhile.
        if kind == "group":
            with cython.critical_section(self._groups):
                members = self._groups.get(name)
        elif kind == "room":
            with cython.critical_section(self._rooms):
                members = self._rooms.get(name)
            if members is not None:
                members = members.members
        elif kind == "everybody":
            members = self._everyone
        else:
            members = self.outboxes_of(refs)
            if members is None:
                return -1
        frame = build_command(command, message, self._header_len)
        if elsewhere is not None:
            passed = self._backplane.pass_on(elsewhere, kind, name, frame)
        if members is None:
            return passed
        return passed + write_to_all(
            members, frame, NULL if left_out is None else <PyObject*>left_out
        )

    @cython.final
    cdef object elsewhere(self, kind, name):
        """Return what other servers have of an audience, or ``None``."""
        cdef dict there
        if kind == "group":
            there = self._groups_elsewhere
        elif kind == "room":
            there = self._rooms_elsewhere
        else:
            there = self._reach[kind]
        with cython.critical_section(there):  # get() borrows; see above
            return there.get(name)

    @cython.final
    cdef Outbox outbox_of(self, client):
        """Return the outbox of a client that has to be looked up nowhere; else ``None``."""
        cdef Outbox outbox = None
        if isinstance(client, Recipient):
            with cython.critical_section(client):
                outbox = (<Recipient>client)._box
            if outbox is not None and outbox not in self._everyone:
                return None
        return outbox

    @cython.final
    cdef dict outboxes_of(self, refs):
        """Return the outboxes of clients in a dict, or ``None`` if one has to be looked up."""
        cdef dict members = {}
        for client in refs:
            outbox = self.outbox_of(client)
            if outbox is None:
                return None
            members[outbox] = None
        return members


@cython.binding(True)
def send_group(self, group, command, content=None, *, object volatile=False, latest=None):
    """Send a command to all clients in a group; it is encoded once.

    :param group: the group's name, or a client to send to the group that it is in.
    :returns: how many clients it was sent to; 0 if no client is in the group.
    :raises TypeError: the client is in no group.
    """
    name = group.group if isinstance(group, Recipient) else group
    if name is None:
        self._in_no_group(group)
    return publish(self, ("group", name, (), None), command, content, volatile, latest)


@cython.binding(True)
def send_room(
    self, room, command, content=None, *, exclude=None, object volatile=False, latest=None
):
    """Send a command to all clients in a room; it is encoded once.

    :param exclude: a client that does not get it, such as the one that it is about. Default
        ``None``.
    :returns: how many clients it was sent to; 0 if no client is in the room.
    """
    return publish(self, ("room", room, (), exclude), command, content, volatile, latest)


cdef publish(self, audience, command, content, object volatile, latest):
    """Encode the content as the server of a method does, and publish it there."""
    cdef Broadcaster publisher
    cdef Py_ssize_t written
    if not PyBytes_CheckExact(content):
        content = self._codec.encode(content)
    publisher = self._broadcast
    written = publisher.plainly(audience, command, content, volatile, latest)
    if written < 0:
        return publisher.publish(audience, command, content, volatile, latest)
    return written
