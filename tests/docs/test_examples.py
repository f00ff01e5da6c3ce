"""The larger examples, run as their first lines say."""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.process import Program, environment, free_port

import hisock

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.timeout(60)


def example(name: str, *arguments: str | Path, **env: str) -> Program:
    return Program([sys.executable, EXAMPLES / name, *arguments], environment(**env))


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of an example, as the example itself does."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "arena"))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def test_players_of_the_arena_see_those_who_are_near(module: Any) -> None:
    world = module("world")
    arena = world.Arena()
    ada, near, far = (
        world.Player(name, x, 1000) for name, x in (("Ada", 0), ("B", 390), ("C", 410))
    )
    for player in (ada, near, far):
        arena.enter(player)
    assert [other.name for other in arena.view(ada).others] == ["B"]
    far.dx = -1
    arena.step(0.05)  # 12 to the left
    assert [other.name for other in arena.view(ada).others] == ["B", "C"]
    arena.leave(near)
    assert [other.name for other in arena.view(ada).others] == ["C"]


def test_the_window_of_the_arena_shows_a_place_between_two_views(module: Any) -> None:
    world, interpolation = module("world"), module("interpolation")
    shown = interpolation.Interpolation(delay=0.1)
    for number in range(3):  # at 0, 50 and 100 ms of the server's time; the second came late
        view = world.View(number / 20, world.Seen("Ada", number * 10, 0), [])
        shown.take(view, 100 + number / 20 + (0.03 if number == 1 else 0))
    assert shown.at(100.0)["Ada"] == (0, 0)
    assert shown.at(100.125)["Ada"] == pytest.approx((5, 0))
    assert shown.at(100.175)["Ada"] == pytest.approx((15, 0))
    assert shown.at(101.0)["Ada"] == (20, 0)


