"""What ``hisock connect`` understands: one line, one thing to do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec

from hisock import AsyncHiSockClient, ClientInfo
from hisock._cli.messages import Messages
from hisock._cli.usage import Failed, Unusable
from hisock._core.reporting import one_line
from hisock.exceptions import HiSockError, InvalidTypeCast, RemoteError

HELP: Final = {
    "COMMAND [MESSAGE]": "send; a message that begins with { or [ is JSON, any other text",
    "/call COMMAND [MESSAGE]": "call, and show the reply",
    "/stream COMMAND [MESSAGE]": "call, and show each part of the reply",
    "/send COMMAND [MESSAGE]": "send, also a command that begins with a slash",
    "/text COMMAND MESSAGE": "send the message as it stands, even if it looks like JSON",
    "/recv COMMAND [SECONDS]": "wait for a message that came since the last line (5 seconds)",
    "/wait SECONDS": "show what comes meanwhile",
    "/name [NAME]": "take another name; without one, that of the beginning",
    "/group [GROUP]": "move to another group; likewise",
    "/who NAME": "ask the server for a client, by name or IP:PORT",
    "/help": "show this",
    "/quit": "leave; so does the end of the input",
}


#: Messages that ``/recv`` finds of those that came since the last line.
MOST_ARRIVED: Final = 10_000
#: Words of the server that are completed, of each kind.
MOST_WORDS: Final = 1000


class TypedLine(NamedTuple):
    """A line taken apart.

    :ivar verb: what to do, as ``"call"``; ``"send"`` for a line without a slash.
    :ivar command: the word after it; ``""`` for none.
    :ivar rest: the remaining text; ``None`` for none.
    """

    verb: str
    command: str
    rest: str | None


def parse(line: str) -> TypedLine | None:
    """Take a line apart; ``None`` for an empty one and for a comment, ``# ...``."""
    line = line.strip("\r\n").lstrip()
    if not line.strip() or line.startswith("#"):
        return None
    verb = "send"
    if line.startswith("/"):
        word, _, line = line[1:].partition(" ")
        verb, line = word.strip(), line.lstrip()
    command, space, rest = line.partition(" ")
    return TypedLine(verb, command.strip(), rest if space and rest else None)


def content(text: str | None) -> Any:
    """What is sent for a message as typed.

    :raises Unusable: it begins like JSON, and is none.
    """
    if text is None or text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise Unusable(f"not JSON: {exc}; to send it as it stands: /text ...") from None


def _seconds(text: str | None, default: float) -> float:
    """
    :raises Unusable: that is no number of seconds.
    """
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise Unusable(f"{text!r} is no number of seconds")
    return seconds


