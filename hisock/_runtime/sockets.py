"""Sockets for every kind of address: ``(host, port)``, IPv6, Unix paths, existing sockets."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hisock._core.addresses import format_addr, parse_addr
from hisock._runtime.holders import holder_of

try:
    import fcntl
    import termios
except ImportError:  # pragma: no cover - on Windows
    _QUEUED = None
else:
    # Linux calls it SIOCOUTQ. Other systems have the name for terminals only.
    _QUEUED = termios.TIOCOUTQ if sys.platform == "linux" else None

#: ``(host, port)``, the path of a Unix socket, or a socket that is bound already.
Address = tuple[str, int] | str | Path | socket.socket
#: What a client can connect to.
RemoteAddress = tuple[str, int] | str | Path


class ListeningSocket(NamedTuple):
    """A socket that listens, and where.

    :ivar addr: ``(host, port)``, or the path of a Unix socket.
    :ivar inode: of that path; 0 where there is none, or where another process removes it.
    :ivar shared: whether other processes accept from the same address.
    """

    sock: socket.socket
    addr: Any
    inode: int
    shared: bool = False

    def close(self) -> None:
        """Close it, and remove its path unless another server has taken that over."""
        if self.sock.fileno() == -1:
            return  # closed already: the path may belong to another socket with the same inode
        mine = self.inode and _inode_of(self.addr) == self.inode
        self.sock.close()
        if mine:
            with contextlib.suppress(OSError):
                os.unlink(self.addr)


@lru_cache
def _knowing(family: int) -> type[socket.socket]:
    known = {"__slots__": (), "family": family, "type": socket.SOCK_STREAM}
    return type("socket", (socket.socket,), known)


def tell_family(sock: socket.socket, family: int | None = None) -> None:
    """Have a stream socket know its family, and that it is one.

    A socket makes members of two enumerations of what the system says, each time that it is asked;
    Python asks a listening socket for each that it accepts, and loops ask that again.

    :param family: the same, if it is known already.
    """
    if type(sock) is socket.socket:
        sock.__class__ = _knowing(sock.family if family is None else family)


def path_inode(sock: socket.socket) -> int:
    """The inode of the path that a Unix socket is bound to; 0 for others."""
    return _inode_of(sock.getsockname()) if is_unix(sock) else 0


def _inode_of(path: Any) -> int:
    try:
        return os.stat(path).st_ino
    except (OSError, TypeError, ValueError):
        return 0


def listen(addr: Address | list[Address]) -> list[ListeningSocket]:
    """Sockets that listen at an address, or at each of a list of them.

    :raises OSError: an address is in use, or is not one of this machine.
    :raises TypeError: that is no address.
    """
    addresses = addr if isinstance(addr, list) else [addr]
    if not addresses:
        raise TypeError("addr is an empty list; give at least one address to listen on")
    listeners: list[ListeningSocket] = []
    try:
        listeners.extend(_listen(one) for one in addresses)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listen(addr: Address) -> ListeningSocket:
    listener = bind(addr)
    if listener is not addr:  # the program may want to pickle its own, whose class is the key
        tell_family(listener)
    start_listening(listener)
    return ListeningSocket(listener, local_address(listener), path_inode(listener))


def bind(addr: Address) -> socket.socket:
    """A socket that is bound to an address and does not listen yet.

    :raises OSError: the address is in use, or is not one of this machine.
    :raises TypeError: that is no address.
    """
    if isinstance(addr, socket.socket):
        return addr
    if isinstance(addr, (str, Path)):
        return _bind_unix(str(addr))
    return _bind_inet(addr)


def start_listening(listener: socket.socket) -> None:
    """Listen at a bound socket, without blocking."""
    if not is_unix(listener):
        # Accepted sockets inherit it. asyncio sets it only on those whose protocol is named.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.listen(socket.SOMAXCONN)
    listener.setblocking(False)


def bind_beside(sock: socket.socket) -> socket.socket:
    """Another socket at the same address and port; both need SO_REUSEPORT (Linux)."""
    beside = socket.socket(sock.family, sock.type, sock.proto)
    try:
        beside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        beside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        beside.bind(sock.getsockname())
    except BaseException:
        beside.close()
        raise
    return beside


def _bind_inet(addr: tuple[str, int]) -> socket.socket:
    try:
        host, port = addr[0], addr[1]
        if not isinstance(host, str) or not isinstance(port, int):
            raise TypeError
        if not 0 <= port <= 65535:
            raise OverflowError("a port is 0 to 65535")
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as exc:
        raise TypeError(
            f"{addr!r} is not an address to listen on: {unresolved(addr[0], exc)}, "
            "or listen on '0.0.0.0', which is every address of this machine"
        ) from exc
    except (TypeError, LookupError, OverflowError) as exc:
        reason = f": {exc}" if str(exc) else "; expected (host, port)"
        raise TypeError(f"{addr!r} is not an address to listen on{reason}") from exc
    # A name that has both gets IPv4, because clients of 2.0.2 know nothing else.
    family, kind, proto, _, sockaddr = min(found, key=lambda info: info[0] != socket.AF_INET)
    listener = socket.socket(family, kind, proto)
    try:
        # On Windows this option would let two servers share a port.
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(sockaddr)
    except OSError as exc:
        listener.close()
        if exc.errno == errno.EADDRINUSE:
            raise _in_use(exc, (host, port)) from None
        raise
    except BaseException:
        listener.close()
        raise
    return listener


def _in_use(exc: OSError, addr: tuple[str, int]) -> OSError:
    held = holder_of(addr[1])
    by = f" by {held}" if held else ""
    return OSError(
        exc.errno,
        f"{address_text(addr)} is in use already{by}; end that program, or give another port "
        "(0 takes a free one)",
    )


def unresolved(host: str, exc: socket.gaierror | UnicodeError) -> str:
    """Why a host is no address, and what to do about it.

    :param exc: a UnicodeError for one that is no name, as it has an empty label or a long one.
    """
    why = "it is no name of a host" if isinstance(exc, UnicodeError) else exc.strerror
    return f"the host {host!r} cannot be resolved ({why}); check how it is spelt"


def unresolved_error(host: str, exc: socket.gaierror | UnicodeError) -> socket.gaierror:
    """The same as an error of connecting."""
    code = exc.errno if isinstance(exc, socket.gaierror) else socket.EAI_NONAME
    return socket.gaierror(code, unresolved(host, exc))


def why_lost(exc: Exception) -> str:
    """What ended a connection, in the same words wherever it was met.

    The system tells of a reset once, be it to a read or a write. Writes after that, as that of a
    transport behind one that passed it by, are told of a broken pipe.
    """
    if isinstance(exc, BrokenPipeError) and exc.errno == errno.EPIPE:
        exc = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    return str(exc) or type(exc).__name__


def _bind_unix(path: str) -> socket.socket:
    require_path(path)
    if not hasattr(socket, "AF_UNIX"):  # pragma: no cover - measured on Linux
        raise TypeError(f"{path!r} would be a Unix socket, which this system does not have")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            listener.bind(path)
        except OSError:
            if not is_left_over(path):
                raise
            os.unlink(path)
            listener.bind(path)
    except BaseException:
        listener.close()
        raise
    return listener


def require_path(path: str) -> None:
    """Refuse a path that looks like an address, which would silently create a Unix socket."""
    if "://" in path:
        raise TypeError(
            f"{path!r} is a URL; write (host, port), and ssl= for TLS: here it is TCP, while "
            "WebSockets are for browsers"
        )
    if os.sep in path:
        return
    if _is_host(path):
        meant = f"({path!r}, port)"
    else:
        try:
            meant = repr(parse_addr(path))
        except ValueError:
            return
    raise TypeError(f"{path!r} would be the path of a Unix socket; did you mean {meant}?")


def _is_host(text: str) -> bool:
    """Whether a text is the address of a host, or its usual name."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    return text == "localhost"


