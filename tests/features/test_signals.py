"""Signals: Ctrl-C and SIGTERM end a program in order."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import Events, Peer
from support.fixtures import MakeServer, Run

PROGRAMS = Path(__file__).parent / "programs"


@pytest.mark.parametrize("how", ["interrupt", "terminate"])
@pytest.mark.skipif(sys.platform == "win32", reason="a terminated process gets no signal there")
def test_a_signal_ends_start_cleanly_and_frees_the_port(run_on_ours: Run, how: str) -> None:
    port = "0"
    for _ in range(2):
        with run_on_ours(PROGRAMS / "signalled_server.py", port) as program:
            port = program.wait_line("port").split()[1]
            with Peer.joined(("127.0.0.1", int(port)), "ann") as peer:
                peer.ask("send me a lot", answer="ready")
                getattr(program, how)()
                got = peer.rest()
            assert got[-1].reserved == "DISCONN"
            # What was sent before the signal is flushed.
            assert [frame.message for frame in got[:-1]] == [b"x" * 100_000] * 20
            end = "interrupted True" if how == "interrupt" else "after start"
            assert program.finish() == [f"port {port}", end]
            assert program.errors == ""


@pytest.mark.skipif(sys.platform == "win32", reason="a process gets no Ctrl-C by itself there")
def test_an_interrupted_client_can_still_talk_and_then_closes_itself(
    run_on_ours: Run, make_server: MakeServer, events: Events
) -> None:
    server = make_server()
    server.on("join")(lambda client: server.send_client(client, "begin"))
    server.on("question")(lambda client: server.send_client(client, "answer", "yes"))
    server.on("bye")(lambda client, message: events.add("bye", message))
    server.on("leave")(lambda client: events.add("leave", client.name))
    server.start()
    with run_on_ours(PROGRAMS / "signalled_client.py", str(server.addr[1])) as program:
        program.wait_line("running")
        program.interrupt()
        assert program.finish() == ["running", "interrupted False", "answer yes", "end True"]
        assert program.errors == ""
    events.wait_for("leave", "ann")
    assert events.seen == [("bye", b"see you"), ("leave", "ann")]
