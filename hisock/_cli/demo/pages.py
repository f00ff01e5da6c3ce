"""The page of ``hisock demo --web``, and nothing else, over HTTP."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from types import TracebackType
from typing import Final, Literal

from hisock._cli.demo.control import DemoError

_TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "game.js": "text/javascript; charset=utf-8",
    "drawing.js": "text/javascript; charset=utf-8",
    "hisock.min.js": "text/javascript; charset=utf-8",
}


class Pages:
    """Serves the files of ``site/`` from a thread, as long as its block runs.

    :param host: the address to listen on.
    :param port: its port, 0 for any free one.
    :param game_port: the port of the game, which the page connects to on the same host.
    :raises DemoError: the port is taken.
    """

    def __init__(self, host: str, port: int, game_port: int) -> None:
        site = files("hisock._cli.demo") / "site"
        answers = {f"/{name}": (kind, (site / name).read_bytes()) for name, kind in _TYPES.items()}
        answers["/"] = answers["/index.html"]
        config = json.dumps({"port": game_port}).encode()
        answers["/config.json"] = ("application/json", config)
        try:
            self._http = ThreadingHTTPServer((host, port), _handler(answers))
        except OSError as exc:
            raise DemoError(
                f"the page cannot be served on {host}:{port}: {exc}; choose another --web-port"
            ) from None
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=[0.1], daemon=True)
        shown = "127.0.0.1" if host == "0.0.0.0" else host
        self.url = f"http://{shown}:{self._http.server_address[1]}/"

    def __enter__(self) -> Pages:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        return False


def _handler(answers: dict[str, tuple[str, bytes]]) -> type[BaseHTTPRequestHandler]:
    """Answers GET with what is in a dict: no path of a request reaches the file system."""

    class PageHandler(BaseHTTPRequestHandler):
        timeout = 10.0
        server_version = "hisock-demo"
        sys_version = ""

        def do_GET(self) -> None:
            found = answers.get(self.path.partition("?")[0])
            if found is None:
                self.send_error(404)
                return
            kind, body = found
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, *_: object) -> None:
            """The screen belongs to the game."""

    return PageHandler
