"""The connection of an administrator, as the server's ``admin_token`` allows it."""

from __future__ import annotations

import json
import ssl
from typing import Any

from hisock._cli.usage import Failed
from hisock._client.asyncio_driver import AsyncioDriver
from hisock._client.connector import ServerConnector
from hisock._client.options import ClientOptions
from hisock._runtime.sockets import RemoteAddress, host_of
from hisock.framing import DEFAULT_MAX_FRAME_SIZE

#: Seconds that an answer may take.
PATIENCE = 10.0


class Administrator:
    """Asks a server, and kicks its clients. Made by :meth:`connect`."""

    def __init__(self, driver: AsyncioDriver) -> None:
        self._driver = driver

    @classmethod
    async def connect(
        cls, address: RemoteAddress, tls: ssl.SSLContext | None, token: str, header_len: int
    ) -> Administrator:
        """Connect to a server.

        :raises ConnectionRejected: the token is wrong, or the server has none.
        :raises Failed: the server is older than this.
        """
        options = ClientOptions(
            name=None,
            group=None,
            header_len=header_len,
            cache_size=-1,
            max_message_size=DEFAULT_MAX_FRAME_SIZE,
            timeout=PATIENCE,
            codec="json",
            token=None,
            reconnect=None,
            offline_buffer=0,
            admin=token,
        )
        host = host_of(address) if tls else None
        driver = AsyncioDriver(ServerConnector(address, tls, host), options)
        await driver.connect()
        if "admin" not in (driver.session.features or ()):
            await driver.close(True)
            raise Failed("the server is older than this command and has no administrators")
        return cls(driver)

    async def stats(self) -> dict[str, Any]:
        """The figures of the server and of its handlers."""
        return await self._ask("stats", {})

    async def clients(self, limit: int) -> dict[str, Any]:
        """How many clients there are, and those with the largest backlogs."""
        return await self._ask("clients", {"limit": limit})

    async def kick(self, client: str) -> dict[str, Any]:
        """Disconnect a client.

        :param client: its name or ``ip:port``.
        :raises RemoteError: there is no such client.
        """
        return await self._ask("kick", {"client": client})

    async def _ask(self, command: str, question: dict[str, Any]) -> dict[str, Any]:
        encoded = json.dumps(question).encode()
        answer: dict[str, Any] = json.loads(await self._driver.call(command, encoded, PATIENCE))
        return answer

    async def close(self) -> None:
        """Say goodbye."""
        await self._driver.close(True)
