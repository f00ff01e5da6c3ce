"""``hisock trace``: a real process between real clients and a server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import re
import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from support.process import Program, environment

import hisock
from hisock._cli.frames import ShownFrame, describe
from hisock._cli.trace import Proxy, Upstream

pytestmark = pytest.mark.timeout(60)
TRACE = [sys.executable, "-m", "hisock", "trace", "127.0.0.1:0"]


def proxied(program: Program) -> tuple[str, int]:
    found = re.search(r"Tracing 127\.0\.0\.1:(\d+)", program.wait_line("Tracing"))
    assert found is not None
    return "127.0.0.1", int(found[1])


def test_frames_are_printed_both_ways_and_tokens_are_not(
    server: hisock.ThreadedHiSockServer,
) -> None:
    with Program([*TRACE, f"127.0.0.1:{server.addr[1]}", "--cut", "300"]) as program:
        with hisock.connect(proxied(program), name="Ada", token="secret-1") as client:
            assert client.call("add", [19, 23], int) == 42
            client.send("note", "a" * 400)
        program.wait_line(r"#1 ended")
        program.terminate()
        assert program.wait(20) == 0
        text = "\n".join(program.lines)
    assert re.search(r'#1 --> \$CLTHELLO\$ +\d+ B  \{"name":"Ada".*"token":"\*\*\*"', text)
    assert re.search(r"#1 <-- \$SRVHELLO\$", text)
    assert re.search(r"#1 --> \$CALL\$ +\d+ B  1\$CMD\$add\$MSG\$\[19,23\]", text)
    assert re.search(r"#1 <-- \$REPLY\$ +\d+ B  1\$MSG\$42$", text, re.MULTILINE)
    assert re.search(r"#1 --> note +400 B  a{300}\.\.\.$", text, re.MULTILINE)
    assert "secret-1" not in text


def test_a_server_that_is_not_there_and_bytes_that_are_no_frames_are_said() -> None:
    with Program([*TRACE, "127.0.0.1:1"]) as program:
        with pytest.raises((hisock.ConnectionLost, hisock.ServerNotRunning, OSError)):
            hisock.connect(proxied(program), token="x")
        assert "no connection to 127.0.0.1:1" in program.wait_line("closed")


def test_a_connection_that_fails_in_another_way_than_by_its_end_is_cut_off() -> None:
    aborted: list[bool] = []
    writer: Any = SimpleNamespace(transport=SimpleNamespace(abort=lambda: aborted.append(True)))

    async def play() -> None:
        upstream = Upstream(("127.0.0.1", 1), None, 16, False)
        reader = asyncio.StreamReader()
        reader.set_exception(OSError(errno.EHOSTUNREACH, "no route to host"))
        await Proxy(upstream, print, print)._copy(reader, writer, 1, "to server")

    asyncio.run(play())
    assert aborted == [True]


def test_it_ends_when_nobody_reads_what_it_prints(server: hisock.ThreadedHiSockServer) -> None:
    command = [*TRACE, f"127.0.0.1:{server.addr[1]}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True) as program:
        assert program.stdout is not None
        found = re.search(r"Tracing 127\.0\.0\.1:(\d+)", program.stdout.readline())
        assert found is not None
        program.stdout.close()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(found[1]))):
            try:
                assert program.wait(20) == 1
            finally:
                program.kill()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["here", ":5000"], "no address"),
        ([":0", ":0"], "names no port"),
        ([":0", "a..b:5000"], "no name of a host"),
        (["no-such-host.invalid:0", ":5000"], "cannot be resolved"),
    ],
)
def test_what_cannot_be_traced_is_said_in_one_line(arguments: list[str], said: str) -> None:
    with Program([sys.executable, "-m", "hisock", "trace", *arguments]) as program:
        assert program.wait(20) == 2
        assert said in program.errors
        assert len(program.errors.strip().splitlines()) == 1


def test_a_frame_as_json_keeps_every_byte_that_is_not_cut() -> None:
    def shown(message: bytes | None, cut: int = 8) -> dict[str, object]:
        frame = ShownFrame(1.5, 3, "to client", "command", "say", message)
        loaded: dict[str, object] = json.loads(frame.as_json(cut))
        return loaded

    assert shown(b"hi") == {
        "time": 1.5,
        "connection": 3,
        "direction": "to client",
        "kind": "command",
        "name": "say",
        "size": 2,
        "message": "hi",
    }
    assert shown(b"\xff\x00")["base64"] == "/wA="
    assert "message" not in shown(None)
    cut = shown("ein ü passt nicht".encode(), 5)
    assert (cut["message"], cut["truncated"], cut["size"]) == ("ein ", True, 18)


def test_what_a_peer_writes_cannot_leave_its_line() -> None:
    line = describe(("say", b"one\ntwo \x1b[2J"), 1, "to server", False).line(80)
    assert "\n" not in line
    assert "\x1b" not in line
