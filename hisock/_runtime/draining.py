"""Closing a transport that cannot say that nothing follows: over TLS.

asyncio takes what the other side sends after the end was said for an error, and drops what is not
written yet. So everything has to be written before.
"""

from __future__ import annotations

import asyncio

from hisock._runtime import sockets
from hisock._runtime.accepting import counts_all

#: Seconds between two looks at what is left. The system does not notify a change.
_LOOK_SECONDS = 0.01
#: How often a size is asked for while another thread changes it; an error that stays is raised.
_MOST_TRIES = 1000


def in_transport(transport: asyncio.WriteTransport) -> int:
    """Bytes that a transport holds and the operating system has not taken. From any thread."""
    if counts_all(transport):
        return int(transport.get_local_write_buffer_size())
    tries = 0
    while True:
        try:
            return transport.get_write_buffer_size()
        # Over TLS on Python 3.10: the transport below is gone.
        except AttributeError:  # pragma: no cover - measured on a newer Python
            return 0
        # asyncio adds up what waits, from 3.12 on; the loop may write meanwhile.
        except RuntimeError:
            tries += 1
            if tries == _MOST_TRIES:
                raise


def close_when_written(
    loop: asyncio.AbstractEventLoop, transport: asyncio.WriteTransport, written: bool = False
) -> None:
    """Close a transport once the other side has all that was written to it.

    The caller aborts it when that takes too long.

    :param written: whether it looked like that the last time too. The transport below the one of
        TLS has a buffer that shows only by what the system has yet to send.
    """
    if transport.is_closing():
        return
    now_written = not in_transport(transport) and not sockets.unsent(
        transport.get_extra_info("socket")
    )
    if now_written and written:
        transport.close()
    else:
        loop.call_later(_LOOK_SECONDS, close_when_written, loop, transport, now_written)
