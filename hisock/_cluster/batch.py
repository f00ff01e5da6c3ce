"""Batches: what travels between two nodes, and the entries that are in it.

    batch   = head [ MAC ] entry...
    head    = version, flags, sender, incarnation, receiver, two numbers, the time of sending
    entry   = a frame of hisock, with a header of eight digits

An entry that is a command is a message for many, ready to be written to clients: ``*`` for
everybody, ``g`` and the name of a group, ``r`` and the name of a room, ``c`` and the number of a
client. An entry without a command is a letter and a record in MessagePack; see
:mod:`hisock._cluster.records`. Names that cannot be a part of a command go by a record too.

Nothing here does any I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from typing import Final

import msgspec

from hisock._cluster.link import MOST_BATCH_BYTES
from hisock._framing_common import ENTRY_DIGITS
from hisock.exceptions import FramingError, HiSockError
from hisock.framing import Decoder, Frame, build_command, build_raw

VERSION: Final = 1
#: The sender is a publisher, which is no node: it has no clients, and its batches go to all.
PUBLISHER: Final = 2
_KEYED: Final = 1
#: A head is what many batches have in common, and the numbers of each.
_WAY: Final = Struct(">BB8sI8s")
_NUMBERS: Final = Struct(">QQQ")
HEAD_BYTES: Final = _WAY.size + _NUMBERS.size
MAC_BYTES: Final = 16
_NOBODY: Final = bytes(8)
#: Ways of batches, each from a node to another one or to all, that are remembered.
_MOST_WAYS: Final = 1024


class BadBatch(HiSockError):
    """A batch that does not parse, or whose MAC is wrong; all of it is dropped."""


class Head(msgspec.Struct, gc=False, frozen=True):
    """What a batch says of itself.

    :ivar sender: the id of the node that sent it.
    :ivar incarnation: that node's.
    :ivar receiver: the id of the node that it is for; ``""`` for all.
    :ivar to_all: how many entries the sender has sent to all, those of this batch included.
    :ivar to_one: how many it has sent to the receiver alone, likewise; 0 for all.
    :ivar sent: when it was sent by the sender's clock, in milliseconds since 1970.
    :ivar flags: :data:`PUBLISHER` or 0.
    """

    sender: str
    incarnation: int
    receiver: str
    to_all: int
    to_one: int
    sent: int
    flags: int = 0


@lru_cache(_MOST_WAYS)
def _pack_way(flags: int, sender: str, incarnation: int, receiver: str) -> bytes:
    to = bytes.fromhex(receiver) or _NOBODY
    return _WAY.pack(VERSION, flags, bytes.fromhex(sender), incarnation, to)


@lru_cache(_MOST_WAYS)
def _read_way(packed: bytes) -> tuple[int, str, int, str]:
    version, flags, sender, incarnation, receiver = _WAY.unpack(packed)
    if version != VERSION:
        raise BadBatch(f"its version is {version}, not {VERSION}")
    return flags, sender.hex(), incarnation, "" if receiver == _NOBODY else receiver.hex()


class Sealer:
    """Builds and opens the batches of one application.

    :param app: its name, which the key is bound to.
    :param key: the secret of the cluster; ``None`` for none.
    """

    def __init__(self, app: str, key: bytes | None) -> None:
        self._key = None
        if key is not None:
            self._key = blake2b(app.encode(), key=key, digest_size=32, person=b"hisock").digest()
        self.keyed = key is not None
        #: Bytes of a batch that are not entries.
        self.overhead = HEAD_BYTES + (0 if key is None else MAC_BYTES)

    def seal(self, head: Head, entries: Iterable[bytes]) -> bytes:
        """Build a batch."""
        flags = head.flags if self._key is None else head.flags | _KEYED
        packed = _pack_way(flags, head.sender, head.incarnation, head.receiver)
        packed += _NUMBERS.pack(head.to_all, head.to_one, head.sent)
        if self._key is None:
            return b"".join((packed, *entries))
        body = b"".join(entries)
        return b"".join((packed, self._mac(packed, body), body))

    def _mac(self, packed: bytes, body: bytes) -> bytes:
        mac = blake2b(packed, key=self._key or b"", digest_size=MAC_BYTES)
        mac.update(body)
        return mac.digest()

    def open(self, batch: bytes) -> tuple[Head, bytes]:
        """The head and the entries of a batch.

        :raises BadBatch: it is none, is of another version, or was not made with the key.
        """
        if len(batch) < self.overhead:
            raise BadBatch(f"it is {len(batch)} bytes long, less than a head")
        flags, sender, incarnation, receiver = _read_way(batch[: _WAY.size])
        if bool(flags & _KEYED) != (self._key is not None):
            raise BadBatch("it has a key" if self._key is None else "it has no key")
        body = batch[self.overhead :]
        if self._key is not None:
            mac = batch[HEAD_BYTES : self.overhead]
            if not compare_digest(self._mac(batch[:HEAD_BYTES], body), mac):
                raise BadBatch("its key is another one")
        to_all, to_one, sent = _NUMBERS.unpack_from(batch, _WAY.size)
        flags &= ~_KEYED
        return Head(sender, incarnation, receiver, to_all, to_one, sent, flags), body


def open_entries(body: bytes, decoder: Decoder | None = None) -> list[Frame]:
    """Take the entries of a batch apart.

    :param decoder: one to use, which is of no more use if this raises; ``None`` for a new one.
    :raises BadBatch: they do not parse, or the last one is incomplete.
    """
    if decoder is None:
        decoder = Decoder(ENTRY_DIGITS, MOST_BATCH_BYTES)
    try:
        entries = decoder.feed(body)
    except FramingError as exc:
        raise BadBatch(str(exc)) from None
    if decoder.error is not None:
        raise BadBatch(str(decoder.error))
    if decoder.held:
        raise BadBatch("its last entry is incomplete")
    return entries


def message_entry(target: str, frame: bytes) -> bytes | None:
    """A ready frame for ``target``; ``None`` if the target cannot be a command."""
    try:
        return build_command(target, frame, ENTRY_DIGITS)
    except ValueError:
        return None


def record_entry(kind: bytes, record: bytes) -> bytes:
    """A record of one kind."""
    return build_raw(kind + record, ENTRY_DIGITS)


def portions(entries: list[bytes], most: int) -> Iterator[list[bytes]]:
    """The entries in portions of ``most`` bytes; each entry is smaller than that."""
    portion: list[bytes] = []
    size = 0
    for entry in entries:
        if size + len(entry) > most and portion:
            yield portion
            portion, size = [], 0
        portion.append(entry)
        size += len(entry)
    if portion:
        yield portion