def test_the_arena_is_played_by_bots_and_in_a_window(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    picture, port = tmp_path / "arena.png", str(free_port())
    with example("arena/server.py", port) as server:
        server.wait_line("The arena is at port")
        with example("arena/bots.py", "--port", port, "--count", "3", "--seconds", "1.5") as bots:
            window = ("Ada", "--port", port, "--frames", "30", "--screenshot", picture)
            with example("arena/play.py", *window, SDL_VIDEODRIVER="dummy") as ada:
                assert re.fullmatch(r"\d in main", ada.wait_line(" in main"))
                ada.wait_line(r"sees \d others")
                ada.finish(30)
            bots.wait_line(r"3 bots got \d+ views")
    assert picture.stat().st_size > 1000


def test_a_swarm_of_bots_plays_in_its_rooms() -> None:
    with example("swarm.py", "--bots", "50", "--rate", "4", "--seconds", "0.5") as swarm:
        swarm.wait_line("50 bots are there")
        said = swarm.wait_line("moves were")
        swarm.finish(30)
    heard = re.fullmatch(r"100 moves were made, (\d+) were heard", said)
    # Rooms of 20, 20 and 10; the last moves may be on their way when the bots leave.
    assert heard is not None
    assert 0 < int(heard[1]) <= 1800


def test_a_game_of_tictactoe_is_watched() -> None:
    port = str(free_port())
    with example("tictactoe.py", "serve", port) as server:
        server.wait_line("Listening")
        with (
            example("tictactoe.py", "watch", port) as spectator,
            example("tictactoe.py", "play", "Ada", port) as ada,
        ):
            spectator.wait_line("0 games are on")
            ada.wait_line("waiting for somebody")
            with example("tictactoe.py", "play", "Bob", port) as bob:
                for player, cell, board in (
                    (ada, 4, "012 3X5 678 Bob"),
                    (bob, 4, "that is no free cell"),
                    (bob, 0, "O12 3X5 678 Ada"),
                    (ada, 2, "O1X 3X5 678 Bob"),
                    (bob, 8, "O1X 3X5 67O Ada"),
                    (ada, 6, "O1X 3X5 X7O Ada wins"),
                ):
                    player.tell(str(cell))
                    player.wait_line(board)
                for program in (ada, bob):
                    program.finish(30)
                spectator.wait_line("game 1: O1X 3X5 X7O Ada wins")


def test_a_file_goes_to_the_server_and_back(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    served, back = tmp_path / "served", tmp_path / "back"
    served.mkdir()
    back.mkdir()
    data = os.urandom(5_000_001)
    (tmp_path / "data.bin").write_bytes(data)
    port = str(free_port())
    with example("file_transfer.py", "serve", served, port) as server:
        server.wait_line("Listening")
        with example("file_transfer.py", "put", tmp_path / "data.bin", port) as put:
            assert put.finish(30)[-1] == "arrived whole"
        with example("file_transfer.py", "get", "data.bin", back, port) as get:
            assert get.finish(30)[-1] == "5000001 bytes saved"
        assert (back / "data.bin").read_bytes() == data
        with hisock.connect(("127.0.0.1", int(port))) as client:
            for name in ("../data.bin", "/etc/passwd", "", ".."):
                with pytest.raises(hisock.RemoteError, match="is not the name of a file"):
                    client.call("about", name)
            client.call("put", {"name": "half.bin", "size": 10})
            client.call("piece", b"12345")
    assert [path.name for path in served.iterdir() if path.suffix != ".part"] == ["data.bin"]


def test_a_job_goes_to_another_worker_when_one_dies() -> None:
    for needed in ("fastapi", "uvicorn"):
        pytest.importorskip(needed)
    with example("jobs_behind_fastapi.py") as program:
        (line,) = program.finish(30)
    assert "'state': 'done', 'result': 'HELLO', 'tried by': ['Ada', 'Bob']" in line


def test_readings_of_sensors_are_there_for_prometheus() -> None:
    pytest.importorskip("prometheus_client")
    port = str(free_port())
    with example("telemetry.py", "serve", port, "0") as server:
        line = server.wait_line("Listening on port")
        with example("telemetry.py", "sense", "attic", port, "1") as sensor:
            assert sensor.finish(30) == ["attic has sent 1 readings"]
        url = f"http://127.0.0.1:{line.rpartition(' ')[2]}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            exposed = answer.read().decode()
    assert 'sensor_readings_total{sensor="attic"} 1.0' in exposed
    assert 'hisock_joins_total{server="telemetry"} 1.0' in exposed


def test_what_one_draws_on_the_whiteboard_another_sees(module: Any) -> None:
    tk = pytest.importorskip("tkinter")
    whiteboard = module("tk_whiteboard")
    with pytest.raises(ValueError, match="no line on this board"):
        whiteboard.Board().add(whiteboard.Line("#0072b2", [(0, 0), (9999, 0)]))
    port = free_port()
    with example("tk_whiteboard.py", "serve", str(port)) as server:
        server.wait_line("Listening")
        with hisock.connect(("127.0.0.1", port), name="Bob") as bob:
            bob.get_client("Bob")
            try:
                ada = whiteboard.Window("Ada", port)
            except tk.TclError:
                pytest.skip("needs a screen, as of xvfb-run")
            ada.root.update()  # Tk gives no events to a window that is not there yet
            for x, y in ((10, 10), (50, 60), (90, 20)):
                ada.canvas.event_generate("<B1-Motion>", x=x, y=y)
            drawn = [bob.recv("line", whiteboard.Line, timeout=30) for _ in range(2)]
            ada.root.destroy()
            ada.client.close()
            # Tcl ends the process when another thread collects its interpreter.
            del ada
            gc.collect()
    assert [line.points for line in drawn] == [[(10, 10), (50, 60)], [(50, 60), (90, 20)]]


def test_the_chat_passes_lines_on() -> None:
    port = str(free_port())
    with example("chat.py", "serve", port) as server:
        server.wait_line("Listening")
        with example("chat.py", "join", "Ada", port) as ada:
            ada.wait_line("Ada joined, 1 here")
            with example("chat.py", "join", "Bob", port) as bob:
                ada.wait_line("Bob joined, 2 here")
                ada.tell("Good evening")
                assert bob.wait_line("Ada: Good evening")
                bob.tell("")
                bob.finish(30)
            ada.wait_line("Bob left")
            ada.tell("")
            ada.finish(30)


def test_the_rooms_example_shows_who_hears_what() -> None:
    with example("rooms.py") as program:
        assert program.finish(30) == [
            "{'kitchen': ['Ada', 'Bob']}",
            "Bob hears: Bob: Tea, anyone?",
            "Bob hears: Bob came from the kitchen",
            "Bob hears: Bob: Lovely out here.",
            "{'kitchen': ['Ada'], 'garden': ['Bob']}",
            "Ada hears: Bob: Tea, anyone?",
            "Ada hears: Bob went to the garden",
        ]


def test_the_game_loop_sees_the_ball_move() -> None:
    with example("game_loop.py") as program:
        text = "\n".join(program.finish(30))
    assert len(set(re.findall(r"ball at +(\d+) +\d+", text))) > 1


def test_the_typed_example_takes_what_fits_and_refuses_the_rest() -> None:
    with example("typed_messages.py") as program:
        first, refusal, second = program.finish(30)
    assert first == "Place(x=0, y=3)"
    assert refusal.startswith("refused:")
    assert "'up'" in refusal
    assert second == "Place(x=-1, y=3)"


def test_the_async_chat_is_heard_by_both_and_saved() -> None:
    with example("async_chat.py") as program:
        lines = program.finish(30)
    both = "['Ada: Good evening', 'Bob: Hello']"
    assert sorted(lines[:2]) == [f"Ada heard {both}", f"Bob heard {both}"]
    assert lines[2:] == ["2 lines saved"]


def test_the_calls_example_asks_in_both_directions() -> None:
    with example("calls.py") as program:
        assert program.finish(30) == [
            "{'lamp': 30, 'rope': 5}",
            "The server asks: rope for 5?",
            "one rope for Ada",
            "The server asks: lamp for 30?",
            "another time, then",
            "Refused: we have no moon",
        ]


def test_the_reconnecting_example_comes_back_with_its_new_name_and_its_note() -> None:
    with example("reconnecting.py") as program:
        lines = program.finish(30)
    assert lines[0] == "Ada is here"
    assert "The connection is lost" in lines
    # The client's thread may be late to say that, but these two are in order.
    assert [line for line in lines if line.startswith("Countess")] == [
        "Countess Ada is here",
        "Countess Ada: written while there was no connection",
    ]


def test_the_ticks_example_moves_the_ship() -> None:
    with example("ticks.py") as program:
        flown, skipped = program.finish(30)
    assert float(flown.removeprefix("Ada's ship has flown ")) >= 5
    assert re.fullmatch(r"ticks skipped: \d+", skipped)


def test_the_example_of_many_rooms_shows_who_hears_what() -> None:
    with example("many_rooms.py") as program:
        assert program.finish(30) == [
            "Bob finds ['Ada']",
            "Ada hears: Bob enters the kitchen",
            "Ada hears: Ada in the cellar: Hello?",
            "Ada hears: Ada in the kitchen: Hello?",
            "heard by 3",
            "Bob hears: Ada in the kitchen: Hello?",
            "Bob is in []",
            "Ada hears: Bob leaves the kitchen",
            "Ada is still in ['cellar']",
        ]


def test_hisock_and_aiohttp_share_a_loop_in_their_example() -> None:
    pytest.importorskip("aiohttp")
    with example("beside_aiohttp.py") as program:
        assert program.finish(30) == [
            '/players 200 ["Ada"]',
            "/players/Ada/score 200 42",
            "/players/Bob/score 404 404: Not Found",
        ]


def test_hisock_and_fastapi_share_a_port_in_their_example() -> None:
    for needed in ("fastapi", "uvicorn", "websockets"):
        pytest.importorskip(needed)
    with example("beside_fastapi.py") as program:
        joined, players = program.finish(30)
    assert joined.startswith("b'$CLTCONN$")
    assert '"name":"Ada"' in joined
    assert players == '["Ada"]'
