"""The clients behind :class:`hisock.HiSockClient` and :class:`hisock.AsyncHiSockClient`."""
