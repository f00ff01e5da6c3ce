"""The village: puts the parts together, and guards them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator

from accounts import Village, Villager, accounts
from duels import Arena
from market import market
from talk import chat

import hisock
from hisock.routing import Context, Router

WARDENS_ONLY = ("warden.",)


def wardens(server: Village, used: Counter[str], seconds: dict[str, float]) -> Router:
    """The commands of wardens."""
    router = Router(prefix="warden.")

    @router.on("banish")
    def banish(client: hisock.ClientInfo, name: str) -> None:
        server.disconnect_client(name)

    @router.on("used")
    def tell(client: hisock.ClientInfo) -> dict[str, int]:
        return dict(used)

    @router.on("seconds")
    def tell_seconds(client: hisock.ClientInfo) -> dict[str, float]:
        return seconds

    return router


def make_server() -> Village:
    """A village that listens nowhere yet."""
    server: Village = hisock.HiSockServer(None, session=Villager, unique_names=True)
    used: Counter[str] = Counter()
    seconds: dict[str, float] = {}

    @server.middleware
    def measured(context: Context) -> Generator[None, object, None]:
        begun = time.perf_counter()
        used[context.command] += 1
        try:
            yield
        finally:
            took = time.perf_counter() - begun
            seconds[context.command] = seconds.get(context.command, 0.0) + took

    @server.middleware
    def guarded(context: Context) -> Generator[None, object, object]:
        client = context.client
        for_wardens = context.command.startswith(WARDENS_ONLY)
        if client is not None and for_wardens and not server.session(client).warden:
            return {"error": "you are no warden"}
        yield
        return None

    server.include(accounts(server))
    server.include(chat(server))
    server.include(market(server))
    server.include(Arena(server))
    server.include(wardens(server, used, seconds))
    return server


if __name__ == "__main__":
    make_server().start(("127.0.0.1", 5000))
