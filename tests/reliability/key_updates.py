"""A client that sends TLS by the OpenSSL that Python has: it can agree on new keys."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import aiofastnet

from reliability.watching import MIB

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int
_SIGNATURES = {
    "TLS_client_method": (_POINTER,),
    "SSL_CTX_new": (_POINTER, _POINTER),
    "SSL_CTX_free": (None, _POINTER),
    "SSL_new": (_POINTER, _POINTER),
    "SSL_free": (None, _POINTER),
    "SSL_set_bio": (None, _POINTER, _POINTER, _POINTER),
    "SSL_connect": (_INT, _POINTER),
    "SSL_key_update": (_INT, _POINTER, _INT),
    "SSL_do_handshake": (_INT, _POINTER),
    "SSL_write": (_INT, _POINTER, ctypes.c_char_p, _INT),
    "BIO_s_mem": (_POINTER,),
    "BIO_new": (_POINTER, _POINTER),
    "BIO_read": (_INT, _POINTER, ctypes.c_char_p, _INT),
    "BIO_write": (_INT, _POINTER, ctypes.c_char_p, _INT),
}
#: A key update that asks for none in return.
_ALONE = 0


def _library() -> ctypes.CDLL:
    libraries = aiofastnet.OPENSSL_DYN_LIBS
    assert libraries is not None
    ctypes.CDLL(libraries.libcrypto, ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(libraries.libssl)
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Updating:
    """A connection over TLS 1.3 that encrypts by hand."""

    def __init__(self, library: ctypes.CDLL, context: int, sock: socket.socket) -> None:
        self._library = library
        self.sock = sock
        self.ssl = library.SSL_new(context)
        self._received, self._written = (library.BIO_new(library.BIO_s_mem()) for _ in range(2))
        library.SSL_set_bio(self.ssl, self._received, self._written)  # it owns them now
        self._buffer = ctypes.create_string_buffer(4 * MIB)
        while library.SSL_connect(self.ssl) != 1:
            sock.sendall(self._encrypted())
            data = sock.recv(65536)
            library.BIO_write(self._received, data, len(data))
        sock.sendall(self._encrypted())

    def updates(self, count: int) -> bytes:
        """So many key updates."""
        for _ in range(count):
            assert self._library.SSL_key_update(self.ssl, _ALONE) == 1
            assert self._library.SSL_do_handshake(self.ssl) == 1
        return self._encrypted()

    def record(self, data: bytes) -> bytes:
        """Some bytes in a record."""
        assert self._library.SSL_write(self.ssl, data, len(data)) == len(data)
        return self._encrypted()

    def _encrypted(self) -> bytes:
        size = self._library.BIO_read(self._written, self._buffer, len(self._buffer))
        return self._buffer.raw[: max(0, size)]


@contextmanager
def updating(sock: socket.socket) -> Iterator[Updating]:
    """Shake hands with a server at the other end of a socket; its certificate is not checked."""
    library = _library()
    context = library.SSL_CTX_new(library.TLS_client_method())
    connection = Updating(library, context, sock)
    try:
        yield connection
    finally:
        library.SSL_free(connection.ssl)
        library.SSL_CTX_free(context)
