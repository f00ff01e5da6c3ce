"""Typed messages: what a value costs on its way to bytes and back, beside msgspec alone and json.

Run it with::

    python -m pytest bench/test_codecs.py --benchmark-columns=median,iqr,min,rounds

``hisock`` is what ``send`` and a handler's annotation do, msgspec alone the least that they could;
``json`` is the standard library's, to and from a dict. For types of your own, add them to
``VALUES``, and compare two states of your code with ``--benchmark-save`` and
``--benchmark-compare``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from hisock._core.codec import find_codec


class Move(msgspec.Struct):
    """What a player sends; 87 bytes of JSON, 86 without a target."""

    player: str
    x: float
    y: float
    speed: float
    turning: bool
    target: str | None = None


@dataclass
class MoveData:
    """The same as a dataclass."""

    player: str
    x: float
    y: float
    speed: float
    turning: bool
    target: str | None = None


MOVE = ("Ada Lovelace", 12.25, 17.5, 3.75, True)
VALUES: dict[str, tuple[Any, Any]] = {
    "Struct": (Move, Move(*MOVE, "Bob")),
    "Struct with None": (Move, Move(*MOVE)),
    "dataclass": (MoveData, MoveData(*MOVE, "Bob")),
    "dict": (dict[str, Any], msgspec.to_builtins(Move(*MOVE, "Bob"))),
    "floats, 1 KiB": (list[float], [round(at * 1.37 + 0.01, 3) for at in range(140)]),
    "floats, 4 KiB": (list[float], [round(at * 1.37 + 0.01, 3) for at in range(560)]),
}
Coder = Callable[[Any, Any], tuple[Callable[[Any], Any], Callable[[Any], Any]]]


def _hisock(name: str) -> Coder:
    def coder(kind: Any, value: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
        codec = find_codec(name)
        decode = codec.cast_for(kind).decode
        assert decode is not None
        return codec.encode, decode

    return coder


def _msgspec(module: Any) -> Coder:
    return lambda kind, value: (module.Encoder().encode, module.Decoder(kind).decode)


def _json(kind: Any, value: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    return lambda value: json.dumps(msgspec.to_builtins(value)).encode(), json.loads


#: Many calls a round, so that reading the clock is no part of what is measured; 5 us, the default,
#: is one call here and twenty there.
pytestmark = pytest.mark.benchmark(min_time=0.0005, max_time=0.6)

CODERS: dict[str, Coder] = {
    "hisock json": _hisock("json"),
    "msgspec json": _msgspec(msgspec.json),
    "json": _json,
    "hisock msgpack": _hisock("msgpack"),
    "msgspec msgpack": _msgspec(msgspec.msgpack),
}


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("value", VALUES)
def test_encode(benchmark: BenchmarkFixture, value: str, coder: str) -> None:
    kind, content = VALUES[value]
    encode, decode = CODERS[coder](kind, content)
    benchmark.group = f"encode {value}"
    encoded = benchmark(encode, content)
    assert msgspec.convert(decode(encoded), kind) == content


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("value", VALUES)
def test_decode(benchmark: BenchmarkFixture, value: str, coder: str) -> None:
    kind, content = VALUES[value]
    encode, decode = CODERS[coder](kind, content)
    benchmark.group = f"decode {value}"
    assert msgspec.convert(benchmark(decode, encode(content)), kind) == content
