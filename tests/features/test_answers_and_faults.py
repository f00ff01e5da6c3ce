"""What a handler raises is an answer or a fault, and what it never saw is neither."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from support.logs import logged
from support.polling import eventually

import hisock
from hisock.routing import Router
from hisock.testing import BlockingTestServer

MakeServer = Callable[..., hisock.ThreadedHiSockServer]
MakeClient = Callable[..., hisock.ThreadedHiSockClient]


def refuse() -> Any:
    raise hisock.RemoteError("sold out", code="sold_out")


async def refuse_async() -> Any:
    refuse()


class Told:
    """An error handler, and what it was told."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def __call__(self, exc: Exception, context: Any) -> None:
        self.errors.append(exc)


@pytest.mark.parametrize("handler", [refuse, refuse_async])
def test_an_answer_is_no_error(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    of_router, router = Told(), Router()
    server = hisock.HiSockServer(None)
    server.on("buy")(handler)
    server.on("buy threaded", threaded=handler is refuse)(handler)
    router.error_handler(of_router)
    router.on("buy routed")(handler)
    server.include(router)
    with caplog.at_level(logging.DEBUG, "hisock"), BlockingTestServer(server) as t:
        ada = t.connect("Ada")
        for command in ("buy", "buy threaded", "buy routed"):
            with pytest.raises(hisock.RemoteError, match="sold out") as raised:
                ada.call(command)
            assert raised.value.code == "sold_out"
        ada.send("buy")
        ada.send("buy", "bytes")
        ada.send("buy routed")
        assert server.stats().handler_errors == 0
    assert (t.errors, of_router.errors) == ([], [])
    refused = [record for record in caplog.records if record.__dict__["event"] == "command_refused"]
    assert len(refused) == 6
    assert {record.levelname for record in refused} == {"DEBUG"}
    assert refused[0].getMessage().startswith("the handler of 'buy' refused for ClientInfo(")
    assert refused[0].__dict__["reason"] == "sold out"
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_an_answer_where_there_is_nothing_to_answer_is_an_error() -> None:
    server = hisock.HiSockServer(None)
    server.on("join")(lambda client: refuse())
    with BlockingTestServer(server, raise_errors=False) as t:
        t.connect("Ada")
        ((error, context),) = t.errors
    assert isinstance(error, hisock.RemoteError)
    assert context.command == "join"


def test_an_answer_of_another_peer_that_a_handler_lets_pass_is_an_error() -> None:
    server = hisock.HiSockServer(None)

    @server.on("relay")
    async def relay(client: hisock.ClientInfo) -> Any:
        return await server.call(client, "buy")

    with BlockingTestServer(server, raise_errors=False) as t:
        ada = t.connect("Ada")
        ada.on("buy")(refuse)
        with pytest.raises(hisock.RemoteError) as raised:
            ada.call("relay")
        assert raised.value.code == "sold_out"
        ((_, context),) = t.errors
    assert context.command == "relay"


def test_a_message_that_does_not_fit_is_one_line(
    make_server: MakeServer, make_client: MakeClient
) -> None:
    told = Told()
    server = make_server(error_handler=told)

    @server.on("move")
    def move(client: hisock.ClientInfo, x: int) -> None: ...

    @server.on("move async")
    async def move_async(client: hisock.ClientInfo, x: list[int]) -> None: ...

    server.start()
    ada = make_client(server, "Ada")
    ada.start()
    with logged("hisock.server") as log:
        for command in ("move", "move async"):
            with pytest.raises(hisock.RemoteError, match="is not"):
                ada.call(command, "far\n")
        for _ in range(1000):
            ada.send("move", "far")
        ada.call("move", 1)
    first, second = (record for _, record in log.seen[:2])
    assert isinstance(first, logging.LogRecord)
    assert first.getMessage().endswith(
        "the message of command 'move' is not int: b'far\\n' is not a whole number"
    )
    assert (first.levelname, first.exc_info) == ("WARNING", None)
    said = first.__dict__
    assert (said["event"], said["command"]) == ("message_invalid", "move")
    assert (said["client"], said["client_name"]) == (server.get_all_clients()[0].ip, "Ada")
    assert "is not a whole number" in said["reason"]
    assert isinstance(second, logging.LogRecord)
    assert (second.exc_info, second.__dict__["command"]) == (None, "move async")
    assert len(log.seen) < 500
    assert server.stats().handler_errors == len(told.errors) == 1002
    assert all(isinstance(error, hisock.InvalidTypeCast) for error in told.errors)


def test_a_message_of_the_server_that_does_not_fit_is_one_line(
    make_server: MakeServer, make_client: MakeClient
) -> None:
    server = make_server()
    server.start()
    ada = make_client(server, "Ada")

    @ada.on("turned")
    def turned(degrees: float) -> None: ...

    ada.start()
    with logged("hisock.client") as log:
        eventually(lambda: server.stats().clients == 1, "she is there")
        server.send_client("Ada", "turned", "left")
        record = log.wait_one()
    assert record.exc_info is None
    assert record.getMessage().startswith("the handler of 'turned' was not called: the message")


async def forgotten() -> None: ...


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("message", [None, "bytes"])
@pytest.mark.parametrize("options", [{}, {"threaded": True}])
def test_a_coroutine_that_a_plain_handler_returns_is_an_error(
    make_server: MakeServer, make_client: MakeClient, message: str | None, options: dict[str, Any]
) -> None:
    told = Told()
    server = make_server(error_handler=told)
    server.on("forget", **options)(lambda client, message: forgotten())
    server.start()
    ada = make_client(server, "Ada")
    ada.on("forget", **options)(lambda message: forgotten())
    ada.start()
    with logged("hisock") as log:
        ada.send("forget", message)
        log.wait_for_text("returned the coroutine forgotten(), which nobody awaits")
        with pytest.raises(hisock.RemoteError, match=r"the coroutine forgotten\(\)"):
            ada.call("forget", message)
        server.send_all_clients("forget", message)
        log.wait_until(lambda seen: len(seen) == 3)
    assert [type(error) for error in told.errors][:1] == [TypeError]
