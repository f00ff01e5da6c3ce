"""Buying and selling; prices go up with what is bought, and come down with time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from accounts import Village

import hisock
from hisock.routing import Context, Router

CallNext = Callable[[], Awaitable[object]]
PRICES = {"lamp": 4, "rope": 2, "map": 7}


def market(server: Village) -> Router:
    """The commands of the market."""
    router = Router(prefix="market.")
    prices = dict(PRICES)

    @router.middleware
    async def only_at_the_market(
        context: Context, call_next: Callable[[], Awaitable[object]]
    ) -> object:
        assert context.client is not None
        if context.client.group != "market":
            raise hisock.RemoteError("go to the market first", code="place")
        return await call_next()

    @router.error_handler
    def failed(exc: Exception, context: Context) -> dict[str, str]:
        if isinstance(exc, KeyError):
            return {"error": f"there is no {exc.args[0]}"}
        raise exc

    @router.on("prices")
    def tell(client: hisock.ClientInfo) -> dict[str, int]:
        return prices

    @router.on("buy")
    async def buy(client: hisock.ClientInfo, what: str) -> dict[str, int]:
        price = prices[what]
        villager = server.session(client)
        if villager.gold < price:
            raise hisock.RemoteError("too dear", code="gold", data={"price": price})
        answer = await server.call(client, "market.sure", price, bool, timeout=10)
        if answer:
            await asyncio.sleep(1)  # it is wrapped up
            villager.gold -= price
            villager.goods[what] = villager.goods.get(what, 0) + 1
            prices[what] += 1
        return {"gold": villager.gold}

    @router.every(60)
    def calm_down() -> None:
        for what, price in prices.items():
            prices[what] = max(PRICES[what], price - 1)

    return router
