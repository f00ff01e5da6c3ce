"""Calls: commands that are answered, in both directions.

    python examples/calls.py

The client asks for prices. To sell something, the server asks the client whether it is sure.
"""

import asyncio

import hisock

PRICES = {"lamp": 30, "rope": 5}


async def main() -> None:
    server = hisock.HiSockServer(("127.0.0.1", 0))

    @server.on("price")
    def price(client: hisock.ClientInfo, item: str) -> int:
        if item not in PRICES:
            raise LookupError(f"we have no {item}")
        return PRICES[item]

    @server.on("buy")
    async def buy(client: hisock.ClientInfo, item: str) -> str:
        question = f"{item} for {PRICES[item]}?"
        if await server.call(client, "are you sure", question, bool):
            return f"one {item} for {client.name}"
        return "another time, then"

    async with server, await hisock.async_connect(server.addr, "Ada") as client:

        @client.on("are you sure")
        def are_you_sure(question: str) -> bool:
            print("The server asks:", question)
            return "rope" in question

        # Many may be under way at once.
        costs = await asyncio.gather(*(client.call("price", item, int) for item in PRICES))
        print(dict(zip(PRICES, costs, strict=True)))
        print(await client.call("buy", "rope", str))
        print(await client.call("buy", "lamp", str))
        try:
            await client.call("price", "moon", int)
        except hisock.RemoteError as error:
            print("Refused:", error)


asyncio.run(main())
