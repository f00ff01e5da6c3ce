"""The pytest plugin: the fixture ``hisock_server``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hisock._testing.blocking import BlockingTestServer
    from hisock.server import HiSockServer


@pytest.fixture
def hisock_server() -> Iterator[Callable[..., BlockingTestServer]]:
    """Starts servers in memory: ``t = hisock_server(HiSockServer(None))``.

    They are closed when the test ends. An error that a handler raised fails the test, except with
    ``hisock_server(server, raise_errors=False)``.
    """
    # Not before it is needed: pytest imports plugins in every run.
    from hisock._testing.blocking import BlockingTestServer

    with ExitStack() as stack:

        def start(server: HiSockServer[Any], *, raise_errors: bool = True) -> BlockingTestServer:
            return stack.enter_context(BlockingTestServer(server, raise_errors=raise_errors))

        yield start