class Shell:
    """Does what lines say, and shows what comes.

    :param client: the connected client.
    :param messages: shows what happens.
    :param timeout: seconds that the reply to a call may take.
    :ivar commands: commands that were sent or have come, for completion.
    :ivar names: names of clients that were announced.
    """

    def __init__(self, client: AsyncHiSockClient, messages: Messages, timeout: float) -> None:
        self._client = client
        self._messages = messages
        self._timeout = timeout
        self.commands: set[str] = set()
        self.names: set[str] = set()
        self.leaving = False
        #: Commands of the last messages, for ``/recv``: a prompt may be left alone for days.
        self._arrived: deque[str] = deque(maxlen=MOST_ARRIVED)
        self._changed = asyncio.Condition()
        self._verbs: dict[str, Callable[[TypedLine], Awaitable[None]]] = {
            "send": self._send,
            "text": self._send_text,
            "call": self._call,
            "stream": self._stream,
            "recv": self._recv,
            "wait": self._wait,
            "name": self._rename,
            "group": self._move,
            "who": self._who,
            "help": self._help,
            "quit": self._quit,
        }
        client.on("client_connect")(self._joined)
        client.on("client_disconnect")(self._left)

    async def show_messages(self) -> None:
        """Show what comes, until the connection ends."""
        with contextlib.suppress(HiSockError):  # why it ended is told by what waits for it
            async for command, message in self._client:
                self._messages.received(command, message)
                async with self._changed:
                    if command is not None:
                        self._complete(self.commands, command)
                        self._arrived.append(command)
                        self._changed.notify_all()

    def _complete(self, known: set[str], word: str) -> None:
        """Complete a word from now on, unless the server has sent very many."""
        if len(known) < MOST_WORDS:
            known.add(word)

    def _joined(self, info: ClientInfo) -> None:
        if info.name:
            self._complete(self.names, info.name)
        self._messages.event("joined", _who_is(info), client=info.as_dict())

    def _left(self, info: ClientInfo) -> None:
        self.names.discard(info.name or "")
        self._messages.event("left", _who_is(info), client=info.as_dict())

    async def run(self, text: str) -> bool:
        """Do what a line says; what goes wrong is shown.

        :returns: whether it went well.
        """
        line = parse(text)
        if line is None:
            return True
        try:
            do = self._verbs.get(line.verb)
            if do is None:
                raise Unusable(f"there is no /{line.verb}; /help lists what there is")
            if line.verb != "recv":
                self._arrived.clear()
            await do(line)
        except asyncio.TimeoutError:
            self._messages.error(f"no reply came within {self._timeout:g} seconds")
            return False
        except RemoteError as exc:
            self._messages.error(f"the server answered with an error: {one_line(exc, 2000)}")
            return False
        except (Unusable, Failed, HiSockError, InvalidTypeCast, OSError, ValueError) as exc:
            self._messages.error(one_line(exc, 2000))
            return False
        return True

    def _named(self, line: TypedLine, usage: str) -> str:
        """The command of a line.

        :raises Unusable: it has none.
        """
        if not line.command:
            raise Unusable(f"the command is missing: {usage}")
        return line.command

    async def _send(self, line: TypedLine) -> None:
        command = self._named(line, "/send COMMAND [MESSAGE]")
        self._client.send(command, content(line.rest))
        self.commands.add(command)
        await self._client.drain()

    async def _send_text(self, line: TypedLine) -> None:
        self._client.send(self._named(line, "/text COMMAND MESSAGE"), line.rest)
        await self._client.drain()

    async def _call(self, line: TypedLine) -> None:
        command = self._named(line, "/call COMMAND [MESSAGE]")
        self.commands.add(command)
        begun = time.perf_counter()
        reply = await self._client.call(command, content(line.rest), timeout=self._timeout)
        self._messages.reply(command, reply, time.perf_counter() - begun)

    async def _stream(self, line: TypedLine) -> None:
        command = self._named(line, "/stream COMMAND [MESSAGE]")
        self.commands.add(command)
        begun = time.perf_counter()
        parts = self._client.stream(command, content(line.rest), timeout=self._timeout)
        async with contextlib.aclosing(parts):
            async for part in parts:
                self._messages.reply(command, part, time.perf_counter() - begun)

    async def _recv(self, line: TypedLine) -> None:
        command = self._named(line, "/recv COMMAND [SECONDS]")
        seconds = _seconds(line.rest, 5.0)
        async with self._changed:
            try:
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: command in self._arrived), seconds
                )
            except asyncio.TimeoutError:
                raise Failed(f"no {command!r} came within {seconds:g} seconds") from None
            self._arrived.remove(command)

    async def _wait(self, line: TypedLine) -> None:
        seconds = _seconds(line.command, 1.0)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._client.wait_closed(), seconds)

    async def _rename(self, line: TypedLine) -> None:
        self._client.change_name(_whole(line) or None)

    async def _move(self, line: TypedLine) -> None:
        self._client.change_group(_whole(line) or None)

    async def _who(self, line: TypedLine) -> None:
        if not line.command:
            raise Unusable("the name is missing: /who NAME")
        found = await self._client.get_client(_whole(line), timeout=self._timeout)
        assert isinstance(found, ClientInfo)
        self._messages.event("client", _who_is(found), client=found.as_dict())

    async def _help(self, line: TypedLine) -> None:
        self._messages.help(HELP)

    async def _quit(self, line: TypedLine) -> None:
        self.leaving = True


def _whole(line: TypedLine) -> str:
    """Both words of a line: names may hold spaces."""
    return line.command if line.rest is None else f"{line.command} {line.rest}"


def _who_is(info: ClientInfo) -> str:
    text = f"{info.name or 'a client without a name'} at {info.ip}"
    return one_line(text if info.group is None else f"{text}, group {info.group}")
