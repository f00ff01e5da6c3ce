"""``hisock demo`` as it is run: processes, sockets, exit status."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.process import Program, environment

from hisock._cli.main import main

HERE = Path(__file__).parent
pytestmark = pytest.mark.timeout(120)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def demo(*options: str) -> Program:
    return Program([sys.executable, "-m", "hisock", "demo", *options])


def count(summary: str, label: str) -> int:
    found = re.search(rf"^{label} +([\d,]+)", summary, re.MULTILINE)
    assert found, summary
    return int(found[1].replace(",", ""))


def test_a_short_game_loses_nothing_and_says_so_in_a_line_a_second_and_a_summary() -> None:
    """Into a pipe, where nothing is drawn."""
    with demo("--players", "20", "--rooms-of", "5", "--seconds", "3") as program:
        lines = program.finish(60)
    assert sum("p50" in line and "/s" in line for line in lines) >= 3
    assert not any("\x1b" in line for line in lines)
    summary = "\n".join(lines)
    assert count(summary, "lost") == 0
    sent = count(summary, "moves sent")
    assert sent > 20
    assert re.search(rf"deliveries +{5 * sent:,} of {5 * sent:,}", summary)
    assert "p99" in summary


def test_rooms_need_not_be_full_and_processes_not_equal() -> None:
    with demo("--players", "7", "--rooms-of", "3", "--processes", "3", "--seconds", "1") as program:
        assert count("\n".join(program.finish(60)), "lost") == 0


def test_one_player_alone_hears_itself() -> None:
    with demo("--players", "1", "--seconds", "1") as program:
        assert count("\n".join(program.finish(60)), "lost") == 0


def test_ctrl_c_ends_it_with_a_summary() -> None:
    with demo("--players", "10", "--seconds", "600") as program:
        program.wait_line("p50", 60)
        program.interrupt()
        lines = program.finish(60)
    assert count("\n".join(lines), "lost") == 0


def play_with_fault(fault: str) -> Program:
    script = (
        "import sys; from hisock._cli.demo.command import play;"
        "sys.exit(play(server_module='lossy_server', players=8, rooms_of=4, seconds=1.0))"
    )
    env = environment(HISOCK_DEMO_FAULT=fault, PYTHONPATH=str(HERE))
    return Program([sys.executable, "-c", script], env)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("drop", "lost +4$"),
        ("repeat", "out of order +4$"),
        ("stray", "wrong room +4$"),
        ("kick", "cut off +1 of"),
    ],
)
def test_a_server_that_mistreats_one_move_is_found_out(fault: str, line: str) -> None:
    with play_with_fault(fault) as program:
        assert program.wait(60) == 1
        assert re.search(line, "\n".join(program.lines), re.MULTILINE)


def test_a_server_that_dies_fails_the_demo_and_is_quoted() -> None:
    with play_with_fault("crash") as program:
        assert program.wait(60) == 1
        assert "status 3" in program.errors
        assert "the server gives up" in program.errors


def test_more_players_than_files_may_be_open_fails_with_the_reason() -> None:
    resource = pytest.importorskip("resource")
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limited = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, {min(hard, 100)}));"
    )
    script = limited + "from hisock._cli.main import main; main(['demo', '--players', '300'])"
    with Program([sys.executable, "-c", script]) as program:
        assert program.wait(60) == 1
        assert "open files" in program.errors


no_workers = pytest.mark.skipif(sys.platform == "win32", reason="workers need Unix sockets")


@no_workers
def test_workers_play_one_game_and_each_has_a_line() -> None:
    options = ("--workers", "2", "--players", "16", "--rooms-of", "8", "--seconds", "2.5")
    with demo(*options) as program:
        lines = program.finish(60)
    summary = "\n".join(lines)
    sent = count(summary, "moves sent")
    assert count(summary, "lost") == 0
    assert re.search(rf"deliveries +{8 * sent:,} of {8 * sent:,}", summary)
    for number in range(2):
        assert re.search(rf"worker {number} \(process \d+\)  \d+ players  in [\d,]+/s", summary)
    assert "killed" not in summary


@no_workers
def test_a_worker_that_is_killed_costs_only_what_was_on_its_way_and_its_players_come_back() -> None:
    options = ("--players", "24", "--rooms-of", "8", "--seconds", "3", "--kill-after", "1")
    with demo("--workers", "2", *options) as program:
        killed = re.search(
            r"worker (\d) \(process (\d+)\) with (\d+) players is killed",
            program.wait_line("is killed", 60),
        )
        assert killed is not None
        lines = program.finish(90)
    summary = "\n".join(lines)
    worker, pid, players = killed.groups()
    assert int(players) >= 12  # the one with the most
    assert count(summary, "lost") == 0
    assert count(summary, "cut by kill") > 0
    arrived = re.search(r"^deliveries +([\d,]+) of", summary, re.MULTILINE)
    assert arrived is not None
    heard = int(arrived[1].replace(",", ""))
    assert heard + count(summary, "cut by kill") == 8 * count(summary, "moves sent")
    assert f"{players} of {players} players came back (reconnect)" in summary
    assert re.search(rf"noticed +[\d.]+ ms by worker {1 - int(worker)}", summary)
    again = re.search(rf"worker {worker} is process (\d+) now", summary)
    assert again is not None
    assert again[1] != pid


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kill-after", "1"], "add --workers"),
        (["--cluster", "redis://h"], "add --workers"),
        (["--workers", "1", "--kill-after", "1"], "--workers 2"),
        (["--workers", "2", "--kill-after", "10"], "10 seconds"),
        (["--workers", "2", "--web"], "--web"),
        (["--workers", "2", "--cluster", "ftp://h"], "begins with one of"),
    ],
)
@no_workers
def test_options_about_workers_that_do_not_fit_are_refused(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["demo", *options])
    assert exited.value.code == 2
    text = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().err)
    assert said in " ".join(text.replace("│", " ").split())


@contextmanager
def watched_children(pid: int) -> Iterator[list[int]]:
    """File descriptors of the children of a process, which become readable when they end."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    handles = [os.pidfd_open(int(child)) for child in children]
    try:
        yield handles
    finally:
        for handle in handles:
            os.close(handle)


def ended(handles: list[int], patience_ms: int) -> bool:
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    while handles:
        ready = poll.poll(patience_ms)
        if not ready:
            return False
        for handle, _ in ready:
            poll.unregister(handle)
            handles = [other for other in handles if other != handle]
    return True


@linux_only
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_no_process_is_left_when_the_demo_is(end: signal.Signals) -> None:
    with demo("--players", "4", "--seconds", "600") as program:
        program.wait_line("p50", 60)
        with watched_children(program.pid) as handles:
            assert len(handles) == 3
            os.kill(program.pid, end)
            assert ended(handles, 30_000)
        program.wait(30)


@linux_only
def test_on_a_terminal_it_draws_a_table() -> None:
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        env = environment(TERM="xterm-256color", COLUMNS="100", LINES="30")
        arguments = [sys.executable, "-m", "hisock", "demo", "--players", "4", "--seconds", "1"]
        os.execve(sys.executable, arguments, env)
    screen = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # what the end looks like on Linux
            break
        screen += data
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    text = screen.decode()
    assert "deliveries out/s" in text
    assert "p99" in text
    assert "lost          0" in text
