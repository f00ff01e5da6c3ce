"""Replay of bytes that were captured between a 2.0.2 server and two 2.0.2 clients.

Each client's bytes are sent to our server, and what it answers is compared frame by frame with what
the 2.0.2 server answered; each server's bytes are fed to our client, and the bytes that our client
sends for the same calls are compared with those of the 2.0.2 client. JSON is compared as JSON, and
the ports of the capture are replaced by those of today. Where the contract wants another answer
than 2.0.2 gave, the difference is written down here.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import Events, Frame, Peer
from support.fixtures import MakeServer
from support.wire import listening

import hisock

from .agents import record_all

VECTORS = Path(__file__).parents[1] / "data" / "hisock-2.0.2.json"

#: 2.0.2 fails on every question; the contract wants it answered.
ANSWERED: dict[bytes, Any] = {
    b"$GETCLT$bob": {"ip": ["127.0.0.1", 1], "name": "bob", "group": "blue"},
    b"$GETCLT$nobody": {"traceback": "$NOEXIST$"},
}


@dataclass(frozen=True)
class Record:
    conn: int
    sender: str
    data: bytes | None  # None: end of the stream

    @property
    def frame(self) -> Frame:
        assert self.data is not None
        return Frame(self.data[16:])


def load() -> list[Record]:
    return [
        Record(
            record["conn"],
            record["from"],
            bytes.fromhex(record["hex"]) if "hex" in record else None,
        )
        for record in json.loads(VECTORS.read_text("utf-8"))["records"]
    ]


def meaning(frame: Frame, ports: dict[int, int] | None = None) -> Any:
    """What a frame says, in a form that is equal for frames that say the same.

    :param ports: number of the connection, by port.
    """
    name: str | None
    if frame.command is not None:
        name, content = "CMD " + frame.command, frame.message or b""
    else:
        name, content = frame.reserved, frame.data if frame.reserved else frame.payload
    if frame.command == "back_int":
        return name, int(content or b"0")  # 2.0.2 sends nothing for 0
    try:
        value = json.loads(content)
    except ValueError:
        return name, content
    if name == "CLTHELLO":  # a peer ignores the keys that it does not know
        value = {key: value[key] for key in ("name", "group")}
    if isinstance(value, dict) and isinstance(value.get("ip"), list) and ports:
        value["ip"][1] = ports[value["ip"][1]]
    return name, value


def captured_ports(records: list[Record]) -> dict[int, int]:
    """The connection of each port in the capture: a client is the first to be told of itself."""
    ports: dict[int, int] = {}
    for record in records:
        if record.data is not None and record.frame.reserved == "CLTCONN":
            ports.setdefault(record.frame.json["ip"][1], record.conn)
    return ports


def wire_as_captured(server: hisock.HiSockServer) -> None:
    """The handlers that the capture implies."""

    @server.on("join")
    def join(client: hisock.ClientInfo) -> None:
        server.send_client(client, "welcome", f"hello {client.name}")

    kinds: dict[str, Any] = {
        "str": str,
        "int": int,
        "float": float,
        "list": list,
        "dict": dict,
        "bytes": bytes,
    }
    for kind, annotation in kinds.items():

        def handler(client: hisock.ClientInfo, message: Any, *, _kind: str = kind) -> None:
            server.send_client(client, f"back_{_kind}", message)

        handler.__annotations__["message"] = annotation
        server.on(f"as_{kind}")(handler)

    @server.on("group_change")
    def group_change(client: hisock.ClientInfo, old: str, new: str) -> None:
        server.send_group("blue", "group_msg", "only for blue")

    @server.on("all")
    def to_all(client: hisock.ClientInfo, message: str) -> None:
        server.send_all_clients("all", message)

    @server.on("kick")
    def kick(client: hisock.ClientInfo) -> None:
        server.disconnect_client(client)


def test_our_server_answers_the_captured_clients_as_2_0_2_did(
    make_server: MakeServer,
) -> None:
    records = load()
    then = captured_ports(records)
    server = make_server()
    wire_as_captured(server)
    server.start()
    peers: dict[int, Peer] = {}
    questions: list[bytes] = []
    with contextlib.ExitStack() as stack:
        for record in records:
            if record.conn not in peers:
                peers[record.conn] = stack.enter_context(Peer(server.addr))
            peer = peers[record.conn]
            now = {other.addr[1]: conn for conn, other in peers.items()}
            if record.sender == "client":
                if record.data is None:
                    peer.close()
                    continue
                if record.frame.reserved == "GETCLT":
                    questions.append(record.frame.payload)
                peer.write(record.data)
            elif record.data is None:
                assert peer.sock.fileno() == -1 or peer.rest() == []
            else:
                wanted = meaning(record.frame, then)
                if record.frame.payload.startswith(b'{"traceback"'):
                    wanted = (None, ANSWERED[questions.pop(0)])
                assert meaning(peer.read(), now) == wanted


KINDS: dict[str, Any] = {
    "welcome": str,
    "back_str": str,
    "back_int": int,
    "back_float": float,
    "back_list": list,
    "back_dict": dict,
    "back_bytes": bytes,
    "group_msg": str,
    "all": str,
}


ALICE, NOBODY = ("127.0.0.1", 49170), ("127.0.0.1", 53960)
TRACEBACK = b'{"traceback": "Client format is wrong (must be of type tuple or str)."}'
SEEN: dict[int, list[tuple[Any, ...]]] = {
    1: [
        ("client_connect", ALICE, "alice", "red"),
        ("welcome", "hello alice"),
        ("back_str", "héllo ඞ"),
        ("back_int", 123),
        ("back_float", 1.5),
        ("back_list", [1, "two", None, {"a": True}]),
        ("back_dict", {"x": 1, "y": [2.5, "z"]}),
        ("back_bytes", b"\x00\xff$MSG$tail"),
        ("back_str", ""),
        ("back_int", 0),
        ("group_msg", "only for blue"),
        ("client_connect", NOBODY, None, None),
        ("all", "to all"),
        ("client_disconnect", NOBODY, None, None),
        ("force_disconnect",),
    ],
    2: [
        ("client_connect", NOBODY, None, None),
        ("welcome", "hello None"),
        ("all", "to all"),
        ("*", None, TRACEBACK),
        ("*", None, TRACEBACK),
        ("force_disconnect",),
    ],
}


@pytest.mark.parametrize("conn", [1, 2])
@pytest.mark.parametrize("step", [1, 7, 16, 10**6])
def test_our_client_understands_the_captured_server(conn: int, step: int, events: Events) -> None:
    """The stream arrives whole or in pieces, and the handlers see the same."""
    stream = b"".join(
        record.data
        for record in load()
        if record.conn == conn and record.sender == "server" and record.data is not None
    )
    with listening() as listener:
        client = hisock.HiSockClient(listener.getsockname())
        record_all(client, events, KINDS)
        with Peer(("", 0), sock=listener.accept()[0]) as server:
            thread = threading.Thread(target=client.start, daemon=True)
            thread.start()
            for start in range(0, len(stream), step):
                server.write(stream[start : start + step])
            server.end_writing()
            thread.join(15)
        assert not thread.is_alive()
    assert events.seen == SEEN[conn]


def test_our_client_sends_what_the_captured_clients_sent() -> None:
    """The same calls; bytes equal but for the spelling of JSON."""
    calls: dict[int, Callable[[hisock.HiSockClient], None]] = {}

    def alice(client: hisock.HiSockClient) -> None:
        client.send("as_str", "héllo ඞ")
        client.send("as_int", 123)
        client.send("as_float", 1.5)
        client.send("as_list", [1, "two", None, {"a": True}])
        client.send("as_dict", {"x": 1, "y": [2.5, "z"]})
        client.send("as_bytes", b"\x00\xff$MSG$tail")
        client.send("as_str", "")
        client.send("as_int", b"")
        client.send("nohandler", "data")
        client.change_name("bob")
        client.change_group("blue")
        client.send("kick", b"")

    def nobody(client: hisock.HiSockClient) -> None:
        client.send("all", "to all")
        client.close()

    calls = {1: alice, 2: nobody}
    # What the API of a client has no call for.
    left_out = ("no command at all", "$GETCLT$bob", "$GETCLT$nobody")
    for conn, name, group in ((1, "alice", "red"), (2, None, None)):
        sent = [
            record.frame
            for record in load()
            if record.conn == conn and record.sender == "client" and record.data is not None
        ]
        sent = [frame for frame in sent if frame.payload.decode("latin-1") not in left_out]
        with listening() as listener:
            client = hisock.HiSockClient(listener.getsockname(), name, group)
            with Peer(("", 0), sock=listener.accept()[0]) as server:
                calls[conn](client)
                for wanted in sent:
                    got = server.read()
                    assert meaning(got) == meaning(wanted)
                    if not isinstance(meaning(wanted)[1], (dict, list)):
                        assert got == wanted
            client.close()


def test_the_capture_is_the_one_that_the_tests_were_written_for() -> None:
    records = load()
    assert len([record for record in records if record.data is not None]) == 40
    for record in records:
        if record.data is not None:
            assert int(record.data[:16]) == len(record.data) - 16
