"""What a server allows WebSockets, and the request that one begins with."""

from __future__ import annotations

from typing import Any

import pytest

from hisock._core.http import HttpRequest, WebSocket, websocket_option


@pytest.mark.parametrize(
    "options",
    [
        {"path": "game"},
        {"health": "health"},
        {"origins": "https://example.org"},
        {"trusted_proxies": "10.0.0.0/8"},
        {"trusted_proxies": ["10.0.0.0/99"]},
        {"max_frame": 1023},
        {"engine": "socketio"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_are_not_what_they_have_to_be(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}|10.0.0.0/99"):
        WebSocket(**options)


def test_what_the_option_of_a_server_stands_for() -> None:
    chosen = WebSocket(path="/game", health=None, origins="*", max_frame=1024)
    assert websocket_option(chosen) is chosen
    assert websocket_option(True) == WebSocket()
    assert websocket_option(False) is None
    assert websocket_option(None) is None
    wrong: Any = "/game"
    with pytest.raises(TypeError, match=r"websocket is True or a hisock\.WebSocket"):
        websocket_option(wrong)


def test_which_proxies_are_believed() -> None:
    options = WebSocket(trusted_proxies=["10.0.0.0/8", "::1"])
    assert options.trusts("10.1.2.3")
    assert options.trusts("::1")
    assert not options.trusts("192.0.2.1")
    assert not options.trusts("/run/game.sock")
    assert not WebSocket().trusts("10.1.2.3")


REQUEST = HttpRequest(
    "/game?room=7&room=8&empty=",
    [("Host", "example.org"), ("Cookie", "a=1; b=two"), ("X-One", "1"), ("x-one", "2")],
)


def test_a_request_in_parts() -> None:
    assert REQUEST.path == "/game"
    assert REQUEST.query == {"room": "8", "empty": ""}
    assert REQUEST.headers == {"host": "example.org", "cookie": "a=1; b=two", "x-one": "1, 2"}
    assert REQUEST.all("x-one") == ["1", "2"]
    assert REQUEST.cookies == {"a": "1", "b": "two"}


def test_cookies_that_are_not_valid_are_none() -> None:
    assert HttpRequest("/", [("Cookie", "a(b=1; c=2")]).cookies == {}


def test_a_printed_request_tells_no_secrets() -> None:
    request = HttpRequest("/game?token=secret", [("Authorization", "secret")])
    assert repr(request) == "<HttpRequest /game>"
