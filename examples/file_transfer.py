"""Files to a server and back, with progress.

    python examples/file_transfer.py serve FOLDER [PORT]
    python examples/file_transfer.py put FILE [PORT]
    python examples/file_transfer.py get NAME FOLDER [PORT]

It needs ``pip install rich``. Neither end reads ahead of the other: up, at most eight pieces are
without their answer; down, the server waits at its ``yield`` when sixteen have not been taken. So
a file of any size needs a few MiB of memory, and the checksum shows that all of it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

import hisock

PORT = 5000
PIECE = 256 * 1024
AT_ONCE = 8


class Offer(msgspec.Struct):
    name: str
    size: int


class Incoming(msgspec.Struct):
    """The session of a client: the file that it is sending."""

    file: BinaryIO | None = None
    path: Path = Path()


def inside(folder: Path, name: str) -> Path:
    """:raises ValueError: the name is not that of a file in the folder itself."""
    if Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"{name!r} is not the name of a file")
    return folder / name


def make_server(addr: tuple[str, int], folder: Path) -> hisock.HiSockServer[Incoming]:
    server = hisock.HiSockServer(addr, session=Incoming, max_message_size=2 * PIECE)

    @server.on("put")
    def put(client: hisock.ClientInfo, offer: Offer) -> None:
        upload = server.session(client)
        upload.path = inside(folder, offer.name)
        upload.file = upload.path.with_suffix(".part").open("wb")

    @server.on("piece")
    def piece(client: hisock.ClientInfo, data: bytes) -> None:
        upload = server.session(client)
        if upload.file is None:
            raise ValueError("say first which file this is")
        upload.file.write(data)

    # Threaded, since reading all of it again takes a while.
    @server.on("done", threaded=True)
    def done(client: hisock.ClientInfo) -> str:
        upload = server.session(client)
        if upload.file is None:
            raise ValueError("say first which file this is")
        upload.file.close()
        upload.path.with_suffix(".part").replace(upload.path)
        upload.file = None
        return digest_of(upload.path)

    @server.on("leave")
    def leave(client: hisock.ClientInfo) -> None:
        upload = server.session(client)
        if upload.file is not None:  # broken off half-way
            upload.file.close()
            upload.path.with_suffix(".part").unlink()

    @server.on("about")
    def about(client: hisock.ClientInfo, name: str) -> Offer:
        return Offer(name, inside(folder, name).stat().st_size)

    @server.on("get")
    async def get(client: hisock.ClientInfo, name: str) -> AsyncIterator[bytes]:
        with inside(folder, name).open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    return server


def digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


async def put(file: Path, size: int, port: int) -> None:
    """Send pieces with eight calls under way; each reply lets the next one go."""
    async with hisock.async_connect(("127.0.0.1", port)) as client:
        await client.call("put", Offer(file.name, size))
        free = asyncio.Semaphore(AT_ONCE)

        async def send(piece: bytes) -> None:
            try:
                await client.call("piece", piece, timeout=60)
            finally:
                free.release()

        sent: list[asyncio.Task[None]] = []
        with file.open("rb") as opened, progress(file.name, size) as bar:
            while piece := opened.read(PIECE):
                await free.acquire()
                sent.append(asyncio.create_task(send(piece)))
                bar(len(piece))
            await asyncio.gather(*sent)
        whole = await client.call("done", None, str, timeout=60) == digest_of(file)
    print("arrived whole" if whole else "is damaged", flush=True)


def get(name: str, folder: Path, port: int) -> None:
    target = inside(folder, name)
    with hisock.connect(("127.0.0.1", port)) as client:
        size = client.call("about", name, Offer).size
        with target.open("wb") as file, progress(name, size) as bar:
            for piece in client.stream("get", name, bytes):
                file.write(piece)
                bar(len(piece))
    print(target.stat().st_size, "bytes saved", flush=True)


@contextlib.contextmanager
def progress(name: str, size: int) -> Iterator[Bar]:
    columns = TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns) as shown:
        yield Bar(shown, size)


class Bar:
    def __init__(self, shown: Progress, size: int) -> None:
        self._shown = shown
        self._task = shown.add_task("", total=size)

    def __call__(self, count: int) -> None:
        self._shown.advance(self._task, count)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", folder, *port]:
            server = make_server(("127.0.0.1", int(port[0]) if port else PORT), Path(folder))
            print("Listening on port", server.addr[1], flush=True)
            server.start()
        case ["put", file, *port]:
            path = Path(file)
            asyncio.run(put(path, path.stat().st_size, int(port[0]) if port else PORT))
        case ["get", name, folder, *port]:
            get(name, Path(folder), int(port[0]) if port else PORT)
        case _:
            sys.exit(__doc__)
