"""What may be given as a time-out, wherever one is taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import hisock

from .clients import AnyClient
from .loops import LOOPBACK, on_one_loop, within

NAN = math.nan
WAITS = [("recv", "never"), ("call", "add"), ("get_client", "Ada")]


@pytest.mark.parametrize(("method", "argument"), WAITS)
def test_a_client_refuses_what_is_no_time(client: AnyClient, method: str, argument: str) -> None:
    """With NaN an async client waited for ever, and a blocking one had an error of the system."""
    with pytest.raises(ValueError, match="timeout is a number, not nan"):
        client._do(method, argument, timeout=NAN)
    with pytest.raises(TypeError, match="timeout is a number, not '5'"):
        client._do(method, argument, timeout="5")


def test_a_stream_refuses_what_is_no_time(server: hisock.ThreadedHiSockServer) -> None:
    with (
        hisock.connect(server.addr) as client,
        pytest.raises(ValueError, match="timeout is a number, not nan"),
    ):
        next(iter(client.stream("anything", timeout=NAN)))


@pytest.mark.parametrize("timeout", [math.inf, 1e300, 30 * 86_400.0, Decimal(10**7)])
def test_a_long_time_is_no_limit(client: AnyClient, timeout: Any) -> None:
    """The system refused it in a blocking client, and uvloop in an async one."""
    assert client._do("get_client", "Ada", timeout=timeout).name == "Ada"
    assert client._do("call", "name", timeout=timeout) is not None


@pytest.mark.parametrize("timeout", [0, -1, -math.inf])
def test_what_is_over_is_over_at_once(client: AnyClient, timeout: float) -> None:
    with pytest.raises(TimeoutError):
        client._do("recv", "never", timeout=timeout)


@pytest.mark.parametrize("timeout", [NAN, 0, -1, -math.inf])
def test_connecting_takes_a_time(server: hisock.ThreadedHiSockServer, timeout: float) -> None:
    for connect in (hisock.connect, hisock.threaded_connect, hisock.async_connect):
        with pytest.raises(ValueError, match=f"timeout is .*, not {timeout}"):
            connect(server.addr, timeout=timeout)


def test_connecting_may_take_for_ever(server: hisock.ThreadedHiSockServer) -> None:
    with hisock.connect(server.addr, timeout=math.inf) as client:
        assert client._driver.options.timeout is None


OPTIONS = ["keepalive_interval", "keepalive_timeout", "hello_timeout", "auth_timeout"]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("value", [NAN, math.inf, 0, -1])
def test_options_of_a_server_are_times(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is .*, not {value}"):
        hisock.HiSockServer(LOOPBACK, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [NAN, math.inf, 0, -1])
def test_other_times_are_times(value: float) -> None:
    text = f"the interval of a tick is .*, not {value}"
    with hisock.HiSockServer(LOOPBACK) as server, pytest.raises(ValueError, match=text):
        server.every(value)(lambda: None)
    with pytest.raises(ValueError, match=f"timeout is .*, not {value}"):
        hisock.Publisher("local:x", app="x", timeout=value)


@pytest.mark.parametrize("name", ["initial", "maximum", "factor", "jitter"])
def test_a_policy_takes_numbers(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is a number, not nan"):
        hisock.Reconnect(**{name: NAN})  # type: ignore[arg-type]


def test_a_server_refuses_what_is_no_time_in_a_thread(
    server: hisock.ThreadedHiSockServer, client: AnyClient
) -> None:
    """It wakes no thread: each of these would have waited for ever."""
    waits: list[Callable[[], Any]] = [
        lambda: server.recv("never", timeout=NAN),
        lambda: server.call_blocking("Ada", "anything", timeout=NAN),
        lambda: server.close(timeout=NAN),
    ]
    for wait in waits:
        with pytest.raises(ValueError, match=r"timeout is .*, not nan"):
            wait()


@on_one_loop
async def test_a_server_refuses_what_is_no_time_on_its_loop() -> None:
    async with (
        hisock.HiSockServer(LOOPBACK) as server,
        hisock.async_connect(server.addr, "Ada"),
    ):
        with pytest.raises(ValueError, match="timeout is a number, not nan"):
            await within(server.wait_for("never", timeout=NAN))
        with pytest.raises(ValueError, match="timeout is a number, not nan"):
            await within(server.call("Ada", "anything", timeout=NAN))
