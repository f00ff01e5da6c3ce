"""What programs of 2.0.2 import and look up."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from support import Events, OldHiSock, Peer
from support.events import PATIENCE
from support.fixtures import MakeClient, MakeServer
from support.process import environment

import hisock
import hisock.client
import hisock.server
import hisock.utils
from hisock import ClientInfo

_LIST = """\
import importlib, types
for name in ("", ".client", ".server", ".utils", ".constants"):
    module = importlib.import_module("hisock" + name)
    for key, value in vars(module).items():
        foreign = isinstance(value, types.ModuleType) and not value.__name__.startswith("hisock")
        home = str(getattr(value, "__module__", "hisock"))
        if not key.startswith("__") and not foreign and home.startswith(("hisock", "typing")):
            print("hisock" + name, key)
"""
#: What 2.0.2 has by accident: from typing, and the base class of its two halves.
_BY_ACCIDENT = {"Any", "Callable", "Dict", "Iterable", "List", "Optional", "Tuple", "Type", "Union"}
_BY_ACCIDENT |= {"annotations", "_HiSockBase", "_shared", "examples"}
#: What nobody but 2.0.2 itself has a use for in a module that only imports it.
_INTERNAL = {"_removeprefix", "_type_cast", "_dict_tupkey_lookup"}


def test_every_name_of_2_0_2_can_be_imported(old_hisock: OldHiSock) -> None:
    done = subprocess.run(
        [str(old_hisock.python), "-c", _LIST],
        env=environment(),
        cwd=old_hisock.python.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    there = {tuple(line.split()) for line in done.stdout.splitlines()}
    assert ("hisock.utils", "_input_port") in there, done.stdout
    missing = []
    for module, name in sorted(there):
        ours: Any = __import__(module, fromlist=["x"])
        internal = name in _INTERNAL and module != "hisock.utils"
        if name not in _BY_ACCIDENT and not internal and not hasattr(ours, name):
            missing.append(f"{module}.{name}")
    assert missing == []


def test_the_cache_is_read_in_the_callback(make_server: MakeServer, events: Events) -> None:
    """A published game does; a server has no other access to it in 2.0.2."""
    server = make_server(cache_size=3)
    server.on("move")(lambda client, message: None)

    def callback() -> None:
        events.add("cache", [(m.command, m.content, m.called) for m in server.cache])

    server.start(callback)
    with Peer.joined(server.addr) as peer:
        for number in range(4):
            peer.send("move", str(number))
        expected = [("move", str(n).encode(), True) for n in (1, 2, 3)]
        events.wait_for("cache", expected)
    assert server.cache_size == 3
    assert [member.content for member in server.get_cache()] == [b"1", b"2", b"3"]


def test_the_callback_is_called_after_a_join(make_server: MakeServer, events: Events) -> None:
    server = make_server()
    server.on("join")(lambda client: events.add("join"))
    server.start(lambda: events.add("callback", len(server)))
    with Peer.joined(server.addr):
        events.wait_for("callback", 1)
    assert events.seen[:2] == [("join",), ("callback", 1)]


def test_the_handlers_can_be_looked_up(make_server: MakeServer, make_client: MakeClient) -> None:
    server = make_server()

    @server.on("move", threaded=True)
    def move(client: ClientInfo, where: str) -> None: ...

    @server.on("join", override=True)
    def join() -> None: ...

    server.start()
    client = make_client(server)
    client.on("news")(print)
    assert set(server.funcs) == {"move", "join"}
    assert server.funcs["move"] == {
        "func": move,
        "name": "move",
        "type_hint": {"client": ClientInfo, "where": str},
        "threaded": True,
        "override": False,
    }
    assert server.funcs["join"]["override"] is True
    assert client.funcs["news"]["func"] is print
    with pytest.raises(TypeError):
        server.funcs["other"] = {}  # type: ignore[index]
    with pytest.raises(TypeError):
        server.funcs["move"]["func"] = print  # type: ignore[index]


def test_the_real_sockets_can_be_asked(make_server: MakeServer, make_client: MakeClient) -> None:
    server = make_server()
    server.start()
    client = make_client(server)
    assert server.socket.getsockname() == server.addr
    assert server.socket.fileno() >= 0
    assert client.sock.getpeername() == server.addr
    assert client.sock.getsockname() == client.get_client_addr()
    assert client.sock.fileno() == client.fileno()
    client.close()
    server.close()
    assert server.socket.fileno() == client.sock.fileno() == -1


def test_closed_can_be_set_to_end_a_client(make_server: MakeServer, events: Events) -> None:
    server = make_server()
    server.on("join")(lambda client: server.send_client(client, "end"))
    server.on("leave")(lambda client: events.add("leave"))
    server.start()
    client = hisock.connect(server.addr)

    @client.on("end")
    def end() -> None:
        client.closed = True

    client.start()
    assert client.closed
    events.wait_for("leave")
    with pytest.raises(ValueError, match="make a new one"):
        client.closed = False


def test_closed_can_be_set_to_end_a_server() -> None:
    server = hisock.start_server(("127.0.0.1", 0))

    @server.on("end")
    def end() -> None:
        server.closed = True

    with hisock.connect(server.addr) as client:
        client.send("end")
        server.start()
    assert server.closed


def test_what_names_no_client_is_a_value_error(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    with hisock.connect(server.addr, "ann") as client:
        for wrong in (5, None, 1.5):
            with pytest.raises(ValueError, match="does not name a client"):
                server.get_client(wrong)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="does not name a client"):
                client.get_client(wrong, timeout=PATIENCE)  # type: ignore[arg-type]


def test_a_number_is_taken_for_a_name(make_server: MakeServer, events: Events) -> None:
    server = make_server()
    server.on("join")(lambda client: events.add("join", client.name, client.group))
    server.on("name_change")(lambda client, old, new: events.add("name", old, new))
    server.start()
    number: Any = 5
    with hisock.connect(server.addr, number, 7 * number) as client:
        events.wait_for("join", "5", "35")
        assert client.name == "5"
        client.change_name(6 * number)
        events.wait_for("name", "5", "30")
    with Peer(server.addr) as peer:
        peer.reserved("CLTHELLO", '{"name": 8, "group": 9}')
        events.wait_for("join", "8", "9")
    with pytest.raises(TypeError, match="a name or a group is text"):
        hisock.connect(server.addr, name=1.5)  # type: ignore[arg-type]


def test_the_host_that_was_given_is_kept() -> None:
    with hisock.start_server(("localhost", 0)) as server:
        assert server.addr == ("localhost", server.addrs[0][1])
        assert server.get_addr() == server.addr
        assert server.addrs[0][0] in ("127.0.0.1", "::1")
        hisock.connect(server.addr).close()


def test_casts_of_2_0_2_by_hand() -> None:
    utils: Any = hisock.utils
    assert utils._type_cast(bytes, {"a": 1}, "test") == b'{"a":1}'
    assert utils._type_cast(int, b"5", "test") == 5
    assert utils._type_cast(dict, b"", "test") == {}
    with pytest.raises(hisock.utils.InvalidTypeCast, match='failed for function "test"'):
        utils._type_cast(list, b"{}", "test")
    assert utils._removeprefix(b"$CMD$x", b"$CMD$") == b"x"
    found = {(("1.2.3.4", 5), "ann", "red"): "socket"}
    assert list(utils._dict_tupkey_lookup("ann", found)) == ["socket"]
    assert list(utils._dict_tupkey_lookup_key("ann", found, idx_to_match=2)) == []
    hints = utils._str_type_to_type_annotations_dict({"a": "int", "b": "ClientInfo", "c": str})
    assert hints == {"a": int, "b": ClientInfo, "c": str}


@pytest.mark.parametrize("module", [hisock.client, hisock.server])
def test_errors_are_imported_from_either_module(module: Any) -> None:
    for name in (
        "ServerNotRunning",
        "ClientNotFound",
        "GroupNotFound",
        "Sendable",
        "InvalidTypeCast",
    ):
        assert getattr(module, name) is getattr(hisock.utils, name)
