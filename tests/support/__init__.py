"""What the tests share: raw peers, crowds, event collectors, child processes, a real 2.0.2.

Nothing in here imports :mod:`hisock`, so that a test never checks the library with itself.
"""

from __future__ import annotations

from support.crowd import Crowd
from support.events import Events
from support.old import OldHiSock
from support.process import Program, free_port
from support.wire import Frame, Peer, command_frame, frame, raise_descriptor_limit

__all__ = [
    "Crowd",
    "Events",
    "Frame",
    "OldHiSock",
    "Peer",
    "Program",
    "command_frame",
    "frame",
    "free_port",
    "raise_descriptor_limit",
]
