"""What the public classes say of themselves, and of arguments that make no sense."""

from __future__ import annotations

import pytest
from support import Peer
from support.fixtures import MakeServer

import hisock


def test_a_look_up_by_something_else_says_by_what_it_may_be() -> None:
    with (
        hisock.HiSockServer(("127.0.0.1", 0)) as server,
        pytest.raises(ValueError, match="key is 'ip', 'name', 'group' or a callable"),
    ):
        server.get_all_clients("colour")


def test_a_loop_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="loop is 'auto', 'asyncio' or 'uvloop', not 'trio'"):
        hisock.HiSockServer(("127.0.0.1", 0), loop="trio")  # type: ignore[arg-type] # wrong


def test_a_client_of_2_0_2s_form_is_found(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    with Peer.joined(server.addr, "Ada"):
        info = server.get_client("Ada")
        assert server.get_client({"ip": info.addr, "name": "Ada"}) == info  # type: ignore[arg-type] # likewise
        assert repr(server.clients) == f"ClientsView([{info!r}])"


def test_a_closed_server_is_not_opened_again() -> None:
    server = hisock.HiSockServer(None)
    server.close()
    with pytest.raises((ValueError, RuntimeError), match="closed"):
        server.start(("127.0.0.1", 0))


def test_names_that_a_program_may_use_are_listed() -> None:
    assert set(hisock.__all__) < set(dir(hisock))
    assert "annotations" not in dir(hisock)
