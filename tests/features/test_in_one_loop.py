"""hisock in an event loop that belongs to somebody else: beside aiohttp, which serves HTTP."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import pytest
from aiohttp import web
from support import Peer

import hisock

from .loops import LOOPBACK, Seen, on_loops, on_one_loop, turns, within
from .wire import HandServer


def web_app(game: hisock.HiSockServer) -> web.Application:
    """A site that shows who plays, and passes on what is posted to it."""

    async def players(request: web.Request) -> web.Response:
        return web.json_response(game.get_all_clients("name"))

    async def notice(request: web.Request) -> web.Response:
        reached = game.send_all_clients("notice", await request.text())
        return web.json_response({"reached": reached})

    async def score(request: web.Request) -> web.Response:
        try:
            points = await game.call(request.match_info["player"], "score", None, int)
        except hisock.ClientNotFound:
            raise web.HTTPNotFound from None
        return web.json_response(points)

    app = web.Application()
    app.router.add_get("/players", players)
    app.router.add_get("/players/{player}/score", score)
    app.router.add_post("/notice", notice)
    return app


@on_loops
async def test_hisock_and_aiohttp_serve_on_one_loop() -> None:
    async with hisock.HiSockServer(LOOPBACK) as game:

        @game.on("top")
        async def top(client: hisock.ClientInfo, url: str) -> list[str]:
            """A handler that uses the web itself."""
            async with web_client.get(url) as answer:
                names: list[str] = await answer.json()
            return sorted(names)

        runner = web.AppRunner(web_app(game))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        url = f"http://{host}:{port}"
        async with (
            aiohttp.ClientSession() as web_client,
            await hisock.async_connect(game.addr, "Ada") as ada,
            await hisock.async_connect(game.addr, "Bob") as bob,
        ):
            ada.on("score")(lambda: 42)
            assert await bob.call("top", f"{url}/players", list[str]) == ["Ada", "Bob"]
            async with web_client.post(f"{url}/notice", data="Tea!") as answer:
                assert await answer.json() == {"reached": 2}
            assert await bob.recv("notice", str, 10) == "Tea!"
            async with web_client.get(f"{url}/players/Ada/score") as answer:
                assert await answer.json() == 42
            async with web_client.get(f"{url}/players/Eve/score") as answer:
                assert answer.status == 404
            # Both at once, many times.
            calls = [bob.call("top", f"{url}/players", list[str], 30) for _ in range(100)]
            assert await within(asyncio.gather(*calls)) == [["Ada", "Bob"]] * 100
        await runner.cleanup()


@on_loops
async def test_serve_ends_with_close() -> None:
    server = hisock.HiSockServer(LOOPBACK)
    serving = asyncio.ensure_future(server.serve())
    client = await hisock.async_connect(server.addr)
    async with client:
        server.close()
        await within(serving)
        await within(client.wait_closed())
    assert server.closed
    _can_be_bound(server.addr)
    await within(server.serve())  # a closed server has nothing to do


@on_loops
async def test_serve_ends_when_it_is_cancelled() -> None:
    seen = Seen()
    server = hisock.HiSockServer(LOOPBACK)
    serving = asyncio.ensure_future(server.serve())
    client = await hisock.async_connect(server.addr)
    client.on("force_disconnect")(lambda: seen.add("goodbye"))
    server.on("x")(lambda client: None)
    await client.call("x")
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(serving)
    await seen.until_named("goodbye")
    assert server.closed
    _can_be_bound(server.addr)
    await within(client.close())


def _can_be_bound(addr: tuple[str, int]) -> None:
    hisock.HiSockServer(addr).close()


def _holding(server: hisock.HiSockServer, seen: Seen) -> None:
    @server.on("hold")
    async def hold(client: hisock.ClientInfo) -> str:
        seen.add("began")
        try:
            await server.wait_for("go on")
        except asyncio.CancelledError:
            seen.add("cancelled")
            raise
        return "held"


@on_loops
async def test_close_with_a_timeout_lets_handlers_end() -> None:
    """It returns at once on the loop, and leaving the block waits for the end."""
    seen = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:
        _holding(server, seen)
        holder = await hisock.async_connect(server.addr)
        other = await hisock.async_connect(server.addr)
        answer = asyncio.ensure_future(holder.call("hold", None, str, 30))
        await seen.until_named("began")
        server.close(timeout=30)
        other.send("go on")
    assert await within(answer) == "held"
    assert not seen.named("cancelled")
    for client in (holder, other):
        await within(client.wait_closed())
        await within(client.close())


@on_loops
async def test_serve_ends_after_its_handlers() -> None:
    seen = Seen()
    server = hisock.HiSockServer(LOOPBACK)
    _holding(server, seen)
    serving = asyncio.ensure_future(server.serve())
    client = await hisock.async_connect(server.addr)
    client.send("hold")
    await seen.until_named("began")
    server.close(timeout=30)
    await turns(5)
    assert not serving.done()
    server.close(timeout=0.1)
    await within(serving)
    assert seen.named("cancelled")
    await within(client.close())


@on_loops
async def test_serve_that_is_cancelled_while_it_closes_leaves_nothing_open() -> None:
    seen = Seen()
    server = hisock.HiSockServer(LOOPBACK)
    _holding(server, seen)
    serving = asyncio.ensure_future(server.serve())
    client = await hisock.async_connect(server.addr)
    client.send("hold")
    await seen.until_named("began")
    server.close(timeout=30)
    await turns(5)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(serving)
    await within(client.wait_closed())
    await seen.until_named("cancelled")
    assert server.closed
    await within(client.close())


@on_loops
async def test_several_servers_and_clients_share_a_loop() -> None:
    async with hisock.HiSockServer(LOOPBACK) as first, hisock.HiSockServer(LOOPBACK) as second:
        for number, server in enumerate((first, second)):

            def which(client: hisock.ClientInfo, *, number: int = number) -> int:
                return number

            server.on("which")(which)
        async with (
            await hisock.async_connect(first.addr) as one,
            await hisock.async_connect(second.addr) as two,
        ):
            answers = [client.call("which", None, int) for client in (one, two) * 50]
            assert await within(asyncio.gather(*answers)) == [0, 1] * 50


@on_loops
async def test_a_server_runs_once() -> None:
    async with hisock.HiSockServer(LOOPBACK) as server:
        with pytest.raises(RuntimeError, match="running"):
            await within(server.serve())
        with pytest.raises(RuntimeError, match="running"):
            await within(server.__aenter__())
        # And it still does.
        server.on("x")(lambda client: "yes")
        async with await hisock.async_connect(server.addr) as client:
            assert await client.call("x", None, str) == "yes"


@on_loops
async def test_entering_a_closed_server_does_not_wait_for_ever() -> None:
    server = hisock.HiSockServer(LOOPBACK)
    server.close()
    try:
        await asyncio.wait_for(server.__aenter__(), 5)
    except asyncio.TimeoutError:
        raise AssertionError("it waits for what will never be") from None
    except RuntimeError:
        pass  # as good an answer


@on_one_loop
async def test_signals_are_left_to_whom_the_loop_belongs() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    async with hisock.HiSockServer(LOOPBACK):
        assert before == {number: signal.getsignal(number) for number in before}
    assert before == {number: signal.getsignal(number) for number in before}


@on_loops
async def test_an_error_inside_the_block_closes_the_server_and_comes_out() -> None:
    server = hisock.HiSockServer(LOOPBACK)
    clients = []

    async def fail() -> None:
        async with server:
            clients.append(await hisock.async_connect(server.addr))
            raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        await fail()
    await within(clients[0].wait_closed())
    await within(clients[0].close())
    assert server.closed


@on_loops
async def test_close_in_an_async_handler_ends_the_server() -> None:
    server = hisock.HiSockServer(LOOPBACK)

    @server.on("shut down")
    async def shut_down(client: hisock.ClientInfo) -> None:
        await turns(2)
        server.close()

    serving = asyncio.ensure_future(server.serve())
    async with await hisock.async_connect(server.addr) as client:
        client.send("shut down")
        await within(serving)
        await within(client.wait_closed())


@pytest.mark.parametrize("force", [False, True])
@on_loops
async def test_a_server_may_disconnect_clients_that_have_just_gone(force: bool) -> None:
    """The system knows of the reset already, the loop has not heard of it yet."""
    seen = Seen()
    async with hisock.HiSockServer(LOOPBACK) as server:
        server.on("join")(lambda client: seen.add("join"))
        server.on("leave")(lambda client: seen.add("leave"))
        for times in range(1, 20):
            peer = Peer(server.addr)
            peer.hello("Ada")
            await seen.until_named("join", times)
            peer.reset()
            server.disconnect_client("Ada", force=force, call_func=True)
            assert len(server) == 0
            await seen.until_named("leave", times)


@on_one_loop
async def test_a_client_may_close_when_the_server_has_just_gone() -> None:
    for _ in range(20):
        with HandServer() as server:
            client, peer = await server.serve(hisock.async_connect(server.addr))
            await turns(3)
            peer.close()
            await within(client.close())


def test_who_waits_for_a_client_hears_that_all_were_disconnected() -> None:
    async def main() -> None:
        joined = asyncio.Event()
        async with hisock.HiSockServer(("127.0.0.1", 0)) as server:
            server.on("join")(lambda client: joined.set())
            client = await hisock.async_connect(server.addr, name="Ada")
            await joined.wait()
            waiting = asyncio.ensure_future(server.wait_for("never", client="Ada"))
            await asyncio.sleep(0)
            server.disconnect_all_clients()
            with pytest.raises(hisock.ConnectionLost):
                await asyncio.wait_for(waiting, 10)
            await client.close()

    asyncio.run(main())
