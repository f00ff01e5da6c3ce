"""Servers and clients at the path of a Unix socket."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support import Events
from support.events import PATIENCE

import hisock

from .addresses import unix, use
from .clients import AnyClient, Kind


@unix
@pytest.mark.parametrize("as_text", [False, True])
def test_a_unix_socket(serve: Any, kind: Kind, events: Events, path: Path, as_text: bool) -> None:
    addr: Any = str(path) if as_text else path
    server = serve(addr)
    assert server.addr == str(path)
    assert path.is_socket()
    first = use(server, kind, addr, events)
    assert first != use(server, kind, addr, events), "clients can be told apart"
    assert str(path) in repr(server)
    server.close()
    assert not path.exists()


@unix
def test_many_clients_of_a_unix_socket_have_addresses_of_their_own(
    serve: Any, events: Events, path: Path
) -> None:
    server = serve(path)
    clients = [hisock.connect(path, f"player {n}") for n in range(20)]
    events.wait_for("join", count=20)
    infos = server.get_all_clients()
    assert len({info.ip for info in infos}) == 20
    assert len({info.addr for info in infos}) == 20
    for n, info in enumerate(infos):
        assert hisock.ClientInfo(info.ip, info.name, info.group) == info
        server.send_client(info.ip, "number", n)
    for info, client in zip(infos, clients, strict=True):
        assert client.recv("number", int, 10) == infos.index(info)
        client.close()


@unix
def test_announcements_of_a_unix_socket_look_as_on_every_other(
    serve: Any, events: Events, path: Path
) -> None:
    server = serve(path)
    with hisock.connect(path, "Ada") as ada:
        events.wait_for("join")
        heard: list[hisock.ClientInfo] = []
        ada.on("client_connect")(heard.append)
        ada.on("client_disconnect")(heard.append)
        with hisock.connect(path, "Bob"):
            events.wait_for("join", count=2)
            bob = server.get_client("Bob")
        deadline = time.monotonic() + PATIENCE
        while sum(info.name == "Bob" for info in heard) < 2:
            assert time.monotonic() < deadline
            ada.update()
        assert [info for info in heard if info.name == "Bob"] == [bob, bob]


@unix
def test_a_socket_left_over_by_a_server_that_was_killed_is_no_obstacle(
    serve: Any, kind: Kind, events: Events, path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.is_socket()
    use(serve(path), kind, path, events)


@unix
def test_a_path_in_use_is_an_error_and_stays_in_use(
    serve: Any, kind: Kind, events: Events, path: Path, tmp_path: Path
) -> None:
    server = serve(path)
    with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
        hisock.HiSockServer(path)
    use(server, kind, path, events)
    note = tmp_path / "note.txt"
    note.write_text("keep me")
    with pytest.raises(OSError):  # noqa: PT011
        hisock.HiSockServer(note)
    assert note.read_text() == "keep me"
    with pytest.raises(OSError):  # noqa: PT011
        hisock.HiSockServer(tmp_path / "missing" / "game.sock")


@unix
@pytest.mark.parametrize("kind_of_socket", ["SOCK_STREAM", "SOCK_DGRAM", "SOCK_SEQPACKET"])
def test_a_bound_socket_that_does_not_listen_yet_stays(kind_of_socket: str, path: Path) -> None:
    with socket.socket(socket.AF_UNIX, getattr(socket, kind_of_socket)) as other:
        other.bind(str(path))
        inode = path.stat().st_ino
        with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
            hisock.HiSockServer(path)
        assert path.stat().st_ino == inode


@unix
def test_closing_removes_only_the_servers_own_socket(serve: Any, path: Path) -> None:
    server = serve(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        server.close()
        assert path.exists(), "it belongs to somebody else now"


@unix
def test_nobody_at_a_path_is_server_not_running(kind: Kind, path: Path) -> None:
    with pytest.raises(hisock.ServerNotRunning, match=r"game\.sock"):
        AnyClient(kind, path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(hisock.ServerNotRunning):
        AnyClient(kind, path)


@unix
def test_a_client_comes_back_over_a_unix_socket(
    serve: Any, kind: Kind, events: Events, path: Path
) -> None:
    server = serve(path)
    again = hisock.Reconnect(initial=0.01, maximum=0.05)
    back = threading.Event()
    with AnyClient(kind, path, "Ada", reconnect=again) as ada:
        ada.on("reconnect", back.set)
        ada.start()
        events.wait_for("join")
        server.disconnect_client("Ada", force=True)
        ada.pump(back.is_set)
        assert ada.call("who am I", None, list[Any])[2] == "Ada"


@unix
def test_a_relative_path_and_pathlib_are_the_same_place(
    serve: Any, events: Events, path: Path
) -> None:
    serve(str(path))
    with hisock.connect(path.resolve() if len(str(path.resolve())) < 100 else path, "Ada") as ada:
        assert ada.call("who am I", None, list[Any])[2] == "Ada"
