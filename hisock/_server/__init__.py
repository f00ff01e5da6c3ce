"""The server behind :class:`hisock.HiSockServer`."""
