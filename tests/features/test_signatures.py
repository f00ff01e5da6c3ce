"""The functions that make servers and clients have the parameters of the classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import hisock


@pytest.mark.parametrize(
    ("function", "made"),
    [
        (hisock.start_server, hisock.HiSockServer),
        (hisock.start_threaded_server, hisock.ThreadedHiSockServer),
        (hisock.connect, hisock.HiSockClient),
        (hisock.threaded_connect, hisock.ThreadedHiSockClient),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_function_has_the_parameters_of_what_it_makes_and_says_what_they_mean(
    function: Callable[..., Any], made: type
) -> None:
    signature = inspect.signature(function)
    assert signature.parameters == inspect.signature(made).parameters
    assert signature.return_annotation == made.__name__
    documented = inspect.getdoc(function) or ""
    assert [name for name in signature.parameters if f":param {name}:" not in documented] == []
    assert made.__name__ in documented


def test_a_server_is_made_with_the_options_that_were_given() -> None:
    with hisock.start_server(("127.0.0.1", 0), 5, header_len=8) as server:
        assert type(server) is hisock.HiSockServer
        assert server.header_len == 8
    with hisock.start_threaded_server(addr=("127.0.0.1", 0)) as server:
        assert type(server) is hisock.ThreadedHiSockServer


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="max_conections"):
        hisock.start_server(("127.0.0.1", 0), max_conections=5)  # type: ignore[call-arg]
