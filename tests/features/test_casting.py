"""From Python values to messages and back, through real connections."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, Union  # the old spelling is in use too

import msgspec
import pytest
from support import Events, Peer
from support.fixtures import MakePeer, MakeServer

import hisock
from hisock.utils import InvalidTypeCast

from .casting import Bench


@dataclass
class Move:
    x: int
    y: int
    piece: str = "pawn"


class Point(msgspec.Struct):
    x: float
    y: float


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    server = hisock.ThreadedHiSockServer(("127.0.0.1", 0))
    errors: list[Exception] = []
    server.on("ping")(lambda client: server.send_client(client, "pong"))
    server.start(error_handler=errors.append)
    with Peer.joined(server.addr, "tester") as peer:
        yield Bench(server, peer, Events(), errors)
    server.close()


# Received

FITS: list[tuple[Any, bytes | str, Any]] = [
    (bytes, b"\x00\xff", b"\x00\xff"),
    (str, "ඞ", "ඞ"),
    (int, "123", 123),
    (int, "-5", -5),
    (int, "1" * 30, int("1" * 30)),
    (float, "1.5", 1.5),
    (float, "-3", -3.0),
    (float, "1e300", 1e300),
    (bool, "true", True),
    (bool, "True", True),
    (bool, "1", True),
    (bool, b"\x00", True),
    (bool, "false", False),
    (bool, "False", False),
    (bool, "0", False),
    (list, '[1, "two", null]', [1, "two", None]),
    (dict, '{"a": {"b": []}}', {"a": {"b": []}}),
    (list[int], "[1, 2]", [1, 2]),
    (dict[str, float], '{"a": 1}', {"a": 1.0}),
    (tuple[int, str], '[1, "a"]', (1, "a")),
    (set[int], "[3, 3, 1]", {1, 3}),
    (Move, '{"x": 1, "y": 2}', Move(1, 2)),
    (Move, '{"x": 1, "y": 2, "piece": "king"}', Move(1, 2, "king")),
    (list[Move], '[{"x": 1, "y": 2}]', [Move(1, 2)]),
    (Point, '{"x": 1, "y": 2.5}', Point(1.0, 2.5)),
    (Color, '"red"', Color.RED),
    (Level, "2", Level.HIGH),
    (Literal["on", "off"], '"on"', "on"),
    (Literal[1, 2], "2", 2),
    (datetime.date, '"2024-02-29"', datetime.date(2024, 2, 29)),
    (uuid.UUID, f'"{uuid.UUID(int=7)}"', uuid.UUID(int=7)),
    (Optional[int], "5", 5),  # noqa: UP045
    (int | None, "5", 5),
    (str | None, "text", "text"),
    (Optional[Move], '{"x": 1, "y": 2}', Move(1, 2)),  # noqa: UP045
    (Union[int, str], "5", 5),  # noqa: UP007
    (Union[int, str], "five", "five"),  # noqa: UP007
    (None, b"\xff", b"\xff"),
    (..., b"\xff", b"\xff"),
    (Any, b"\xff", b"\xff"),
]


@pytest.mark.parametrize(("annotation", "message", "value"), FITS, ids=repr)
def test_a_message_that_fits_is_cast(
    bench: Bench, annotation: Any, message: bytes | str, value: Any
) -> None:
    got = bench.receive(annotation, message)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("annotation", "zero"),
    [
        (bytes, b""),
        (str, ""),
        (int, 0),
        (float, 0.0),
        (bool, False),
        (list, []),
        (dict, {}),
        (list[int], []),
        (dict[str, int], {}),
        (int | None, None),
        (Optional[str], None),  # noqa: UP045
        (Optional[Move], None),  # noqa: UP045
        (None, None),
        (..., None),
        (Any, None),
        (Annotated[str, msgspec.Meta(max_length=20)], ""),
        (Annotated[int, msgspec.Meta(ge=0)], 0),
        (Annotated[list[int], msgspec.Meta(max_length=3)], []),
    ],
    ids=repr,
)
@pytest.mark.parametrize("message", [None, b""])
def test_no_message_is_the_zero_of_the_type(
    bench: Bench, annotation: Any, zero: Any, message: bytes | None
) -> None:
    got = bench.receive(annotation, message)
    assert got == zero
    assert type(got) is type(zero)


DOES_NOT_FIT: list[tuple[Any, bytes | str | None]] = [
    (str, b"\xff\xfe"),
    (int, "twelve"),
    (int, "0x10"),
    (int, "__import__('os')"),
    (int, b"\xff"),
    (float, "a lot"),
    (bool, "yes"),
    (bool, "2"),
    (bool, b"\x01"),
    (list, "{}"),
    (list, "(1, 2)"),
    (list, "[1, 2"),
    (list, "['single']"),
    (dict, "[]"),
    (dict, "{'single': 1}"),
    (dict, "{1: 2}"),
    (dict, "null"),
    (list[int], '["a"]'),
    (Move, "{}"),
    (Move, '{"x": "left", "y": 1}'),
    (Move, None),
    (Point, None),
    (Point, "[1, 2]"),
    (Color, '"green"'),
    (Color, None),
    (Level, "3"),
    (Literal["on", "off"], '"half"'),
    (datetime.date, '"yesterday"'),
    (int | None, "many"),
    (list, "[" * 100_000),
    (dict, '{"a":' * 100_000),
    # What the limits forbid is no zero either.
    (Annotated[str, msgspec.Meta(min_length=1)], None),
    (Annotated[str, msgspec.Meta(min_length=1)], b""),
    (Annotated[int, msgspec.Meta(ge=1)], None),
    (Annotated[list[int], msgspec.Meta(min_length=1)], None),
    (Annotated[tuple[int, int], msgspec.Meta(title="a place")], None),
]


@pytest.mark.parametrize(("annotation", "message"), DOES_NOT_FIT, ids=lambda v: repr(v)[:30])
def test_a_message_that_does_not_fit_is_an_error_and_no_call(
    bench: Bench, annotation: Any, message: bytes | str | None
) -> None:
    with pytest.raises(InvalidTypeCast) as caught:
        bench.receive(annotation, message)
    assert caught.value.command == "subject"
    assert caught.value.type == annotation
    assert caught.value.reason
    assert "subject" in str(caught.value)


def test_the_reason_names_the_path_of_the_wrong_value(bench: Bench) -> None:
    with pytest.raises(InvalidTypeCast, match=r"\[1\].*x|x.*\[1\]"):
        bench.receive(list[Move], '[{"x": 1, "y": 2}, {"x": "left", "y": 2}]')


def test_nothing_received_is_evaluated(bench: Bench) -> None:
    for annotation in (int, float, bool, list, dict, Move):
        with pytest.raises(InvalidTypeCast):
            bench.receive(annotation, "__import__('builtins').print('evaluated')")
        with pytest.raises(InvalidTypeCast):
            bench.receive(annotation, "[x for x in (1,)]")


def test_an_annotation_that_no_message_can_have_is_refused_at_registration(bench: Bench) -> None:
    class Opaque:
        pass

    def handler(client: hisock.ClientInfo, value: Opaque) -> None: ...

    with pytest.raises(TypeError, match="Opaque"):
        bench.server.on("opaque")(handler)


def test_locally_defined_classes_work_with_postponed_annotations(bench: Bench) -> None:
    """This file has ``from __future__ import annotations``, so the annotation is text."""

    @dataclass
    class Local:
        size: int

    @bench.server.on("local")
    def local(client: hisock.ClientInfo, value: Local) -> None:
        bench.events.add("local", value)

    assert local.__annotations__["value"] == "Local"
    bench.peer.send("local", '{"size": 3}')
    bench.events.wait_for("local", Local(3))


def test_text_annotations_work(bench: Bench) -> None:
    def handler(client: hisock.ClientInfo, value: Any) -> None:
        bench.events.add("text", value)

    handler.__annotations__["value"] = "list[Move] | None"
    bench.server.on("text")(handler)
    bench.peer.send("text", '[{"x": 1, "y": 2}]')
    bench.events.wait_for("text", [Move(1, 2)])


def test_methods_partials_and_lambdas_are_handlers_too(bench: Bench) -> None:
    import functools

    class Game:
        def on_move(self, client: hisock.ClientInfo, move: Move) -> None:
            bench.events.add("method", move)

    def partly(prefix: str, client: hisock.ClientInfo, number: int) -> None:
        bench.events.add(prefix, number)

    bench.server.on("method")(Game().on_move)
    bench.server.on("partial")(functools.partial(partly, "partial"))
    bench.server.on("lambda")(lambda client, message: bench.events.add("lambda", message))
    bench.peer.send("method", '{"x": 1, "y": 2}')
    bench.peer.send("partial", "5")
    bench.peer.send("lambda", "raw")
    bench.events.wait_for("method", Move(1, 2))
    bench.events.wait_for("partial", 5)
    bench.events.wait_for("lambda", b"raw")


def test_the_wildcard_and_message_are_cast_too(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()

    @server.on("*")
    def wildcard(client: hisock.ClientInfo, command: bytes, message: int) -> None:
        events.add("*", command, message)

    @server.on("message")
    def message(client: hisock.ClientInfo, command: str, message: str) -> None:
        events.add("message", command, message)

    server.start()
    make_peer(server).send("what", "5")
    events.wait_for("*", b"what", 5)
    events.wait_for("message", "what", "5")


def test_a_client_argument_annotated_dict_is_a_dict(
    make_server: MakeServer, make_peer: MakePeer, events: Events
) -> None:
    server = make_server()

    @server.on("join")
    def join(client: dict) -> None:  # type: ignore[type-arg]
        events.add("join", client)

    @server.on("say")
    def say(client: dict, text: str) -> None:  # type: ignore[type-arg]
        events.add("say", client, text)
        server.send_client(client["ip"], "heard", hisock.iptup_to_str(client["ip"]))

    server.start()
    peer = make_peer(server, "ann", "red")
    peer.send("say", "hello")
    assert peer.wait_for("heard").message == peer.ip.encode()
    for event in (events.wait_for("join"), events.wait_for("say")):
        client = event[1]
        assert type(client) is dict
        assert set(client) == {"ip", "name", "group"}
        assert (client["name"], client["group"]) == ("ann", "red")


# Sent


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Move(1, 2), {"x": 1, "y": 2, "piece": "pawn"}),
        (Point(1.0, 2.0), {"x": 1.0, "y": 2.0}),
        (Color.RED, "red"),
        (Level.HIGH, 2),
        ((1, "two"), [1, "two"]),
        ([Move(0, 0)], [{"x": 0, "y": 0, "piece": "pawn"}]),
        ({"nested": {"at": datetime.date(2024, 2, 29)}}, {"nested": {"at": "2024-02-29"}}),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        ({1, 2}, [1, 2]),
    ],
    ids=repr,
)
def test_what_msgspec_knows_is_sent_as_json(bench: Bench, content: Any, message: Any) -> None:
    bench.server.send_client("tester", "sent", content)
    assert bench.peer.wait_for("sent").json == message


def test_client_info_can_be_sent(bench: Bench) -> None:
    """2.0.2 programs send ``get_all_clients()``, which was a list of dicts."""
    info = {"ip": list(bench.peer.addr), "name": "tester", "group": None}
    bench.server.send_client("tester", "sent", bench.server.get_client("tester"))
    assert bench.peer.wait_for("sent").json == info
    bench.server.send_client("tester", "sent", bench.server.get_all_clients())
    assert bench.peer.wait_for("sent").json == [info]


class Opaque:
    def __repr__(self) -> str:
        return "Opaque()"  # it names a test, which every process has to name alike


@pytest.mark.parametrize("content", [Opaque(), [Opaque()], {"a": Opaque()}, len, 1j], ids=repr)
def test_what_cannot_be_encoded_is_a_type_error_and_nothing_goes_out(
    bench: Bench, content: Any
) -> None:
    sends: list[Callable[[], Any]] = [
        lambda: bench.server.send_client("tester", "bad", content),
        lambda: bench.server.send_all_clients("bad", content),
        lambda: bench.server.send_group("nobody", "bad", content),
    ]
    for send in sends:
        with pytest.raises(TypeError):
            send()
    with hisock.HiSockClient(bench.server.addr) as client, pytest.raises(TypeError):
        client.send("bad", content)
    bench.server.send_client("tester", "good")
    got = bench.peer.read()
    while got.reserved in ("CLTCONN", "CLTDISCONN"):
        got = bench.peer.read()
    assert got.command == "good"


def test_a_lone_surrogate_cannot_be_sent(bench: Bench) -> None:
    with pytest.raises((TypeError, ValueError)):
        bench.server.send_client("tester", "bad", "\ud800")
    with pytest.raises((TypeError, ValueError)):
        bench.server.send_client("tester", "bad \ud800")


def test_text_and_bytes_subclasses_are_text_and_bytes(bench: Bench) -> None:
    class Name(str):
        pass

    class Blob(bytes):
        pass

    bench.server.send_client("tester", "sent", Name("ann"))
    assert bench.peer.wait_for("sent").message == b"ann"
    bench.server.send_client("tester", "sent", Blob(b"blob"))
    assert bench.peer.wait_for("sent").message == b"blob"
