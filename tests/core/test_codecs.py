"""Values to bytes and back, by type, with either codec."""

from __future__ import annotations

import enum
import math
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NewType

import msgspec
import pytest

from hisock._core import hooks
from hisock._core.client_info import ClientInfo
from hisock._core.codec import Codec, Falsy, find_codec
from hisock.exceptions import InvalidTypeCast

JSON, MSGPACK = find_codec("json"), find_codec("msgpack")
both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])

Short = Annotated[str, msgspec.Meta(max_length=3)]
Few = Annotated[list[int], msgspec.Meta(max_length=2)]
Points = NewType("Points", int)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Point:
    x: int
    y: int = 0


class Text(str):
    __slots__ = ()


@both
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"\x00\xff", bytes),
        ("¡ay!", str),
        (5, int),
        (-2.5, float),
        (True, bool),
        ([1, 2], list[int]),
        ({"a": 1}, dict[str, int]),
        ({1, 2}, set[int]),
        ((1, "a"), tuple[int, str]),
        (Point(1, 2), Point),
        (Colour.RED, Colour),
        (Level.LOW, Level),
        ("abc", Short),
        ([1, 2], Few),
        (5, Points),
        ("a", Literal["a", "b"]),
        (1, Literal[1, 2]),
        (2.5, int | float),
        ("x", int | str),
        ([1], list[int] | None),
        (Point(1), Point | None),
    ],
)
def test_what_is_sent_is_received(codec: Codec, value: Any, kind: Any) -> None:
    message = codec.encode_exactly(value)
    assert message is not None
    received = codec.cast_for(kind)(message)
    assert received == value
    assert type(received) is type(value)


@both
@pytest.mark.parametrize(
    ("kind", "zero"),
    [
        (bytes, b""),
        (str, ""),
        (int, 0),
        (float, 0.0),
        (bool, False),
        (list[int], []),
        (dict, {}),
        (int | None, None),
        (None, None),
        (Any, None),
        (int | str, 0),
        (Few, []),
        (tuple[int, ...], ()),
    ],
)
def test_no_message_is_the_zero_of_the_type(codec: Codec, kind: Any, zero: Any) -> None:
    assert codec.cast_for(kind)(None) == zero
    assert codec.cast_for(kind)(b"") == zero


@both
@pytest.mark.parametrize("kind", [Point, tuple[int, int], Colour, Literal["a"]])
def test_some_types_have_no_zero(codec: Codec, kind: Any) -> None:
    with pytest.raises(ValueError, match="no empty value"):
        codec.cast_for(kind)(None)


@both
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (int, b"five"),
        (int, b"inf"),
        (float, b"x" * 50),
        (bool, b"yes"),
        (str, b"\xff"),
        (list[int], b"\xc1"),
        (Short, b"four"),
        (Few, b"[1,2,3]"),
        (Colour, b"green"),
        (Colour, b"\xff\xff"),
        (Level, b"7"),
        (Literal["a"], b"b"),
        (int | bool, b"x"),
        (Points, b"2.5"),
    ],
)
def test_what_does_not_fit_is_refused(codec: Codec, kind: Any, message: bytes) -> None:
    with pytest.raises(Exception, match=r".+"):
        codec.cast_for(kind)(message)


@pytest.mark.parametrize(
    ("message", "number"), [(b"2.5", 2), (b"true", 1), (b"0", 0), (b"-3", -3), (b"\x00", 1)]
)
def test_an_int_takes_what_2_0_2_takes(message: bytes, number: int) -> None:
    assert JSON.cast_for(int)(message) == number


def test_json_writes_what_the_standard_has_no_form_for_as_2_0_2_does() -> None:
    assert JSON.encode([math.inf, -math.inf]) == b"[Infinity,-Infinity]"
    assert JSON.encode({"a": math.nan, "b": None}) == b'{"a":NaN,"b":null}'
    assert JSON.encode([None]) == b"[null]"
    assert JSON.encode({None: 1, True: 2}) == b'{"null":1,"true":2}'
    assert JSON.cast_for(list[float])(b"[Infinity, 1]") == [math.inf, 1.0]
    with pytest.raises(msgspec.ValidationError):
        JSON.cast_for(list[int])(b'[NaN, "x"]')
    with pytest.raises(msgspec.DecodeError):
        JSON.cast_for(list[int])(b"[1,")


@both
@pytest.mark.parametrize("value", [1j, object(), "\ud800", [object()]])
def test_what_cannot_be_sent_says_so(codec: Codec, value: Any) -> None:
    with pytest.raises(InvalidTypeCast, match="cannot send a value of type"):
        codec.encode(value)


@both
def test_text_and_numbers_of_ones_own_are_text_and_numbers(codec: Codec) -> None:
    assert codec.encode(Text("x")) == b"x"
    assert codec.encode(bytearray(b"x")) == codec.encode(memoryview(b"x")) == b"x"
    assert codec.encode(None) is None
    assert codec.encode("") == b""


