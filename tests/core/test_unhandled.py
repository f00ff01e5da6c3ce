"""Commands that nobody handles: counted, logged once a name, compared with those that are."""

from __future__ import annotations

import logging
from collections.abc import Collection

import pytest

from hisock._core import unhandled


def made(known: Collection[str] = ("move", "chat", "*")) -> unhandled.Unhandled:
    return unhandled.Unhandled(logging.getLogger("hisock.test"), known)


def test_the_first_of_a_name_is_logged_and_each_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    commands = made()
    texts = {commands.note("mvoe") for _ in range(3)}
    assert texts == {"there is no handler for 'mvoe'; did you mean 'move'?"}
    assert [record.getMessage() for record in caplog.records] == list(texts)
    assert commands.counts == {"mvoe": 3}


def test_names_beyond_the_most_are_counted_together_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    commands = made()
    for number in range(unhandled.MOST_NAMES):
        commands.note(f"{number}")
    caplog.clear()
    assert commands.note("mvoe") == "there is no handler for 'mvoe'"
    commands.note("other")
    assert caplog.records == []
    assert commands.counts[unhandled.OTHERS] == 2
    assert len(commands.counts) == unhandled.MOST_NAMES + 1


def test_only_the_first_few_names_are_compared() -> None:
    commands = made()
    for number in range(unhandled.MOST_COMPARED):
        commands.note(f"{number}")
    assert commands.note("mvoe") == "there is no handler for 'mvoe'"


@pytest.mark.parametrize("command", ["attack", "m" * 10_000, "movemovemovemove"])
def test_a_command_that_is_like_none_is_compared_with_none(command: str) -> None:
    assert made().nearest(command) is None


def test_the_handler_of_everything_is_not_suggested() -> None:
    assert made(["*"]).nearest("*") is None
