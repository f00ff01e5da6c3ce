"""What the commands print of frames, messages and figures, and what they complete."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory

from hisock._cli import publish, reload
from hisock._cli.frames import describe
from hisock._cli.messages import Messages
from hisock._cli.prompt import _history, _Words
from hisock._cli.top.figures import size

PACKED = msgspec.msgpack.encode({"x": 1})


@pytest.mark.parametrize(
    ("message", "codec", "shown"),
    [
        (PACKED, "msgpack", "{'x': 1}"),
        (b"text", "msgpack", "text"),
        (b"\xc1\xff", "msgpack", r"\xc1\xff"),
        (b"\xff", "json", r"\xff"),
    ],
)
def test_a_message_is_printed_as_text(
    message: bytes, codec: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Messages(False, codec).received("news", message)
    assert capsys.readouterr().out.rstrip().endswith(f"<-- news {shown}")


def test_a_structure_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    messages = Messages(True, "msgpack")
    messages.received("news", PACKED)
    messages.error("it failed")
    message, error = map(json.loads, capsys.readouterr().out.splitlines())
    assert (message["event"], message["value"]) == ("message", {"x": 1})
    assert (error["event"], error["error"]) == ("error", "it failed")


def test_a_frame_that_is_none_of_the_protocols_is_raw() -> None:
    for payload, shown in ((b"\xff" * 9, r"\xff" * 5 + "..."), (b"\xfe", r"\xfe"), (b"$X", "$X")):
        frame = describe((None, payload), 1, "to server", show_secrets=False)
        assert frame.kind == "raw"
        assert frame.line(5).endswith(f"{len(payload)} B  {shown}")


@pytest.mark.parametrize(
    ("count", "text"), [(5, "5 B"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (7e9, "7.0 GB")]
)
def test_sizes_are_for_people(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("/ca", ["/call"]),
        ("ad", ["add"]),
        ("/call a", ["add"]),
        ("/who A", ["Ada"]),
        ("/call add ", []),
        ("/wait 5", []),
    ],
)
def test_verbs_commands_and_names_are_completed(typed: str, completions: list[str]) -> None:
    shell: Any = SimpleNamespace(commands={"add", "say"}, names={"Ada", "Bob"})
    words = _Words(shell).get_completions(Document(typed), CompleteEvent())
    assert [each.text for each in words] == completions


def test_lines_are_forgotten_where_they_cannot_be_kept(tmp_path: Path) -> None:
    for path in (None, tmp_path / "no such folder" / "history"):
        assert isinstance(_history(path), InMemoryHistory)


def test_changed_files_are_found_without_watchfiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "INTERVAL", 0.0)
    (tmp_path / "venv").mkdir()
    game, beside = tmp_path / "game.py", tmp_path / "venv" / "other.py"
    for file in (game, beside):
        file.write_text("1")
    changes = reload._poll([tmp_path])
    assert next(changes) == []
    for file in (game, beside):
        os.utime(file, (5, 5))
    assert next(changes) == [str(game)]
    game.unlink()
    assert next(changes) == [str(game)]


def test_a_port_that_is_given_stays_and_any_other_is_chosen_once() -> None:
    assert reload._with_real_port(":5000") == ":5000"
    chosen = reload._with_real_port("127.0.0.1:0")
    assert int(chosen.rpartition(":")[2]) > 0


def test_an_address_of_another_machine_is_said_before_anything_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert reload.serve_reloading("game:server", "203.0.113.1:0", [tmp_path]) == 2
    assert capsys.readouterr().err.startswith("hisock serve: ")


def test_what_is_no_json_is_published_as_text() -> None:
    assert publish._content('{"x": 1}') == {"x": 1}
    for text in ("{", "plain", "[" * 100_000):
        assert publish._content(text) == text