@both
@pytest.mark.parametrize(
    ("value", "seen"),
    [("text", "text"), (5, 5), ([1, "a"], [1, "a"]), ({"a": 1}, {"a": 1}), (b"\xff\xfe", None)],
)
def test_anything_is_taken_for_what_it_looks_like(codec: Codec, value: Any, seen: Any) -> None:
    message = codec.encode_exactly(value)
    assert message is not None
    assert codec.cast_for(Any)(message) == (value if seen is None else seen)


@pytest.mark.parametrize("message", [b"[NaN", b"{x"])
def test_what_looks_like_json_and_is_none_is_text(message: bytes) -> None:
    assert JSON.decode_anything(message) == message.decode()
    assert JSON.decode_anything(b"[\xff") == b"[\xff"


@both
@pytest.mark.parametrize(
    "kind",
    [
        *(complex, typing.NoReturn, 5, type),
        *(list[complex], dict[str, complex], tuple[int, complex], tuple[complex, ...]),
        *(complex | None, list[complex | int], list[list[complex]]),
    ],
)
def test_a_type_that_no_message_can_have(codec: Codec, kind: Any) -> None:
    with pytest.raises(TypeError, match="not a type that a message can have"):
        codec.cast_for(kind)


def test_annotations_that_cannot_be_hashed_are_cast_too() -> None:
    unhashable: Any = Annotated[int, []]
    assert JSON.cast_for(unhashable)(b"5") == 5


def test_a_codec_has_a_name() -> None:
    with pytest.raises(ValueError, match="json, msgpack, not 'xml'"):
        find_codec("xml")


# The info of a client


def test_a_clients_info_is_a_value() -> None:
    ada = ClientInfo("127.0.0.1:5", "Ada", "red")
    assert ada == ClientInfo(["127.0.0.1", 5], "Ada", "red")
    assert hash(ada) == hash(ClientInfo(("127.0.0.1", 5), "Ada", "red"))
    assert ada != ClientInfo("127.0.0.1:5", "Bob", "red")
    assert ada != "127.0.0.1:5"
    assert (ada["ip"], ada["addr"], ada["name"], ada["group"]) == (ada.ip, ada.addr, "Ada", "red")
    assert ada.ipstr == ada.ip_as_str == "127.0.0.1:5"
    assert ada.client_dict == ada.as_dict() == {"ip": ada.ip, "name": "Ada", "group": "red"}
    assert str(ada) == "<ClientInfo: IP: 127.0.0.1:5, Name: Ada, Group: red>"
    with pytest.raises(KeyError):
        ada["port"]


def test_a_clients_info_in_a_log_is_short() -> None:
    ada = ClientInfo("127.0.0.1:5", "Ada")
    assert ada.shown() == repr(ada)
    assert len(ClientInfo("127.0.0.1:5", "x" * 1000).shown()) == 203


def test_a_clients_info_can_be_sent() -> None:
    ada = ClientInfo("127.0.0.1:5", "Ada", "red")
    message = JSON.encode(ada)
    assert message == b'{"ip":["127.0.0.1",5],"name":"Ada","group":"red"}'
    assert JSON.cast_for(ClientInfo)(message) == ada
    for wrong in (b"[1]", b'{"name": "Ada"}'):
        with pytest.raises(ValueError, match="ip, name and group"):
            JSON.cast_for(ClientInfo)(wrong)


def test_what_is_falsy_is_no_message_for_a_peer_of_2_0_2() -> None:
    message = Falsy(b"false")
    assert (message.suiting(modern=True), message.suiting(modern=False)) == (b"false", b"")


@both
def test_a_value_is_encoded_alike_the_first_time_and_later(codec: Codec) -> None:
    """From the second value of a type on, it is known that msgspec encodes it."""

    class Spot(msgspec.Struct):
        x: float
        name: str | None = None

    values: list[Any] = [
        Spot(1.5),
        Spot(math.nan),
        Spot(math.inf, "null"),
        {"null": math.nan},
        {"n": None, "x": 1e308},
        [None],
        [],
        {},
        (),
        {True: None},
        {1, 2},
    ]
    for value in values:
        hooks.DIRECT.clear()
        first = codec.encode(value)
        second = codec.encode(value)
        assert (first, type(first)) == (second, type(second)), value
    with pytest.raises(InvalidTypeCast, match="cannot send a value of type Spot"):
        codec.encode(Spot(object()))  # type: ignore[arg-type]  # it is no number


def test_what_messagepack_cannot_hold_may_hold_nan_all_the_same() -> None:
    encode = JSON.encode
    assert encode([2**70, math.nan]) == b"[1180591620717411303424,NaN]"


def test_more_annotations_than_are_remembered_are_cast_to() -> None:
    cast_for = JSON.cast_for
    for number in range(1100):
        assert cast_for(Literal[number])(str(number).encode()) == number


@both
@pytest.mark.parametrize(
    "message",
    [
        *(b'"\xff"', b'["\xff"]', b'{"\xff":1}', b"[" * 5000, b"[NaN," + b"[" * 5000),
        *(b"\xa1\xff", b"\x91" * 5000),
    ],
    ids=lambda message: repr(message[:9]),
)
def test_what_is_no_structure_after_all_is_text_or_bytes(codec: Codec, message: bytes) -> None:
    value = codec.decode_anything(message)
    assert (value.encode() if isinstance(value, str) else value) == message
