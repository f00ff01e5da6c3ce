"""Makes a server a part of a cluster, by replacing what looks clients up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from hisock._cluster.asking import Answering
from hisock._cluster.config import Cluster, as_cluster
from hisock._cluster.delivery import Outgoing
from hisock._cluster.plane import Plane
from hisock._cluster.records import KNOWS_CALLS, Question
from hisock._cluster.roster import Remote
from hisock._core import call_frames
from hisock._core.client_info import ClientRef, title_of
from hisock._core.codec import Cast
from hisock._server.directory import OwnDirectory
from hisock.exceptions import ConnectionLost, NotSupported


def join(server: Any, cluster: Cluster | str) -> None:
    """Make a server a part of a cluster. Nothing connects before it runs.

    :param server: a :class:`hisock.server.HiSockServer`, before it runs.
    :raises ValueError: the URL makes no sense.
    :raises ImportError: its package is not installed.
    """
    hub = server._hub
    own = OwnDirectory(hub)
    plane = Plane(as_cluster(cluster), hub, own)
    hub.broadcast.backplane = plane
    plane.asking.client = lambda node, question, answer: _ask_client(plane, question, answer)
    server._directory = plane.directory
    reaching = Reaching(server, plane)
    server._send_otherwise = reaching.send
    server._calling = reaching.calling
    server.cluster.attach(plane.node, plane.asking)


class Reaching:
    """Sending to and calling one client, wherever it is."""

    def __init__(self, server: Any, plane: Plane) -> None:
        self._plane = plane
        self._codec = server._codec
        self._send_here = server._send_otherwise
        self._call_here = server._calling

    def send(
        self,
        client: ClientRef,
        command: str,
        content: bytes | None,
        volatile: bool,
        latest: str | None,
    ) -> None:
        """See :meth:`hisock._server.sending.Sending._send_otherwise`. From any thread."""
        remote = self._plane.directory.remote(client)
        if remote is None:
            self._send_here(client, command, content, volatile, latest)
        else:
            message = Outgoing(command, content, self._plane.hub.header_len, volatile, latest)
            self._plane.delivery.to_some([remote], message)

    @contextlib.contextmanager
    def calling(
        self,
        client: ClientRef,
        command: str,
        content: Any,
        reply_as: Any,
        timeout: float | None,
        waiter: Any,
    ) -> Iterator[Cast]:
        """See :meth:`hisock._server.receiving.Receiving._calling`."""
        remote = self._plane.directory.remote(client)
        if remote is None:
            with self._call_here(client, command, content, reply_as, timeout, waiter) as cast:
                yield cast
            return
        cast = self._codec.cast_for(reply_as)
        number = self._ask(remote, command, self._codec.encode_exactly(content), timeout, waiter)
        ended = False
        try:
            yield cast
            ended = True
        finally:
            self._plane.asking.forget(number, cancel=not ended)

    def _ask(
        self,
        remote: Remote,
        command: str,
        message: bytes | None,
        timeout: float | None,
        waiter: Any,
    ) -> int:
        if not remote.flags & KNOWS_CALLS:
            raise NotSupported(
                f"{title_of(remote.info)} does not know calls, {command!r} was not sent; "
                "use send_client()"
            )
        # Refused here as it would be there.
        call_frames.build_call(call_frames.Call(1, command, None), self._plane.hub.header_len)
        asking = self._plane.asking
        return asking.ask(remote.node, remote.number, command, message, timeout, waiter)


def _ask_client(plane: Plane, question: Question, answer: Answering) -> Any:
    """Call a client of this process for another node; returns what cancels the call."""
    header_len = plane.hub.header_len
    peer = plane.hub.registry.numbered(question.client)
    if peer is None:
        raise ConnectionLost("the client is no longer connected")
    if not peer.knows("call"):
        raise NotSupported("the client does not know calls")
    number = peer.calls.add(answer)
    call = call_frames.Call(number, question.command, question.message)
    if not peer.writer.write_control(call_frames.build_call(call, header_len)):
        peer.calls.forget(number)
        raise ConnectionLost(f"{title_of(peer.info)} is no longer connected")

    def cancel() -> None:
        peer.calls.forget(number)
        if peer.knows("cancel"):
            peer.writer.write_control(call_frames.build_cancel(number, header_len))

    return cancel
