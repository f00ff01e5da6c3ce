"""The server of the model in ``test_model_gate.py``: slow decisions, sends and calls."""

from __future__ import annotations

import asyncio
from typing import Any

from support import Events

import hisock

#: What is asked for, by the name or the token, and what the program answers.
FREE_NAMES = ["ann", "bob", "carla"]
REFUSED_NAMES = ["no", "never", "boom"]
TOKENS = ["now", "later", "false", "reject", "boom"]
LET_IN = ["now", "later"]
ROOMS = ["hall", "attic"]


class GatedServer:
    """A server that writes down what it does, and whose decisions wait while the gate is shut.

    :ivar log: what the handlers wrote down, each with the client's address.
    """

    def __init__(self, loop: Any) -> None:
        self.log = Events()
        self._gate: asyncio.Event | None = None
        self._open = True
        self.server = hisock.ThreadedHiSockServer(
            ("127.0.0.1", 0),
            max_message_size=4096,
            loop=loop,
            keepalive=False,
            announce="none",
            unique_names=True,
            change_rate=None,
            connection_rate=None,
            auth_timeout=60,
        )
        self._decide()
        self._count_and_tell()
        self._send()
        self._take_calls()
        self.server.start()

    def shut_gate(self) -> None:
        """From now on decisions wait."""
        self.server._hub.thread.post(self._set_gate, False)

    def open_gate(self) -> None:
        """All decisions go on."""
        self.server._hub.thread.post(self._set_gate, True)

    def _set_gate(self, is_open: bool) -> None:
        self._open = is_open
        if self._gate is not None and is_open:
            self._gate.set()
            self._gate = None

    async def _wait(self) -> None:
        if self._open:
            await asyncio.sleep(0)
            return
        if self._gate is None:
            self._gate = asyncio.Event()
        await self._gate.wait()

    def _decide(self) -> None:
        server = self.server

        async def later(answer: str) -> bool:
            await self._wait()
            if answer in ("reject", "never"):
                raise hisock.Reject("not today")
            if answer == "boom":
                raise LookupError("the program fails")
            return True

        @server.authenticate
        def authenticate(token: str | None) -> Any:
            return token != "false" if token in ("now", "false") else later(str(token))

        async def kick(client: hisock.ClientInfo) -> bool:
            await self._wait()
            server.disconnect_client(client, call_func=True)
            return True

        @server.authorize_change
        def authorize_change(client: hisock.ClientInfo, name: str | None) -> Any:
            if name == "out":
                return kick(client)
            return name != "no" if name in ("ann", "no", None) else later(name)

    def _count_and_tell(self) -> None:
        server, log = self.server, self.log

        def alone(name: str | None) -> bool:
            return name is None or server.get_all_clients("name").count(name) == 1

        @server.on("join")
        def join(client: hisock.ClientInfo) -> None:
            log.add(client.ip, "join", client.name, alone(client.name))

        @server.on("leave")
        def leave(client: hisock.ClientInfo) -> None:
            log.add(client.ip, "leave")

        @server.on("name_change")
        def name_change(client: hisock.ClientInfo, old: str | None, new: str | None) -> None:
            log.add(client.ip, "name", new, alone(new))

    def _send(self) -> None:
        server, log = self.server, self.log
        departed = hisock.ClientInfo(("127.0.0.1", 1))

        @server.on("say")
        def say(client: hisock.ClientInfo, number: str) -> None:
            to = server.get_all_clients()[::2]
            count = server.send_many([departed, *to], "said", number)
            log.add(client.ip, "say", number, tuple(info.ip for info in to), count)

        @server.on("hint")
        def hint(client: hisock.ClientInfo, number: str) -> None:
            count = server.send_all_clients("hint", number, volatile=True)
            log.add(client.ip, "hint", number, count)

        @server.on("state")
        def state(client: hisock.ClientInfo, number: str) -> None:
            members = tuple(server.get_all_clients("ip"))
            server.send_all_clients("state", number, latest="state")
            log.add(client.ip, "state", number, members)

        @server.on("enter")
        def enter(client: hisock.ClientInfo, room: str) -> None:
            server.join_room(client, room)

        @server.on("mark")
        def mark(client: hisock.ClientInfo, message: str) -> None:
            server.send_client(client, "mark", message)

    def _take_calls(self) -> None:
        server, log = self.server, self.log

        @server.on("plain")
        def plain(client: hisock.ClientInfo, number: str) -> str:
            log.add(client.ip, "called", number)
            return number

        @server.on("slow")
        async def slow(client: hisock.ClientInfo, number: str) -> str:
            log.add(client.ip, "called", number)
            await self._wait()
            return number

        @server.on("fails")
        async def fails(client: hisock.ClientInfo, number: str) -> None:
            log.add(client.ip, "called", number)
            await self._wait()
            raise hisock.RemoteError(number)

        @server.on("ask me", concurrent=True)
        async def ask_me(client: hisock.ClientInfo, number: str) -> None:
            log.add(client.ip, "asked", number)
            outcome = "cancelled"
            try:
                timeout = 0.02 if number.endswith("ignored") else 30
                outcome = await server.call(client, "answer", number, str, timeout=timeout)
            except (hisock.ConnectionLost, hisock.ClientNotFound):
                outcome = "lost"
            except TimeoutError:
                outcome = "timeout"
            except asyncio.TimeoutError:  # another class on Python 3.10
                outcome = "timeout"
            finally:
                log.add(client.ip, "outcome", number, outcome)

    def remains(self) -> dict[str, Any]:
        """What is still kept of clients; empty values when all are gone."""
        hub = self.server._hub
        registry = hub.registry
        return {
            "connections": len(hub.connections),
            "names": dict(registry._by_name),
            "groups": dict(registry.groups),
            "rooms": dict(registry.rooms.by_name),
            "addresses": dict(registry._by_ip),
            "resumable": dict(hub._resumable._connections),
            "decisions": dict(hub.decisions._waiting),
            "bytes": hub.memory.size,
        }
