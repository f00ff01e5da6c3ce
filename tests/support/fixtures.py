"""The types of what the fixtures of ``conftest.py`` give to tests.

hisock is imported for type checkers only, as everywhere in this folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from support.process import Program
from support.wire import Peer

if TYPE_CHECKING:
    import hisock

#: ``make_server``: a threaded server that is not started yet.
MakeServer = Callable[..., "hisock.ThreadedHiSockServer"]
#: ``start_server``: one that runs.
StartServer = Callable[..., "hisock.ThreadedHiSockServer"]
#: ``make_client``: a threaded client that is not started yet.
MakeClient = Callable[..., "hisock.ThreadedHiSockClient"]
#: ``make_peer``: a raw peer that has joined.
MakePeer = Callable[..., Peer]
#: ``run_on_ours``: a script in a process of its own.
Run = Callable[..., Program]
