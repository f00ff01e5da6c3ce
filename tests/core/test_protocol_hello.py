"""The hello: what counts in it, and that nothing else is even decoded."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from hisock._core import protocol
from hisock.exceptions import ProtocolError


def hello(**keys: Any) -> protocol.Hello:
    return protocol.parse_hello(protocol.HELLO + json.dumps(keys).encode())


def test_a_hello_of_2_0_2() -> None:
    assert hello(name="Ada", group=None) == protocol.Hello("Ada", None)


def test_a_whole_hello() -> None:
    frame = protocol.build_hello("Ada", "math", 16, "msgpack", "open sesame", "secret")
    assert protocol.parse_hello(frame[16:]) == protocol.Hello(
        "Ada", "math", frozenset(protocol.FEATURES), "msgpack", "open sesame", "secret"
    )


@pytest.mark.parametrize("odd", [5, 1.5, True, None, [], ["x"], {}, {"a": [1]}])
def test_keys_that_2_0_2_does_not_know_may_hold_anything(odd: Any) -> None:
    said = hello(name="Ada", token=odd, resume=odd, colour=odd)
    assert said == protocol.Hello("Ada")
    assert hello(name="Ada", codec=odd).codec is None


@pytest.mark.parametrize("features", ["call", {"call": True}, 5, None])
def test_features_that_are_no_list_are_those_of_2_0_2(features: Any) -> None:
    assert hello(features=features).features is None


@pytest.mark.parametrize("features", [[], [1], ["teleport"], [["call"]], ["x" * 65, "call"]])
def test_features_that_nobody_knows(features: Any) -> None:
    assert hello(features=features).features == frozenset()


def test_features_that_both_know() -> None:
    assert hello(features=["call", "teleport"]).features == frozenset({"call"})


@pytest.mark.parametrize(
    "keys",
    [
        {"name": 5.5},
        {"group": ["x"]},
        {"name": "x" * (protocol.MAX_NAME_LENGTH + 1)},
    ],
)
def test_names_have_to_be_names(keys: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="the JSON it has to be"):
        hello(**keys)


def test_whole_numbers_are_names_too() -> None:
    """2.0.2 takes them."""
    parsed = hello(name=5, group=-7)
    assert (parsed.name, parsed.group) == ("5", "-7")


def test_a_secret_to_come_back_with_is_short() -> None:
    assert hello(resume="x" * 64).resume == "x" * 64
    assert hello(resume="x" * 65).resume is None
    assert hello(resume="").resume is None


def test_a_hello_is_at_most_64_kib() -> None:
    fits = protocol.MAX_HELLO - len(protocol.HELLO) - len('{"token": ""}')
    assert hello(token="x" * fits).token == "x" * fits
    with pytest.raises(ProtocolError, match="at most 65536 bytes"):
        hello(token="x" * (fits + 1))


@pytest.mark.parametrize("key", ["features", "codec", "token", "resume", "colour"])
def test_values_that_nobody_asked_for_are_not_built(key: str) -> None:
    """Ten thousand lists in a hello of 30 KB would take 600 KB."""
    payload = protocol.HELLO + b'{"name":"Ada","%b":[%b[]]}' % (key.encode(), b"[]," * 20_000)
    protocol.parse_hello(payload)
    tracemalloc.start()
    try:
        protocol.parse_hello(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(payload)


def test_the_error_of_a_bad_hello_repeats_nothing_of_a_token() -> None:
    with pytest.raises(ProtocolError) as caught:
        protocol.parse_hello(b'{"token": "open sesame"}')
    assert "sesame" not in str(caught.value)
