"""A game and its web page on one event loop: hisock beside aiohttp.

    python examples/beside_aiohttp.py

It needs ``pip install aiohttp``. The page shows who plays and can ask a player for the score.
"""

import asyncio

import aiohttp
from aiohttp import web

import hisock


# Both
def make_site(game: hisock.HiSockServer) -> web.Application:
    async def players(request: web.Request) -> web.Response:
        return web.json_response(game.get_all_clients("name"))

    async def score(request: web.Request) -> web.Response:
        try:
            points = await game.call(request.match_info["player"], "score", None, int)
        except hisock.ClientNotFound:
            raise web.HTTPNotFound from None
        return web.json_response(points)

    site = web.Application()
    site.router.add_get("/players", players)
    site.router.add_get("/players/{player}/score", score)
    return site


async def main() -> None:
    game = hisock.HiSockServer(("127.0.0.1", 0))
    async with game:
        runner = web.AppRunner(make_site(game))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            await visit(game, f"http://{host}:{port}")
        finally:
            await runner.cleanup()


# The end
async def visit(game: hisock.HiSockServer, url: str) -> None:
    """A player joins the game, and a browser looks at the page."""
    async with await hisock.async_connect(game.addr, "Ada") as player:

        @player.on("score")
        def score() -> int:
            return 42

        await player.get_client("Ada")  # the answer comes when the server has let her in
        async with aiohttp.ClientSession() as browser:
            for page in ("/players", "/players/Ada/score", "/players/Bob/score"):
                async with browser.get(url + page) as answer:
                    print(page, answer.status, await answer.text())


asyncio.run(main())
