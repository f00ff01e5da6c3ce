"""Server and clients on asyncio: async handlers, and ``async for`` over what comes.

    python examples/async_chat.py

The server saves each line before it passes it on. While that waits for the disk, it serves others.
"""

import asyncio

import hisock


async def save(history: list[str], line: str) -> None:
    """Stands for a database."""
    await asyncio.sleep(0.01)
    history.append(line)


async def talk(addr: tuple[str, int], name: str, text: str) -> None:
    """Join, say something, and print what is said until both have spoken."""
    async with await hisock.async_connect(addr, name) as client:
        await client.recv("everybody is here", timeout=5)
        client.send("say", text)
        heard = []
        async for command, message in client:
            if command == "said" and message is not None:
                heard.append(message.decode())
            if len(heard) == 2:
                break
        print(f"{name} heard {sorted(heard)}", flush=True)


async def main() -> None:
    history: list[str] = []
    server = hisock.HiSockServer(("127.0.0.1", 0))

    @server.on("join")
    async def join(client: hisock.ClientInfo) -> None:
        if len(server) == 2:
            server.send_all_clients("everybody is here")

    @server.on("say")
    async def say(client: hisock.ClientInfo, text: str) -> None:
        line = f"{client.name}: {text}"
        await save(history, line)
        server.send_all_clients("said", line)

    async with server:
        await asyncio.gather(
            talk(server.addr, "Ada", "Good evening"),
            talk(server.addr, "Bob", "Hello"),
        )
    print(f"{len(history)} lines saved", flush=True)


asyncio.run(main())
