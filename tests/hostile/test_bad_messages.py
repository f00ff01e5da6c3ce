"""A message that cannot be handled costs that message, not the connection and not the server."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest
from support import Peer, command_frame, frame
from support.logs import LogEvents

import hisock

from .conftest import Wired


@dataclass(frozen=True)
class Fault:
    """What a peer may do without losing its connection.

    :ivar records: how many log records it causes.
    """

    name: str
    sends: bytes
    records: int


FAULTS = [
    Fault("a message that does not cast", command_frame("number", "twelve"), 1),
    Fault("a message of bytes that do not cast", command_frame("number", b"\xff\x00"), 1),
    Fault("a handler that raises", command_frame("explode"), 1),
    Fault("an unknown command", command_frame("no such command", "x"), 0),
    Fault("a raw frame", frame(b"no command at all"), 0),
    Fault("an empty frame", frame(b""), 0),
    Fault("one dollar in a command", command_frame("costs 5$", "x"), 0),
    Fault("an unknown reserved name", frame(b"$WHATEVER$"), 0),
    Fault("a keepalive answer nobody asked for", frame(b"$KEEPACK$"), 0),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_faulty_message_costs_only_that_message(
    wired: Wired, fault: Fault, log: LogEvents
) -> None:
    with wired.crowd.talking(), Peer.joined(wired.server.addr, fault.name) as peer:
        peer.send("before", "sent correctly")
        peer.write(fault.sends)
        peer.send("number", "7")
        peer.ask("ping", answer="pong")
    wired.events.wait_for("before", fault.name, "sent correctly")
    assert [value for name, value in wired.events.named("number") if name == fault.name] == [7]
    assert len(log.messages) == fault.records, log.messages


def test_a_fault_is_given_to_the_error_handler(wired: Wired) -> None:
    with Peer.joined(wired.server.addr, "faulty") as peer:
        peer.send("explode")
        peer.send("number", "many")
        peer.ask("ping", answer="pong")
    wired.errors.wait_for("RuntimeError", "handler failed for faulty")
    wired.errors.wait_until(
        lambda seen: any(kind == "InvalidTypeCast" and "many" in text for kind, text in seen)
    )


def test_a_handlers_error_is_logged_with_its_traceback(wired: Wired, log: LogEvents) -> None:
    with Peer.joined(wired.server.addr, "traced") as peer:
        peer.send("explode")
        peer.ask("ping", answer="pong")
    record = log.wait_one()
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is RuntimeError


@pytest.mark.parametrize("reserved", ["join", "leave", "message", "name_change", "*"])
def test_a_reserved_event_name_sent_as_a_command_never_reaches_its_handler(
    wired: Wired, reserved: str
) -> None:
    who = f"sends {reserved}"
    with Peer.joined(wired.server.addr, who) as peer:
        wired.events.wait_for("join", who)
        peer.send(reserved, "pretending")
        peer.ask("ping", answer="pong")
        seen = [event for event in wired.events.seen if event[1] == who]
    # It is an unreserved command that nobody handles: "message" sees it, and so does "*".
    assert seen.count(("join", who)) == 1
    assert ("leave", who) not in seen
    assert seen.count(("*", who, reserved, b"pretending")) == 1
    assert seen.count(("message", who, reserved, b"pretending")) == 1


def test_a_server_that_is_sent_its_clients_events_does_not_reach_their_handlers(
    wired: Wired,
) -> None:
    """The client's reserved names mean nothing to a server; they are commands like any other."""
    with Peer.joined(wired.server.addr, "mixes sides") as peer:
        for name in ("client_connect", "client_disconnect", "force_disconnect"):
            peer.send(name, "x")
        peer.ask("ping", answer="pong")
    sent = [command for who, command, _ in wired.events.named("*") if who == "mixes sides"]
    assert sent == ["client_connect", "client_disconnect", "force_disconnect"]


def test_a_handler_that_disconnects_the_sender_ends_it_there(wired: Wired) -> None:
    """Frames that arrived in the same packet behind the fatal one are not handled any more."""
    server = wired.server

    @server.on("end me")
    def end_me(client: hisock.ClientInfo) -> None:
        server.disconnect_client(client)

    with Peer.joined(server.addr, "ended") as peer:
        peer.write(command_frame("end me") + command_frame("before", "too late"))
        assert peer.rest()[-1].reserved == "DISCONN"
    wired.crowd.round()
    assert ("before", "ended", "too late") not in wired.events.seen
