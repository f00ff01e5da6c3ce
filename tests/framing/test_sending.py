"""A frame goes straight to a recipient's outbox, and what is less simple goes the other way."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from framing.cores import Core

PATIENCE = 20.0  # seconds


class Codec:
    """Encodes text, or nothing."""

    def __init__(self, core: Core) -> None:
        self.encode = core.encoder(None, set(), self._encode_any, None, False)

    def _encode_any(self, content: Any) -> None:
        if content is not None:
            raise TypeError(f"{content!r} cannot be encoded")


class Office:
    """A sender with the method of one implementation, and a recipient that is its own."""

    def __init__(self, core: Core) -> None:
        self.otherwise: list[tuple[Any, ...]] = []
        self.queue: list[Any] = []
        self.core = core
        office = self

        class Sender:
            _codec = Codec(core)
            send_client = core.send_client

            def _send_otherwise(self, *args: Any) -> None:
                office.otherwise.append(args)

        sender = Sender()
        self.send = sender.send_client
        self.outbox = core.Outbox(self.queue, self, lambda: None)
        self.outbox.sender = sender
        self.ada: Any = core.Recipient()
        self.ada._outbox = self.outbox

    def sent(self) -> list[Any]:
        return list(self.core.Decoder().feed(b"".join(self.outbox.take())))


@pytest.fixture
def office(core: Core) -> Office:
    return Office(core)


def test_a_message_goes_to_the_outbox_of_a_recipient(office: Office) -> None:
    office.send(office.ada, "move", b"north")
    office.send(office.ada, "say", "grüß dich")
    office.send(client=office.ada, command="stop")
    office.send(office.ada, "go", None, False, None)
    assert office.sent() == [
        ("move", b"north"),
        ("say", "grüß dich".encode()),
        ("stop", None),
        ("go", None),
    ]
    assert office.queue == [office]
    assert office.otherwise == []


def test_a_new_recipient_has_no_outbox(core: Core) -> None:
    recipient: Any = core.Recipient()
    assert recipient._outbox is None


def test_what_is_no_recipient_goes_otherwise_with_its_message_encoded(office: Office) -> None:
    gone: Any = office.core.Recipient()
    for client in ("Ada", ("127.0.0.1", 5), gone, None, object()):
        office.send(client, "say", "hello")
        assert office.otherwise.pop() == (client, "say", b"hello", False, None)
    assert office.sent() == []


def test_a_recipient_of_another_sender_goes_otherwise(office: Office) -> None:
    stranger = Office(office.core)
    office.send(stranger.ada, "move", b"north")
    assert office.otherwise == [(stranger.ada, "move", b"north", False, None)]
    assert stranger.sent() == []


@pytest.mark.parametrize("options", [{"volatile": True}, {"latest": "key"}, {"volatile": 1}])
def test_options_go_otherwise(office: Office, options: dict[str, Any]) -> None:
    office.send(office.ada, "move", b"north", **options)
    ((client, command, content, volatile, latest),) = office.otherwise
    assert (client, command, content) == (office.ada, "move", b"north")
    assert (volatile, latest) == (options.get("volatile", False), options.get("latest"))
    assert office.sent() == []


def test_a_closed_outbox_goes_otherwise_and_one_that_refuses_does_not(office: Office) -> None:
    office.outbox.refusing = True
    office.send(office.ada, "move", b"north")
    assert (office.outbox.refused, office.otherwise) == (1, [])
    office.outbox.refusing = False
    office.outbox.close()
    office.send(office.ada, "move", b"north")
    assert office.otherwise == [(office.ada, "move", b"north", False, None)]


def test_what_cannot_be_sent_is_an_error_and_queues_nothing(office: Office) -> None:
    with pytest.raises(TypeError, match="cannot be encoded"):
        office.send(office.ada, "move", object())
    with pytest.raises(ValueError, match="must not be empty"):
        office.send(office.ada, "", b"north")
    with pytest.raises(TypeError, match="command must be str"):
        office.send(office.ada, b"move", b"north")
    assert office.outbox.size == 0
    assert office.otherwise == []


def test_threads_send_while_recipients_come_and_go(office: Office) -> None:
    """Every message is either in the outbox or went otherwise."""
    rounds = 2000
    ready = threading.Barrier(3)

    def sending() -> None:
        ready.wait(PATIENCE)
        for _ in range(rounds):
            office.send(office.ada, "move", b"north")

    threads = [threading.Thread(target=sending) for _ in range(2)]
    for thread in threads:
        thread.start()
    ready.wait(PATIENCE)
    for _ in range(rounds):
        office.ada._outbox = None
        office.ada._outbox = office.outbox
    for thread in threads:
        thread.join(PATIENCE)
    assert len(office.sent()) + len(office.otherwise) == 2 * rounds
