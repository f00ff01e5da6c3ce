"""What an outbox in Python has to write: pieces, joined into chunks."""

from __future__ import annotations

from hisock._framing_common import BY_REFERENCE, MOST_JOINED

#: What is in a tuple is not to be copied.
QueuedBytes = bytes | tuple[bytes]


def piece_of(data: bytes) -> QueuedBytes:
    """Return what is queued of a frame, or of a message: long ones are kept by reference."""
    return (data,) if len(data) >= BY_REFERENCE and type(data) is bytes else data


def joined(pieces: list[QueuedBytes]) -> list[bytes]:
    """Join the pieces but for those kept by reference."""
    try:
        return _cut(b"".join(pieces)) if pieces else []  # type: ignore[arg-type]  # fails for a tuple
    except TypeError:
        return _joined_between(pieces)


def _joined_between(pieces: list[QueuedBytes]) -> list[bytes]:
    chunks: list[bytes] = []
    run: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            run.append(piece)
            continue
        if run:
            chunks += _cut(b"".join(run))
            run = []
        chunks.append(piece[0])
    if run:
        chunks += _cut(b"".join(run))
    return chunks


def _cut(data: bytes) -> list[bytes]:
    """Small frames, cut up, so that nothing but a large message is a long chunk."""
    if len(data) <= MOST_JOINED:
        return [data]
    return [data[at : at + MOST_JOINED] for at in range(0, len(data), MOST_JOINED)]
