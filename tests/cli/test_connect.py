"""``hisock connect``: real processes, with scripts and at a pseudo-terminal."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.process import environment
from support.terminal import Terminal

import hisock
from hisock._cli import shell
from hisock._cli.messages import Messages
from hisock._cli.shell import TypedLine, content, parse
from hisock._cli.usage import Unusable

from .running import run_here

pytestmark = pytest.mark.timeout(60)
CONNECT = [sys.executable, "-m", "hisock", "connect"]


def run(server: hisock.HiSockServer, script: str, *arguments: str) -> Any:
    return subprocess.run(
        [*CONNECT, f":{server.addr[1]}", *arguments],
        input=script,
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=50,
    )


def test_a_script_sends_calls_and_waits(server: hisock.ThreadedHiSockServer) -> None:
    script = """# a comment, and an empty line

/call add [19, 23]
say hello there
/recv said
/stream count 2
/name Eve
/who Eve
"""
    done = run(server, script, "--name", "Ada", "--wait", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"<== add \(\d+\.\d ms\) 42$", done.stdout, re.MULTILINE)
    assert '<-- said {"by":"Ada","text":"hello there"}' in done.stdout
    assert re.findall(r"<== count .* (\d)$", done.stdout, re.MULTILINE) == ["0", "1"]
    assert re.search(r"client: Eve at 127\.0\.0\.1:\d+$", done.stdout, re.MULTILINE)


def test_lines_that_fail_are_said_and_make_the_status(
    server: hisock.ThreadedHiSockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "/call fail\n/call nothing\n/dance\nsay {oops\n/recv never 0\n/wait soon\n/call add []\n"
    )
    words = ["connect", f":{server.addr[1]}", "--wait", "0"]
    done = run_here(monkeypatch, *words, script=script)
    assert done.returncode == 1
    errors = re.findall(r"!!! (.*)", done.stdout)
    assert len(errors) == 6
    for said, error in zip(
        ["on purpose", "no handler for 'nothing'", "/dance", "not JSON", "'never'", "'soon'"],
        errors,
        strict=True,
    ):
        assert said in error
    assert "<== add" in done.stdout, "it goes on after an error"


def test_every_line_of_json_is_an_object(server: hisock.ThreadedHiSockServer) -> None:
    done = run(server, "/call add [1]\n", "--json", "--raw", "--wait", "0")
    assert done.returncode == 0
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(event["time"] > 0 for event in events)
    reply = next(event for event in events if event["event"] == "reply")
    assert (reply["command"], reply["message"]) == ("add", "1")
    frames = [event["name"] for event in events if event["event"] == "frame"]
    assert frames[:2] == ["$CLTHELLO$", "$SRVHELLO$"]
    assert frames.index("$CALL$") < frames.index("$REPLY$")


def test_the_end_of_the_connection_ends_it(
    server: hisock.ThreadedHiSockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "bye\n/wait 30\n/call add [1]\n"
    done = run_here(monkeypatch, "connect", f":{server.addr[1]}", script=script)
    assert done.returncode == 1
    assert "the server disconnected the client" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["127.0.0.1:1"], 1, "no server answers at 127.0.0.1:1"),
        (["nothing"], 2, "no address"),
        ([":1", "--ca", "nowhere.pem"], 2, "nowhere.pem"),
    ],
)
def test_no_connection_is_said_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, said: str
) -> None:
    done = run_here(monkeypatch, "connect", *arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_it_speaks_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    pem, trusted = tmp_path / "server.pem", tmp_path / "ca.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    authority.cert_pem.write_to_path(trusted)
    with hisock.ThreadedHiSockServer(("127.0.0.1", 0), ssl=(pem, pem)) as server:
        server.on("add")(lambda client, message: 42)
        server.start()
        where = f"localhost:{server.addr[1]}"
        for more in ([], ["--raw"]):
            words = ["connect", where, "--ca", str(trusted), "--wait", "0", *more]
            done = run_here(monkeypatch, *words, script="/call add 1\n")
            assert done.returncode == 0, done.stderr
            assert "ms) 42" in done.stdout
        done = run_here(monkeypatch, "connect", where, "--tls")
        assert done.returncode == 1
        assert done.stderr.startswith("hisock connect: TLS failed: ")


def test_input_and_output_that_are_not_utf_8_end_nothing(
    server: hisock.ThreadedHiSockServer,
) -> None:
    done = subprocess.run(
        [*CONNECT, f":{server.addr[1]}", "--name", "\N{SNOWMAN}", "--wait", "0"],
        input=b"say h\xc3\xa9\n/call add [19, 23]\n",
        capture_output=True,
        env=environment(PYTHONUTF8="0", PYTHONIOENCODING="ascii:strict", LC_ALL="C.UTF-8"),
        timeout=50,
    )
    assert done.returncode == 1
    assert rb"joined: \u2603 at" in done.stdout
    assert b"!!! cannot send" in done.stdout
    assert b"<== add" in done.stdout
    assert done.stderr == b""


def test_at_a_terminal_there_are_completion_and_history(
    server: hisock.ThreadedHiSockServer, tmp_path: Path
) -> None:
    history = tmp_path / "history"
    arguments = [f":{server.addr[1]}", "--name", "Ada", "--history", str(history)]
    with Terminal([*CONNECT, *arguments]) as terminal:
        terminal.wait_for("Ada>")
        terminal.press("/call add [4,5]\r")
        terminal.wait_for("ms) 9")
        # "add" is known now: Tab completes the verb, and then the command.
        terminal.press("/ca\t")
        terminal.wait_for("Ada> /call", 2)
        terminal.press(" ad\t")
        terminal.wait_for("Ada> /call add", 2)
        terminal.press(" [1]\r")
        terminal.wait_for("ms) 1")
        terminal.press("\x1b[A\x1b[A")  # twice up
        terminal.wait_for("Ada> /call add [4,5]", 2)
        terminal.press("\r\x04")
        assert terminal.status() == 0
        assert terminal.text.count("ms) 9") == 2
    assert "+/call add [4,5]" in history.read_text("utf-8").splitlines()
    assert history.stat().st_mode & 0o077 == 0


def test_a_line_is_taken_apart() -> None:
    assert parse("say  hello ") == TypedLine("send", "say", " hello ")
    assert parse("/call add [1, 2]\n") == TypedLine("call", "add", "[1, 2]")
    assert parse("/quit") == TypedLine("quit", "", None)
    assert parse("  # no") is parse("\n") is None
    assert content(None) is None
    assert content("[1, {}]") == [1, {}]
    assert content('"[1"') == '"[1"'
    for wrong in ("{", "[" * 100_000):
        with pytest.raises(Unusable, match="/text"):
            content(wrong)


def test_a_prompt_that_is_left_alone_keeps_a_bounded_number_of_what_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Flooded:
        """A client to which a server sends more than anybody types."""

        def on(self, command: str) -> Any:
            return lambda handler: handler

        async def __aiter__(self) -> AsyncIterator[tuple[str, None]]:
            for number in range(200):
                yield f"command-{number}", None

    monkeypatch.setattr(shell, "MOST_ARRIVED", 20)
    monkeypatch.setattr(shell, "MOST_WORDS", 30)

    async def play() -> Any:
        client: Any = Flooded()
        flooded = shell.Shell(client, Messages(True, "json"), 1.0)
        await flooded.show_messages()
        assert await flooded.run("/recv command-199")
        assert not await flooded.run("/recv command-1 0")
        return flooded

    flooded = asyncio.run(play())
    assert len(flooded._arrived) == 19
    assert len(flooded.commands) == 30


def test_every_verb_does_what_help_says(
    server: hisock.ThreadedHiSockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["/help", "/group red", "/text room by hand", "/recv room", "/call", "/who", "/text"]
    script = "\n".join([*lines, "/quit", "/call add [1]\n"])
    done = run_here(monkeypatch, "connect", f":{server.addr[1]}", "--wait", "0", script=script)
    assert done.returncode == 1
    assert re.search(r"^  /stream COMMAND", done.stdout, re.MULTILINE)
    assert "<-- room by hand" in done.stdout
    errors = re.findall(r"!!! (.*)", done.stdout)
    assert [error.partition(":")[0] for error in errors] == [
        "the command is missing",
        "the name is missing",
        "the command is missing",
    ]
    assert "<== add" not in done.stdout, "it goes on after /quit"
