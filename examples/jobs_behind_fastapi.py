"""A queue of jobs: a web site takes them, workers on other machines do them.

    python examples/jobs_behind_fastapi.py

It needs ``pip install fastapi uvicorn``. Workers connect over TCP and are called; a call that ends
with its connection is a job for another worker. Here all of it runs in one program: the site, two
workers, one of which dies with a job in its hands, and a visitor.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import fastapi
import uvicorn

import hisock

TOKEN = "only for workers"

# The site
queue = hisock.HiSockServer(("127.0.0.1", 0), announce="none")
waiting: asyncio.Queue[int] = asyncio.Queue()
jobs: dict[int, dict[str, Any]] = {}


@queue.authenticate
def authenticate(token: str | None) -> bool:
    return token == TOKEN


@queue.on("ready", concurrent=True)
async def ready(client: hisock.ClientInfo) -> None:
    """A worker takes one job after the other, for as long as it is connected."""
    while True:
        number = await waiting.get()
        job = jobs[number]
        try:
            job["result"] = await queue.call(client, "work", job["text"], str, timeout=600)
            job["state"] = "done"
        except hisock.RemoteError as error:
            job.update(state="failed", result=str(error))
        except (hisock.ConnectionLost, hisock.ClientNotFound):
            waiting.put_nowait(number)  # for another worker
            return
        finally:
            job["tried by"].append(client.name)


@contextlib.asynccontextmanager
async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
    async with queue:
        yield


app = fastapi.FastAPI(lifespan=lifespan)


@app.post("/jobs", status_code=202)
async def add(text: str) -> int:
    number = len(jobs) + 1
    jobs[number] = {"text": text, "state": "waiting", "result": None, "tried by": []}
    waiting.put_nowait(number)
    return number


@app.get("/jobs/{number}")
async def job(number: int) -> dict[str, Any]:
    if number not in jobs:
        raise fastapi.HTTPException(404)
    return jobs[number]


# The worker
async def worker(addr: tuple[str, int], name: str, dies: bool = False) -> None:
    async with hisock.async_connect(addr, name, token=TOKEN, reconnect=not dies) as client:

        @client.on("work")
        async def work(text: str) -> str:
            if dies:
                await client.close(emit_leave=False)
            return await asyncio.to_thread(str.upper, text)

        @client.on("reconnect")
        def reconnected() -> None:
            client.send("ready")

        client.send("ready")
        await client.wait_closed()


# The end
async def main() -> None:
    """Run the site as uvicorn's command does, the workers, and a visitor."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.create_task(server.serve([sock]))
    host, port = sock.getsockname()
    try:
        await asyncio.to_thread(ask, f"http://{host}:{port}/jobs?text=hello", "POST")
        await worker(queue.addr, "Ada", dies=True)
        bob = asyncio.create_task(worker(queue.addr, "Bob"))
        state = {"state": "waiting"}
        while state["state"] == "waiting":
            state = await asyncio.to_thread(ask, f"http://{host}:{port}/jobs/1")
        print(state)
        bob.cancel()
    finally:
        server.should_exit = True
        await serving


def ask(url: str, method: str = "GET") -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, method=method)) as answer:
        return json.load(answer)


if __name__ == "__main__":
    asyncio.run(main())
