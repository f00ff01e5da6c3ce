"""The records that nodes send each other: typed, in MessagePack, bounded.

Each kind has a letter. A letter that a node does not know is ignored and counted, so that nodes of
a later version can be added one by one; a record that does not fit its kind drops its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec

from hisock._cluster.batch import record_entry
from hisock._cluster.link import NodeHello

Short = Annotated[str, msgspec.Meta(max_length=1024)]
Text = Annotated[str, msgspec.Meta(max_length=65536)]
NodeId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Room = Annotated[str, msgspec.Meta(max_length=1024)]

#: Bits of :attr:`Row.flags`.
KNOWS_CALLS: Final = 1
MODERN: Final = 2


class Row(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """A client that has joined, or is there: one row of a roster.

    :ivar number: the client's number on its node.
    :ivar addr: its address.
    :ivar flags: what it knows.
    :ivar resume: a hash of its secret; empty if it has none.
    """

    number: Number
    ip: Short
    port: int
    name: Short | None = None
    group: Short | None = None
    flags: int = 0
    resume: Annotated[bytes, msgspec.Meta(max_length=16)] = b""
    rooms: Annotated[list[Room], msgspec.Meta(max_length=10000)] = []


class Left(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A client has left."""

    number: Number


class Changed(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A client has another name or group."""

    number: Number
    name: Short | None
    group: Short | None


class Moved(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A client is in a room, or not any more."""

    number: Number
    room: Room
    inside: bool


Change = Row | Left | Changed | Moved


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """Changes of a roster; ``number`` is that of the first, the others follow it."""

    number: Number
    changes: list[Change]


class Portion(msgspec.Struct, frozen=True, array_like=True):
    """A part of a snapshot of a roster.

    :ivar question: the :attr:`Resync.question` that it answers.
    :ivar number: how many changes the roster had seen before this part.
    :ivar first: whether the snapshot begins here; ``last`` whether it ends.
    """

    question: Number
    number: Number
    first: bool
    last: bool
    rows: list[Row]


class Resync(msgspec.Struct, frozen=True, array_like=True):
    """Asks for a snapshot of the receiver's roster."""

    question: Number


class Beat(msgspec.Struct, frozen=True, array_like=True):
    """A sign of life, each second.

    :ivar number: how many changes the sender's roster has seen.
    :ivar clients: how many clients it has.
    """

    number: Number
    clients: Number


class GivenUp(msgspec.Struct, frozen=True, array_like=True):
    """The receiver was taken for dead: it has to begin another incarnation than this one."""

    incarnation: int


class Spread(msgspec.Struct, frozen=True, array_like=True):
    """A message that is more than a frame for a group.

    :ivar kind: ``*``, ``g``, ``r`` or ``c``, as for entries that are commands.
    :ivar name: the group's or room's.
    :ivar numbers: the clients' of kind ``c``.
    :ivar exclude: numbers of clients that do not get it.
    :ivar frame: the frame for clients of this version; ``old`` is that for those of 2.0.2, if it
        is another one.
    :ivar volatile: clients that are behind do not get it.
    :ivar latest: the key of a state, or ``None``.
    """

    kind: str
    name: Short
    numbers: list[Number]
    exclude: list[Number]
    frame: bytes
    old: bytes | None = None
    volatile: bool = False
    latest: Short | None = None


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A piece of an entry that is larger than a batch; the last one completes it."""

    index: Number
    count: Number
    data: bytes


class Order(msgspec.Struct, frozen=True, array_like=True):
    """Something to do for a client of the receiver.

    :ivar what: ``kick``, ``join``, ``leave`` or ``replace``.
    :ivar room: for ``join`` and ``leave``.
    """

    what: str
    number: Number
    room: Short = ""
    force: bool = False
    call_func: bool = False


class Named(msgspec.Struct, frozen=True, array_like=True):
    """What a publisher wants for clients that it names; the node that has one does it.

    :ivar what: ``send`` or ``kick``.
    :ivar refs: names and addresses (``"ip:port"``).
    """

    what: str
    refs: Annotated[list[Short], msgspec.Meta(max_length=10000)]
    frame: bytes = b""
    old: bytes | None = None
    volatile: bool = False
    latest: Short | None = None
    force: bool = False
    call_func: bool = False


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A call to a client of the receiver, or to the receiver itself.

    :ivar number: chosen by the sender; the :class:`Answer` has the same.
    :ivar client: the client's number; 0 for the node itself.
    :ivar timeout: seconds that the sender waits; ``None`` for any time.
    """

    number: Number
    client: Number
    command: Text
    message: bytes | None = None
    timeout: float | None = None


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The answer to a question.

    :ivar kind: ``ok``, or the kind of error: ``remote``, ``timeout``, ``lost``, ``missing``,
        ``unsupported``.
    """

    number: Number
    kind: str
    message: bytes | None = None
    text: Text = ""
    code: str | int | None = None
    data: bytes | None = None


class Cancel(msgspec.Struct, frozen=True, array_like=True):
    """The sender of a question has stopped waiting."""

    number: Number


class Goodbye(msgspec.Struct, frozen=True, array_like=True):
    """The sender leaves the cluster."""


class Missing(msgspec.Struct, frozen=True, array_like=True):
    """The sender has found out that a node is gone; the receiver may do the same."""

    node: NodeId
    incarnation: int


class WhoAreYou(msgspec.Struct, frozen=True, array_like=True):
    """Asks for a hello, of a node that the sender does not know."""


KINDS: Final[dict[bytes, type]] = {
    b"A": Answer,
    b"B": Beat,
    b"C": Question,
    b"D": Delta,
    b"G": Goodbye,
    b"H": NodeHello,
    b"L": Missing,
    b"M": Spread,
    b"N": Named,
    b"O": Order,
    b"P": Piece,
    b"Q": Resync,
    b"S": Portion,
    b"U": GivenUp,
    b"W": WhoAreYou,
    b"X": Cancel,
}
_LETTERS: Final = {kind: letter for letter, kind in KINDS.items()}
_encode = msgspec.msgpack.Encoder().encode
DECODERS: Final[dict[bytes, Callable[[Any], Any]]] = {
    letter: msgspec.msgpack.Decoder(kind).decode for letter, kind in KINDS.items()
}


def entry_of(record: Any) -> bytes:
    """A record as an entry of a batch."""
    return record_entry(_LETTERS[type(record)], _encode(record))
