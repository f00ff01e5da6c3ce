"""``hisock conformance`` with a client that does all of it, and with one that does it wrong."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import pytest
from support import Program
from websocket.browsing import JS
from websocket.test_javascript import node
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from hisock._cli.conformance import lines
from hisock._cli.conformance.cases import cases
from hisock._cli.conformance.kit import Score, run
from hisock._cli.conformance.lines import Failure, frame

__all__ = ["node"]  # a fixture

ROOT = Path(__file__).parents[2]
AGENTS = ROOT / "examples" / "conformance"
VECTORS = "tests/data/vectors.json"

pytestmark = pytest.mark.timeout(120)


def kit(*options: str, address: str = "127.0.0.1:0") -> Program:
    command = [sys.executable, "-m", "hisock", "conformance", address, *options]
    return Program(command)


def port_of(program: Program) -> str:
    return program.wait_line("waiting for the client").rpartition(":")[2]


def test_the_streams_of_the_kit_are_those_of_the_tests() -> None:
    shipped = ROOT / "hisock" / "_cli" / "conformance" / "vectors.json"
    assert shipped.read_bytes() == (ROOT / VECTORS).read_bytes()


def test_the_python_client_passes() -> None:
    with kit() as program:
        agent = Program([sys.executable, AGENTS / "agent.py", "127.0.0.1", port_of(program)])
        with agent:
            lines = program.finish(60)
            agent.finish()
    assert lines[-1] == f"{len(list(cases()))} passed, 0 failed, 0 skipped"


@pytest.mark.node
@pytest.mark.once
def test_the_javascript_client_passes(node: str) -> None:
    assert (JS / "dist" / "index.js").exists()
    with kit("--websocket") as program:
        url = f"ws://127.0.0.1:{port_of(program)}/"
        with Program([node, AGENTS / "agent.mjs", url]) as agent:
            program.wait(60)
            assert agent.errors == ""
            lines = program.finish(60)
            agent.finish()
    assert lines[-1] == f"{len(list(cases()))} passed, 0 failed, 0 skipped"


@pytest.mark.parametrize(
    ("right", "wrong", "failing"),
    [
        ('b"\\n" + message)', 'b"\\n" + message.upper())', "text"),
        ("return message", 'return message + b"!"', "a call is answered"),
        ("client.close()", 'client.send("heard", "no")', "leave"),
        ('raise ValueError("as asked for")', "return", "a call that fails"),
    ],
)
def test_a_client_that_does_something_else_fails(
    tmp_path: Path, right: str, wrong: str, failing: str
) -> None:
    source = (AGENTS / "agent.py").read_text("utf-8")
    assert right in source
    (tmp_path / "agent.py").write_text(source.replace(right, wrong), "utf-8")
    # A busy machine takes a while to start the agent.
    with kit("--only", failing, "--timeout", "30") as program:
        port = port_of(program)
        with Program([sys.executable, tmp_path / "agent.py", "127.0.0.1", port]):
            assert program.wait(60) == 1
    assert any(line.startswith("FAIL  ") and failing in line for line in program.lines)


def test_what_no_client_should_send_is_a_failure_of_that_case() -> None:
    hello = frame(b"$CLTHELLO$" + b"[" * 100_000)
    with pytest.raises(Failure, match="not JSON"):
        lines.TestedConnection(lambda data: None, lambda timeout: hello, 1.0).welcome()
    first = next(iter(cases()))
    scores: list[Score] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        running = threading.Thread(
            target=lambda: scores.append(run(listener, [first], True, 30.0)), daemon=True
        )
        running.start()
        with connect(url, subprotocols=[Subprotocol("hisock.v3")]) as client:
            for _ in range(2000):
                client.send(b"")
            client.send(frame(b"no hello"))
            running.join(30)
    assert [score.failed for score in scores] == [[first.name]]


def test_without_a_client_it_says_so() -> None:
    with kit("--timeout", "0.2") as program:
        assert program.wait(60) == 1
    assert "did not connect within 0.2 seconds" in program.errors
    with kit("--only", "nothing has this name") as program:
        assert program.wait(60) == 2


def test_it_says_where_it_cannot_listen_and_what_to_do() -> None:
    """It quoted the system, without what to do, and failed as a client that is wrong does."""
    with kit(address="no.such.host.invalid:5000") as program:
        assert program.wait(60) == 2
    assert "the host 'no.such.host.invalid' cannot be resolved" in program.errors
    assert "check how it is spelt" in program.errors
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with kit(address=f"127.0.0.1:{port}") as program:
            assert program.wait(60) == 1
    assert f"127.0.0.1:{port} is in use already" in program.errors
    assert "give another port" in program.errors
