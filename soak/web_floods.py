"""``python -m soak.web_floods``: how long others wait beside a flood that comes over a WebSocket.

A hundred clients over TCP talk with a server, five messages a second each, while one more sends as
fast as the server takes it: echoes over TCP, the same over a WebSocket, a message each, or pings.
The server has a core of its own, the flood the other one, and gives way to the hundred there. Each
round has every flood once; what is printed are medians, and ``--most 1.5`` makes it a failure where
1 % of the answers took longer than so many times what they took beside the flood over TCP.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from soak.attacks import pin
from soak.children import Child
from soak.wire import Line, command_frame, hello_frame

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
#: Messages, or pings, of one write.
BLOCK = 512
#: What floods, and by which engine the server takes it.
FLOODS = {
    "calm": ("none", "auto"),
    "tcp": ("tcp", "auto"),
    "picows": ("messages", "picows"),
    "picows-pings": ("pings", "picows"),
    "websockets": ("messages", "websockets"),
    "websockets-pings": ("pings", "websockets"),
}


def masked(payload: bytes, opcode: int = 2) -> bytes:
    """A message of a WebSocket of less than 126 bytes, masked with zeros."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


def flood(what: str, port: int, seconds: float) -> None:
    """Send as fast as the server takes it, and read the answers; prints how much was sent."""
    os.nice(10)
    line = Line(("127.0.0.1", port))
    hello = hello_frame("flood")
    if what != "tcp":
        line.write(REQUEST)
        while b"\r\n\r\n" not in line.sock.recv(4096):
            pass
        hello = masked(hello)
    line.write(hello)
    frame = command_frame("say", b"x" * 64)
    one = {"tcp": frame, "messages": masked(frame), "pings": masked(b"x", 9)}[what]
    line.sock.settimeout(seconds + 10)
    reader = threading.Thread(target=_read, args=(line.sock,))
    reader.start()
    ends = time.monotonic() + seconds
    sent = 0
    while time.monotonic() < ends:
        if not line.write(one * BLOCK):
            break
        sent += BLOCK
    line.reset()
    with contextlib.suppress(OSError):
        line.sock.shutdown(socket.SHUT_RDWR)
    line.close()
    reader.join()
    print(json.dumps({"sent": sent}))


def _read(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(262144):
            pass


def measure(name: str, loop: str, seconds: float) -> dict[str, float]:
    """What the hundred, and the turns of the server's loop, say of one flood."""
    what, engine = FLOODS[name]
    with (
        Path(os.devnull).open("w") as log,
        Child("soak.attacked", loop, "unlimited", engine, stderr=log) as server,
    ):
        pin(server.pid, first=True)
        port = str(server.answer()["port"])
        with Child("soak.good", port) as good:
            pin(good.pid, first=False)
            good.answer()
            time.sleep(0.5)  # the hundred have joined
            good.ask()
            server.ask()
            sent = 0
            if what == "none":
                time.sleep(seconds)
            else:
                sent = _flood(what, port, seconds)
            turns, told = server.ask()["turns"], good.ask()
            if told["problems"] or not told["answers"]:
                raise SystemExit(f"{name}: {told['problems'] or 'no answers'}")
    return {"p99": told["p99"], "p50": told["p50"], "turn": turns["p99"], "rate": sent / seconds}


def _flood(what: str, port: str, seconds: float) -> int:
    command = [sys.executable, "-m", "soak.web_floods", "--flood", what, port, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flooder:
        pin(flooder.pid, first=False)
        said, _ = flooder.communicate()
    return int(json.loads(said)["sent"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak.web_floods", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each flood")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", default="auto", choices=["auto", "asyncio", "uvloop"])
    parser.add_argument("--most", type=float, default=None, help="times the p99 beside TCP")
    parser.add_argument("--flood", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", default=list(FLOODS), help=", ".join(FLOODS))
    options = parser.parse_args()
    if options.flood:
        what, port, seconds = options.flood
        flood(what, int(port), float(seconds))
        return 0
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in options.names}
    for _ in range(options.rounds):
        for name, figures in seen.items():
            figures.append(measure(name, options.loop, options.seconds))
    return report(seen, options.most)


def report(seen: dict[str, list[dict[str, float]]], most: float | None) -> int:
    """Print the medians; 1 where one is more than ``most`` times that of TCP."""
    status = 0
    medians = {
        name: {key: statistics.median(one[key] for one in figures) for key in figures[0]}
        for name, figures in seen.items()
    }
    base = medians.get("tcp", {}).get("p99")
    for name, found in medians.items():
        values = [one["p99"] for one in seen[name]]
        times = f"{found['p99'] / base:.2f}" if base else "-"
        print(
            f"{name:18} p50 {found['p50']:6.1f}  p99 {found['p99']:6.1f} ms"
            f" ({min(values)} to {max(values)}), {times} times TCP;"
            f" turns p99 {found['turn']:.1f} ms; {found['rate']:,.0f} sent a second"
        )
        if most is not None and base and found["p99"] > most * base:
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
