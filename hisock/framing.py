"""Bytes to frames and back: the wire format, and the choice between two implementations of it.

A connection is a stream of frames, both ways::

    frame   = header payload
    header  = length of the payload in bytes: decimal ASCII digits, then spaces up to header_len
    payload = "$CMD$" command [ "$MSG$" message ]     a command
            | anything else                           raw; the reserved frames are of this kind

- The command ends at the first ``$MSG$``; what follows is the message, whatever bytes it holds.
  A command is UTF-8, is not empty and holds no ``$...$`` pair (two dollar signs with something
  between them).
- A header is one or more digits and then only spaces. ``header_len`` is 1 to 20, 16 unless both
  ends agree on something else.

A :class:`Decoder` returns each frame as a tuple:

=========================== =====================
payload                     frame
=========================== =====================
``$CMD$move$MSG$north``     ``("move", b"north")``
``$CMD$move$MSG$``          ``("move", b"")``
``$CMD$move``               ``("move", None)``
``$KEEPALIVE$``, ``hello``  ``(None, <payload>)``
an empty payload            ``(None, b"")``
=========================== =====================

**Errors.** Whether a header is one is decided when all of it has come, whether a command is
allowed when its frame is complete. Frames complete before the fault are never lost: the call that
completes some returns them, the error stands in ``Decoder.error``, and the next call raises it; a
call that completes none raises at once. From then on every call raises that error. How the stream
was split changes only which call returns a frame, never the frames, the error or its position.

**Memory.** A length that a peer claims allocates nothing. For an incomplete frame a decoder holds
at most about twice what has come of it, or the block of the last large message, which a longer one
gets; ``Decoder.held`` tells how much that is. Between frames it holds nothing. What decoders share,
a :class:`Scratch`, holds one receive buffer and at most one block of 4 MiB for all of them. What
:meth:`Decoder.get_buffer` returns is for one read: the compiled core receives a long message of a
command where it stays, so whoever writes there after ``buffer_updated`` may change what was
returned.

**Two implementations** behave alike, byte for byte: a compiled one, and one in Python that is used
where the extension modules were not built or the environment has ``HISOCK_PURE_PYTHON=1``.
:data:`IMPLEMENTATION` tells which is in use: ``"compiled"`` or ``"python"``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hisock._framing_common import DEFAULT_HEADER_LEN, DEFAULT_MAX_FRAME_SIZE, MAX_HEADER_LEN
from hisock.exceptions import FramingError

if TYPE_CHECKING:
    from hisock._entries_py import EntryGatherer, EntryQueue, all_commands, deliver
    from hisock._framing_common import build_header, check_command
    from hisock._framing_py import Decoder, Frame, Scratch, build_command, build_raw
    from hisock._gathered_py import Gathered
    from hisock._messages_py import (
        encoder,
        handler_of_one,
        handler_of_two,
        send_call,
        send_reply,
        split_call,
        split_reply,
    )
    from hisock._outbox_py import Outbox, Recipient, fan_out, fan_out_joined, send_client
    from hisock._publishing_py import Broadcaster, send_group, send_room
    from hisock._turn_py import Flusher, FlushQueue, Reader

    IMPLEMENTATION: str
else:
    Frame = tuple[str | None, bytes | None]
    IMPLEMENTATION = "compiled"
    if os.environ.get("HISOCK_PURE_PYTHON", "") not in ("", "0"):
        IMPLEMENTATION = "python"
    else:
        try:
            from hisock import _entries, _messages, _turn
            from hisock import _framing as _core
            from hisock import _outbox as _out

            _publishing = _sending = _out
        except ImportError:
            IMPLEMENTATION = "python"
    if IMPLEMENTATION == "python":
        from hisock import _entries_py as _entries
        from hisock import _framing_py as _core
        from hisock import _messages_py as _messages
        from hisock import _messages_py as _sending
        from hisock import _outbox_py as _out
        from hisock import _publishing_py as _publishing
        from hisock import _turn_py as _turn

    Decoder = _core.Decoder
    EntryGatherer = _entries.EntryGatherer
    EntryQueue = _entries.EntryQueue
    FlushQueue = _turn.FlushQueue
    Flusher = _turn.Flusher
    Gathered = _out.Gathered
    Outbox = _out.Outbox
    Broadcaster = _publishing.Broadcaster
    Reader = _turn.Reader
    Recipient = _out.Recipient
    Scratch = _core.Scratch
    all_commands = _entries.all_commands
    build_command = _core.build_command
    build_header = _core.build_header
    build_raw = _core.build_raw
    check_command = _core.check_command
    deliver = _entries.deliver
    fan_out = _out.fan_out
    fan_out_joined = _out.fan_out_joined
    send_client = _out.send_client
    send_group = _publishing.send_group
    encoder = _messages.encoder
    handler_of_one = _messages.handler_of_one
    handler_of_two = _messages.handler_of_two
    send_call = _sending.send_call
    send_reply = _sending.send_reply
    send_room = _publishing.send_room
    split_call = _messages.split_call
    split_reply = _messages.split_reply

__all__ = [
    "DEFAULT_HEADER_LEN",
    "DEFAULT_MAX_FRAME_SIZE",
    "IMPLEMENTATION",
    "MAX_HEADER_LEN",
    "Broadcaster",
    "Decoder",
    "EntryGatherer",
    "EntryQueue",
    "FlushQueue",
    "Flusher",
    "Frame",
    "FramingError",
    "Gathered",
    "Outbox",
    "Reader",
    "Recipient",
    "Scratch",
    "all_commands",
    "build_command",
    "build_header",
    "build_raw",
    "check_command",
    "deliver",
    "encoder",
    "fan_out",
    "fan_out_joined",
    "handler_of_one",
    "handler_of_two",
    "send_call",
    "send_client",
    "send_group",
    "send_reply",
    "send_room",
    "split_call",
    "split_reply",
]
