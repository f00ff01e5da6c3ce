"""A shared whiteboard: a page that draws, and a server that passes strokes on.

    pip install 'hisock[websocket]'
    python examples/whiteboard/whiteboard.py

Open the address that it prints in several tabs, or on a phone; ``?board=plans`` is another board.
"""

import http.server
import json
import sys
import threading
from collections import defaultdict, deque
from pathlib import Path
from typing import Annotated

import msgspec

import hisock

HERE = Path(__file__).parent
#: The client for JavaScript. With npm and a bundler the page would import "hisock" instead.
CLIENT = Path(hisock.__file__).parent / "_cli" / "demo" / "site" / "hisock.min.js"

Point = tuple[float, float]


class Stroke(msgspec.Struct):
    """A piece of a line; what does not fit this is refused before it is passed on."""

    points: Annotated[list[Point], msgspec.Meta(min_length=1, max_length=256)]
    colour: Annotated[str, msgspec.Meta(pattern="^#[0-9a-f]{6}$")]
    width: Annotated[float, msgspec.Meta(gt=0, le=60)]


# The page comes from another port, so its origin has to be named; "*" are all pages.
server = hisock.HiSockServer(("0.0.0.0", 0), websocket=hisock.WebSocket(origins="*"))
#: What is on each board: the newest pieces, so that the memory of a board is bounded.
boards: defaultdict[str, deque[Stroke]] = defaultdict(lambda: deque(maxlen=5000))


def board_of(client: hisock.ClientInfo) -> str:
    return client.group or "main"


@server.on("join")
def join(client: hisock.ClientInfo) -> None:
    server.join_room(client, board_of(client))


@server.on("board")
def board(client: hisock.ClientInfo) -> list[Stroke]:
    """The reply to a page that has just been opened."""
    return list(boards[board_of(client)])


@server.on("draw")
def draw(client: hisock.ClientInfo, stroke: Stroke) -> None:
    boards[board_of(client)].append(stroke)
    server.send_room(board_of(client), "drawn", stroke, exclude=client)


@server.on("point")
def point(client: hisock.ClientInfo, at: Point) -> None:
    # A page that is behind needs only the newest place of each pointer.
    message = {"name": client.name, "at": at}
    server.send_room(
        board_of(client), "pointed", message, exclude=client, latest=f"pointer of {client.ip}"
    )


@server.on("clear")
def clear(client: hisock.ClientInfo) -> None:
    boards[board_of(client)].clear()
    server.send_room(board_of(client), "cleared")


class Page(http.server.BaseHTTPRequestHandler):
    """The page, and nothing else."""

    files = {  # noqa: RUF012 - it is never changed
        "/": ("text/html", (HERE / "index.html").read_bytes()),
        "/hisock.min.js": ("text/javascript", CLIENT.read_bytes()),
        "/port": ("application/json", json.dumps(server.addr[1]).encode()),
    }

    def do_GET(self) -> None:
        kind, body = self.files.get(self.path.partition("?")[0], ("", None))
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: object) -> None:
        """Say nothing of each request."""


port = int(sys.argv[1]) if sys.argv[1:] else 8000
pages = http.server.ThreadingHTTPServer(("0.0.0.0", port), Page)
threading.Thread(target=pages.serve_forever, daemon=True).start()
print(f"The whiteboard is at http://127.0.0.1:{pages.server_address[1]}/", flush=True)
server.start()
