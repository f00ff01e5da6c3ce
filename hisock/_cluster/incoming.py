"""Opening what has come: batches, the records in them, and entries that came in pieces."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any, Final

import msgspec

from hisock._cluster.batch import BadBatch, Head, Sealer, open_entries
from hisock._cluster.link import MOST_BATCH_BYTES
from hisock._cluster.peers import OtherNode
from hisock._cluster.records import DECODERS, Piece
from hisock._core.log_fields import fields
from hisock._core.reporting import LogLimit, one_line
from hisock._framing_common import ENTRY_DIGITS
from hisock.framing import Decoder, Frame, all_commands

logger = logging.getLogger("hisock.cluster")

#: Strangers that are remembered, so that each is asked and logged only once a second; and as many
#: publishers.
MOST_STRANGERS: Final = 1024
#: Seconds that clocks may differ, and a batch may be old, where there is a key.
MOST_SKEW: Final = 60.0


class Incoming:
    """Opens batches, and counts and logs those that it refuses.

    :param me: the id of this node.
    :param counts: counts ``refused`` batches, ``repeated`` ones, and records of ``unknown`` kinds.
    """

    def __init__(self, sealer: Sealer, me: str, counts: Counter[str]) -> None:
        self._sealer = sealer
        self._me = me
        self._counts = counts
        self._log_limit = LogLimit()
        self._decoder = Decoder(ENTRY_DIGITS, MOST_BATCH_BYTES)
        #: The number of the last batch of each publisher.
        self._publishers: dict[str, int] = {}

    def open(self, batch: bytes, now: float) -> tuple[Head, list[Any], int, bool] | None:
        """A batch as its head, its records, how many entries it has, and whether all are messages.

        A record that is a message for many is ``(target, frame)``; those of unknown kinds are left
        out.

        :returns: ``None`` if it is refused, or for others.
        """
        try:
            head, body = self._sealer.open(batch)
            if head.sender == self._me or head.receiver not in ("", self._me):
                return None
            entries = open_entries(body, self._decoder)
            records = self._records(entries)
            return head, records, len(entries), records is entries
        except (BadBatch, msgspec.DecodeError) as exc:
            self._refuse(len(batch), exc, now)
            return None

    def unpack(self, node: OtherNode, piece: Piece, now: float) -> list[Any]:
        """The record of an entry that is complete with this piece; none if it is refused."""
        try:
            entry = node.piece(piece)
            return [] if entry is None else self._records(_one_entry(entry))
        except (BadBatch, msgspec.DecodeError) as exc:
            self._refuse(len(piece.data), exc, now)
            return []

    def _refuse(self, size: int, exc: Exception, now: float) -> None:
        self._counts["refused"] += 1
        self._decoder = Decoder(ENTRY_DIGITS, MOST_BATCH_BYTES)  # it may hold a part of an entry
        if self._log_limit.permits(now):
            withheld = self._log_limit.reset() if self._log_limit.withheld else 0
            text = one_line(str(exc), 200)
            logger.warning(
                "a batch of %d bytes is dropped: %s (%d more before it)",
                size,
                text,
                withheld,
                extra=fields("cluster_batch_dropped", reason=text, withheld=withheld),
            )

    def _records(self, entries: list[Frame]) -> list[Any]:
        if all_commands(entries):  # the common case: messages only
            return entries
        records: list[Any] = []
        for entry in entries:
            command, payload = entry
            if command is not None:
                records.append(entry)
                continue
            data = payload or b""
            decode = DECODERS.get(data[:1])
            if decode is None:
                self._counts["unknown"] += 1
            else:
                records.append(decode(memoryview(data)[1:]))
        return records

    def is_new(self, head: Head) -> bool:
        """Whether a publisher's batch is neither repeated nor, where there is a key, old."""
        last = self._publishers.get(head.sender)
        if last is None:
            old = abs(time.time() - head.sent / 1000) > MOST_SKEW
            repeated = old and self._sealer.keyed
        else:
            repeated = head.to_all <= last
        if repeated:
            self._counts["repeated"] += 1
            return False
        self._publishers.pop(head.sender, None)
        self._publishers[head.sender] = head.to_all
        if len(self._publishers) > MOST_STRANGERS:
            del self._publishers[next(iter(self._publishers))]
        return True


def _one_entry(entry: bytes) -> list[Frame]:
    decoder = Decoder(ENTRY_DIGITS, len(entry))
    entries = decoder.feed(entry)
    if decoder.error is not None or len(entries) != 1:
        raise BadBatch("its pieces are no entry")
    return entries
