"""A whiteboard: what one draws, everybody sees.

    python examples/tk_whiteboard.py serve [PORT]
    python examples/tk_whiteboard.py draw NAME [PORT]

Tk's loop has no thread for the network and needs none: ``after`` calls ``client.update()``.
"""

from __future__ import annotations

import sys
import tkinter as tk

import msgspec

import hisock

PORT = 5000
WIDTH, HEIGHT = 640, 400
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


class Line(msgspec.Struct):
    colour: str
    points: list[tuple[int, int]]


class Board:
    """What has been drawn. No window and no network here."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def add(self, line: Line) -> None:
        """:raises ValueError: it has no length, an unknown colour, or leaves the board."""
        inside = all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line.points)
        if line.colour not in COLOURS or not 2 <= len(line.points) <= 1000 or not inside:
            raise ValueError("that is no line on this board")
        self.lines.append(line)


def make_server(addr: tuple[str, int]) -> hisock.HiSockServer:
    server = hisock.HiSockServer(addr)
    board = Board()

    @server.on("board")
    def whole(client: hisock.ClientInfo) -> list[Line]:
        return board.lines

    @server.on("line")
    def line(client: hisock.ClientInfo, line: Line) -> None:
        board.add(line)
        server.send_all_clients("line", line)

    @server.on("clear")
    def clear(client: hisock.ClientInfo) -> None:
        board.lines.clear()
        server.send_all_clients("clear")

    return server


class Window:
    def __init__(self, name: str, port: int) -> None:
        self.client = hisock.connect(("127.0.0.1", port), name=name)
        self.colour = COLOURS[sum(name.encode()) % len(COLOURS)]
        self.points: list[tuple[int, int]] = []
        self.root = tk.Tk()
        self.root.title(f"{name} draws")
        self.canvas = tk.Canvas(self.root, width=WIDTH, height=HEIGHT, background="white")
        self.canvas.pack()
        tk.Button(self.root, text="Clear", command=lambda: self.client.send("clear")).pack()
        self.canvas.bind("<B1-Motion>", self.drag)
        self.canvas.bind("<ButtonRelease-1>", self.release)
        self.client.on("line")(self.show)
        self.client.on("clear")(self.clear)
        for line in self.client.call("board", None, list[Line]):
            self.show(line)
        self.poll()

    def poll(self) -> None:
        """Handle what has come; fifty times a second is smooth enough."""
        try:
            self.client.update()
        except hisock.ConnectionLost:
            self.root.destroy()
        else:
            self.root.after(20, self.poll)

    def drag(self, event: tk.Event[tk.Canvas]) -> None:
        x, y = min(max(event.x, 0), WIDTH), min(max(event.y, 0), HEIGHT)
        self.points.append((x, y))
        if len(self.points) == 2:  # send as one draws; the next line begins where this one ends
            self.client.send("line", Line(self.colour, self.points))
            self.points = [(x, y)]

    def release(self, event: tk.Event[tk.Canvas]) -> None:
        self.points = []

    def show(self, line: Line) -> None:
        self.canvas.create_line(line.points, fill=line.colour, width=4, capstyle="round")

    def clear(self) -> None:
        self.canvas.delete("all")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", *port]:
            server = make_server(("127.0.0.1", int(port[0]) if port else PORT))
            print("Listening on port", server.addr[1], flush=True)
            server.start()
        case ["draw", name, *port]:
            window = Window(name, int(port[0]) if port else PORT)
            with window.client:
                window.root.mainloop()
        case _:
            sys.exit(__doc__)
