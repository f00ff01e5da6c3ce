"""Whether a request becomes a WebSocket: pure decisions, the HTTP itself is the engines'."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from hisock._core.http import HttpRequest, WebSocket

#: What a WebSocket that carries our stream is called.
SUBPROTOCOL = "hisock.v3"
#: Bytes of a request at most, headers included.
MAX_REQUEST = 16384
_DEFAULT_PORTS = {"http": ":80", "ws": ":80", "https": ":443", "wss": ":443"}


class Ruling(NamedTuple):
    """What a request is answered with.

    :ivar status: 101 for a WebSocket, else that of the answer.
    :ivar text: the answer, for people.
    :ivar subprotocol: the one to be confirmed, where the client offers any.
    """

    status: int
    text: str
    subprotocol: str | None = None

    @property
    def accepted(self) -> bool:
        return self.status == 101

    @property
    def kind(self) -> str:
        """Why a connection ends that becomes no WebSocket; see ``ServerStats.ended``."""
        return "health" if self.status in (200, 503) else "http"


def judge(request: HttpRequest, options: WebSocket, closing: bool) -> Ruling:
    """Whether a request may become a WebSocket."""
    path = request.path
    if path == options.health:
        return Ruling(503, "closing") if closing else Ruling(200, "ok")
    if closing:
        return Ruling(503, "the server is closing")
    if options.path is not None and path != options.path:
        return Ruling(404, "there is no WebSocket at this path")
    origins = request.all("origin")
    if len(origins) > 1:
        return Ruling(400, "more than one Origin")
    if origins and not _may_connect(origins[0], request, options):
        return Ruling(403, "the page's origin is not in WebSocket(origins=...)")
    offered = _listed(request, "sec-websocket-protocol")
    if offered and SUBPROTOCOL not in offered:
        return Ruling(400, f"the subprotocol is {SUBPROTOCOL}")
    return Ruling(101, "", SUBPROTOCOL if offered else None)


def _may_connect(origin: str, request: HttpRequest, options: WebSocket) -> bool:
    if options.origins is not None:
        return options.origins == "*" or origin in options.origins
    try:
        page = urlsplit(origin)
    except ValueError:
        return False
    hosts = request.all("host")
    port = _DEFAULT_PORTS.get(page.scheme, "")
    here = [host.lower().removesuffix(port) for host in hosts]
    return bool(page.netloc) and here == [page.netloc.lower().removesuffix(port)]


def _listed(request: HttpRequest, name: str) -> list[str]:
    return [one.strip() for value in request.all(name) for one in value.split(",")]


def client_address(
    request: HttpRequest, peer: tuple[str, int], options: WebSocket
) -> tuple[str, int]:
    """The address of a client: that of its connection, or what a trusted proxy says it is.

    Of the addresses in ``X-Forwarded-For`` the last counts that is not a trusted proxy's: what
    stands before it is what the client itself says.
    """
    if not options.trusts(peer[0]):
        return peer
    said = _listed(request, "x-forwarded-for")
    for one in reversed(said):
        try:
            ip = str(ipaddress.ip_address(one))
        except ValueError:
            return peer
        if not options.trusts(ip):
            return ip, peer[1]
    return peer
