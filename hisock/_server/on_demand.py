"""What a connection keeps only once it needs it: an idle client takes little memory.

Making these for each connection also took a good part of the time of a join.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisock._core.account import Account, Use
from hisock._core.calls import CallTable, RunningCalls
from hisock._core.client_info import ClientInfo, title_of
from hisock._core.inbox import Inbox
from hisock._core.pausing import Pauses
from hisock.exceptions import ConnectionLost
from hisock.framing import Decoder, Frame, Reader

if TYPE_CHECKING:
    from hisock._server.hub import Hub


class OnDemand(Reader):
    """The part of a connection that is made when it is first used.

    Everything here runs on the loop's thread, except :attr:`calls`.

    :ivar running: what ``answering`` gives, if it was ever needed.
    :ivar aside: frames that were read, and wait until the loop has served other clients; a tuple,
        see :class:`hisock._core.inbox.Inbox`.
    """

    __slots__ = ("_account", "_calls", "_inbox", "_pauses", "aside", "hub", "running")

    info: ClientInfo

    def __init__(self, hub: Hub, decoder: Decoder) -> None:
        super().__init__(hub.events, decoder, hub.flushing)
        self.hub = hub
        self._account: Account | None = None
        self._calls: CallTable | None = None
        self._inbox: Inbox | None = None
        self._pauses: Pauses | None = None
        self.running: RunningCalls | None = None
        self.aside: tuple[Frame, ...] = ()

    def set_reading(self, reading: bool) -> None:
        """Resume or pause reading."""
        raise NotImplementedError

    @property
    def account(self) -> Account:
        """All memory that it occupies, by kind."""
        if self._account is None:
            self._account = Account(self.hub.memory)
        return self._account

    @property
    def pauses(self) -> Pauses:
        """The reasons why reading is paused."""
        if self._pauses is None:
            self._pauses = Pauses(self.set_reading)
        return self._pauses

    @property
    def inbox(self) -> Inbox:
        """Frames that wait for a handler to end, or for admission."""
        if self._inbox is None:
            use = Use.DEFERRED if self.joined else Use.ADMISSION
            self._inbox = Inbox(self.account, self.pauses, use)
        return self._inbox

    @property
    def answering(self) -> RunningCalls:
        """The calls from this client that are being handled."""
        if self.running is None:
            self.running = RunningCalls()
        return self.running

    @property
    def calls(self) -> CallTable:
        """Calls to this client that wait for replies. From any thread."""
        calls = self._calls
        if calls is None:
            with self.hub.lock:
                calls = self._calls
                if calls is None:
                    calls = CallTable(self.hub.events.codec)
                    if self._ended:  # nothing fails what is added after the end
                        calls.fail_all(self._gone())
                    self._calls = calls
        return calls

    @property
    def droppable(self) -> int:
        """Bytes that would be free at once if the connection ended."""
        return 0 if self._account is None else self._account.droppable

    @property
    def paused(self) -> bool:
        """Whether reading is paused."""
        return bool(self._pauses)

    def admitted(self) -> None:
        """The client is admitted: from now on its frames wait for handlers."""
        if self._inbox is not None:
            self._inbox.admit()

    def drop_what_waits(self) -> None:
        """Drop frames and calls, when the connection has ended."""
        if self._inbox is not None:
            self._inbox.take_all()
        self.aside = ()
        if self._account is not None:
            self._account.clear((Use.PARTIAL, Use.WEBSOCKET, Use.DEFERRED, Use.ADMISSION))
        if self.running is not None:
            self.running.cancel_streams()
        with self.hub.lock:
            calls = self._calls
        if calls is not None:
            calls.fail_all(self._gone())

    def _gone(self) -> ConnectionLost:
        return ConnectionLost(f"{title_of(self.info)} is no longer connected")
