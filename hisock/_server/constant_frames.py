"""The frames that are the same for every client of a server, built once."""

from __future__ import annotations

from functools import cached_property

from hisock._core import protocol
from hisock._server.options import ServerOptions


class ConstantFrames:
    """Each of them is built when it is first needed.

    :param codec: the name of the server's codec.
    """

    def __init__(self, options: ServerOptions, codec: str) -> None:
        self._options = options
        self._codec = codec

    @cached_property
    def hello(self) -> bytes:
        """The server's hello."""
        options = self._options
        interval = options.keepalive_interval if options.keepalive else None
        return protocol.build_server_hello(self._codec, options.header_len, interval)

    @cached_property
    def keepalive(self) -> bytes:
        """A keepalive."""
        return protocol.build_reserved(protocol.KEEPALIVE, header_len=self._options.header_len)

    @cached_property
    def goodbye(self) -> bytes:
        """The last frame to a client that the server disconnects."""
        return protocol.build_reserved(protocol.DISCONNECT, header_len=self._options.header_len)
