"""Tests of programs that use hisock, without sockets and without waiting.

.. code-block:: python

    async with TestServer(server) as t:
        ada = await t.connect("Ada")
        assert await ada.call("add", [19, 23], int) == 42
        await t.clock.advance(5)

:class:`BlockingTestServer` is the same for tests that are not async. With pytest, the fixture
``hisock_server`` makes one, and fails the test when a handler raises.
"""

from __future__ import annotations

from hisock._core.public import publish
from hisock._testing.blocking import BlockingClock, BlockingTestClient, BlockingTestServer
from hisock._testing.clock import Clock
from hisock._testing.recording import RecordedFrame
from hisock._testing.server import TestServer

__all__ = [
    "BlockingClock",
    "BlockingTestClient",
    "BlockingTestServer",
    "Clock",
    "RecordedFrame",
    "TestServer",
]

publish(__name__, globals(), __all__)
