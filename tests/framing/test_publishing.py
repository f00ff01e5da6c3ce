"""A frame for an audience goes straight to its outboxes, and what is less simple another way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from framing.cores import Core, make_outbox

HEADER_LEN = 16


class Codec:
    """Encodes text, and finds an object that is not for all peers alike."""

    def encode(self, content: Any) -> Any:
        return content.encode() if isinstance(content, str) else content


class Server:
    """Three clients: Ada and Bob in the group red, Bob and Cleo in the room hall."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.otherwise: list[tuple[Any, ...]] = []
        self.boxes = {name: make_outbox(core) for name in ("ada", "bob", "cleo")}
        self.infos = {name: self.info(box) for name, box in self.boxes.items()}
        ada, bob, cleo = self.boxes.values()
        server = self

        class Broadcast(core.Broadcaster):  # type: ignore[name-defined,misc]
            def publish_otherwise(self, *args: Any) -> int:
                server.otherwise.append(args)
                return 99

        class Sender:
            _codec = Codec()
            _broadcast: Any = None
            send_group = core.send_group
            send_room = core.send_room

            def _in_no_group(self, group: Any) -> None:
                raise TypeError(f"{group} is in no group")

        hall = SimpleNamespace(members={bob: None, cleo: None})
        red = {ada: None, bob: None}
        everyone = {ada: None, bob: None, cleo: None}
        self.broadcast: Any = Broadcast(everyone, {"red": red}, {"hall": hall}, HEADER_LEN)
        self.sender: Any = Sender()
        self.sender._broadcast = self.broadcast

    def info(self, box: Any, group: str | None = "red") -> Any:
        class Info(self.core.Recipient):  # type: ignore[name-defined,misc]
            pass

        info: Any = Info()
        info._outbox = box
        info.group = group
        return info

    def got(self) -> dict[str, list[Any]]:
        """What has come for each who got something."""
        taken = {name: b"".join(box.take()) for name, box in self.boxes.items()}
        return {name: list(self.core.Decoder().feed(data)) for name, data in taken.items() if data}


@pytest.fixture
def server(core: Core) -> Server:
    return Server(core)


FRAME = [("move", b"north")]


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("everybody", "", {"ada", "bob", "cleo"}),
        ("group", "red", {"ada", "bob"}),
        ("group", "blue", set()),
        ("room", "hall", {"bob", "cleo"}),
        ("room", "cellar", set()),
    ],
)
@pytest.mark.parametrize("without", [None, "bob"])
def test_an_audience_gets_the_frame_but_for_one(
    server: Server, kind: str, name: str, expected: set[str], without: str | None
) -> None:
    exclude = None if without is None else server.infos[without]
    expected = expected - {without}
    written = server.broadcast.publish((kind, name, (), exclude), "move", b"north")
    assert written == len(expected)
    assert server.got() == dict.fromkeys(expected, FRAME)
    assert server.otherwise == []


def test_clients_get_it_once_however_often_they_are_named(server: Server) -> None:
    ada, _, cleo = server.infos.values()
    audience = ("clients", "", (cleo, ada, cleo), None)
    assert server.broadcast.publish(audience, "move", b"north") == 2
    assert server.got() == {"ada": FRAME, "cleo": FRAME}
    assert server.broadcast.publish(("clients", "", (), None), "move", None) == 0
    assert server.otherwise == []


class Falsy(bytes):
    pass


@pytest.mark.parametrize(
    ("message", "volatile", "latest"),
    [(Falsy(b"0"), False, None), (b"x", True, None), (b"x", False, "key")],
)
def test_what_needs_more_is_left_to_who_inherits(
    server: Server, message: bytes, volatile: bool, latest: str | None
) -> None:
    audience = ("group", "red", (), None)
    assert server.broadcast.publish(audience, "move", message, volatile, latest) == 99
    assert server.otherwise == [(audience, "move", message, volatile, latest)]
    options: dict[str, Any] = {"volatile": volatile, "latest": latest}
    assert server.sender.send_group("red", "move", message, **options) == 99
    assert server.otherwise == [(audience, "move", message, volatile, latest)] * 2
    assert server.got() == {}


def test_a_message_is_passed_on_where_other_servers_have_some_of_its_audience(
    server: Server,
) -> None:
    passed: list[tuple[Any, ...]] = []

    def pass_on(*given: Any) -> int:
        passed.append(given)
        return 7

    reach = {"group": {"red": "those", "blue": "them"}, "room": {}}
    server.broadcast.backplane = SimpleNamespace(reach=reach, pass_on=pass_on)
    assert server.sender.send_group("red", "move", b"north") == 7 + 2
    assert server.sender.send_group("blue", "move", b"north") == 7
    assert server.sender.send_room("hall", "move", b"north") == 2
    frame = server.core.build_command("move", b"north")
    assert passed == [("those", "group", "red", frame), ("them", "group", "blue", frame)]
    assert server.got() == {"ada": FRAME, "bob": FRAME * 2, "cleo": FRAME}
    assert server.otherwise == []


@pytest.mark.parametrize("kind", ["clients", "group"])
def test_clients_that_other_servers_may_have_are_left_to_who_inherits(
    server: Server, kind: str
) -> None:
    reach = {"group": {"red": "those"}, "room": {}, "clients": {"": "those"}}
    server.broadcast.backplane = SimpleNamespace(reach=reach)
    ada = server.infos["ada"]
    audience = (kind, "", (ada,), None) if kind == "clients" else (kind, "red", (), ada)
    assert server.broadcast.publish(audience, "move", b"north") == 99
    assert server.got() == {}


@pytest.mark.parametrize("place", ["exclude", "clients"])
@pytest.mark.parametrize("kind", ["a name", "left", "of another server"])
def test_a_client_that_has_to_be_looked_up_is_left_to_who_inherits(
    server: Server, kind: str, place: str
) -> None:
    other = {
        "a name": "ada",
        "left": server.info(None),
        "of another server": server.info(make_outbox(server.core)),
    }[kind]
    known = server.infos["bob"]
    audience: Any = ("clients", "", (known, other), None)
    if place == "exclude":
        audience = ("room", "hall", (), other)
    assert server.broadcast.publish(audience, "move", b"north") == 99
    assert server.otherwise == [(audience, "move", b"north", False, None)]
    assert server.got() == {}


def test_methods_send_to_groups_and_rooms(server: Server) -> None:
    send_group, send_room = server.sender.send_group, server.sender.send_room
    assert send_group("red", "move", b"north") == 2
    assert server.got() == {"ada": FRAME, "bob": FRAME}
    assert send_group(server.infos["ada"], "move", "north") == 2
    assert server.got() == {"ada": FRAME, "bob": FRAME}
    assert send_room("hall", "move", "north", exclude=server.infos["cleo"]) == 1
    assert server.got() == {"bob": FRAME}
    assert send_room(room="hall", command="move") == 2
    assert server.got() == {"bob": [("move", None)], "cleo": [("move", None)]}
    assert server.otherwise == []
    for nobody in (None, server.info(server.boxes["ada"], None)):
        with pytest.raises(TypeError, match="is in no group"):
            send_group(nobody, "move")
    with pytest.raises(TypeError):
        send_group("red", "move", b"north", True)


def test_a_command_that_is_none_is_refused_though_nobody_would_get_it(server: Server) -> None:
    for name in ("red", "blue"):
        with pytest.raises(ValueError, match=r"\$"):
            server.sender.send_group(name, "$move$", b"north")
    assert server.got() == {}