def is_left_over(path: str) -> bool:
    """Whether a path is proven to be a socket of a server that no longer runs.

    Only a datagram socket that is refused proves it. To a stream socket a live server that does
    not listen yet refuses a connection too, while to a datagram socket all that have an owner and
    are of another type say so (EPROTOTYPE). It also takes no place in a backlog.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def is_unix(sock: socket.socket) -> bool:
    return sock.family == getattr(socket, "AF_UNIX", None)


def local_address(sock: socket.socket) -> Any:
    """Where a socket is bound: ``(host, port)``, or the path of a Unix socket."""
    name = sock.getsockname()
    return name if is_unix(sock) else name[:2]


def as_given(given: Any, bound: Any) -> Any:
    """Where a socket is bound, with the host as the program named it."""
    first = given[0] if isinstance(given, list) else given
    named = isinstance(first, tuple) and isinstance(bound, tuple) and first[0] != ""
    return (first[0], bound[1]) if named else bound


def open_connection(addr: RemoteAddress, timeout: float | None) -> socket.socket:
    """A blocking socket that is connected to an address.

    :param timeout: seconds to wait; ``None`` waits as long as the system does.
    :raises OSError: nothing listens there, or no answer came in time.
    """
    if isinstance(addr, (str, Path)):
        require_path(str(addr))
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(str(addr))
        except BaseException:
            connection.close()
            raise
    else:
        try:
            connection = socket.create_connection((addr[0], addr[1]), timeout)
        except (socket.gaierror, UnicodeError) as exc:
            raise unresolved_error(addr[0], exc) from None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(None)
    return connection


def disown(sock: Any) -> None:
    """Drop this process's copy of a socket that another process uses.

    The descriptor is pointed at /dev/null instead of closed, so that objects which still hold its
    number cannot close a later file with the same one.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(nothing, sock.fileno(), inheritable=False)
        finally:
            os.close(nothing)


def unsent(sock: Any) -> int:
    """Bytes in the kernel that the peer has not acknowledged; 0 if the system does not tell."""
    if _QUEUED is None:  # pragma: no cover - measured on Linux
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), _QUEUED, bytes(4)), sys.byteorder)
    except (AttributeError, OSError, ValueError):  # it is closed
        return 0


def host_of(addr: RemoteAddress) -> str | None:
    """The host in an address; a Unix socket has none."""
    return None if isinstance(addr, (str, Path)) else addr[0]


def address_text(addr: Sequence[Any] | str | Path) -> str:
    """An address as a person writes it."""
    return str(addr) if isinstance(addr, (str, Path)) else format_addr(addr)
