"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

_UCRED = struct.Struct("3i")


def is_same_user(transport: asyncio.BaseTransport) -> bool:
    """Whether a process of this user is at the other end.

    Where the system has no SO_PEERCRED, the permissions of the directory have to do.
    """
    if not hasattr(socket, "SO_PEERCRED"):  # pragma: no cover - measured on Linux
        return True
    sock = transport.get_extra_info("socket")
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return bool(_UCRED.unpack(data)[1] == os.getuid())
