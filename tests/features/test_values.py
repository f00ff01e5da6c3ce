"""Numbers that JSON has no form for, ints that lose nothing, and values of classes of one's own."""

from __future__ import annotations

import datetime
import enum
import math
from collections import deque
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy
import numpy.typing
import pydantic
import pytest
from support import Events
from support.fixtures import MakeClient, MakeServer
from support.logs import logged

import hisock
from hisock.utils import InvalidTypeCast

from .exchanging import Exchange

NAN, INFINITY = math.nan, math.inf


class Sample(msgspec.Struct):
    value: float
    note: str | None = None


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 49  # in MessagePack, the byte of this number is the text "1"


class Step(enum.Enum):
    FIRST = 1
    LAST = 49


class Vector:
    """A class that msgspec knows nothing of."""

    def __init__(self, x: float, y: float) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None  # type: ignore[assignment]


class Blob:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blob) and self.data == other.data

    __hash__ = None  # type: ignore[assignment]


def blob_of(data: bytes) -> Blob:
    return Blob(data)


class Order(pydantic.BaseModel):
    item: str
    count: int = pydantic.Field(ge=1)
    price: float = 0.0
    at: datetime.date | None = None


@dataclass
class Mixed:
    where: Vector
    order: Order
    blob: Blob


hisock.codec.register(Vector, lambda v: [v.x, v.y], lambda data: Vector(*data))
hisock.codec.register(Blob, lambda blob: blob.data, blob_of)


@pytest.fixture(params=["json", "msgpack"])
def exchange(
    request: pytest.FixtureRequest, make_server: MakeServer, make_client: MakeClient
) -> Exchange:
    return Exchange(make_server, make_client, request.param)


# -- numbers


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        ([NAN, None, INFINITY, -INFINITY], list),
        ({"a": [NAN], "b": None}, dict),
        ({"a": INFINITY}, dict[str, float]),
        (Sample(NAN), Sample),
        ([Sample(-INFINITY, "x")], list[Sample]),
        (NAN, float),
        (-INFINITY, float),
        ([1, NAN], Any),
    ],
    ids=repr,
)
def test_nan_and_infinity_arrive_as_they_are(
    exchange: Exchange, value: Any, annotation: Any
) -> None:
    assert repr(exchange.received(value, annotation)) == repr(value)


def test_nan_is_written_as_2_0_2_writes_it(make_server: MakeServer, events: Events) -> None:
    server = make_server()
    server.on("message")(lambda client, command, message: events.add(command, message))
    server.start()
    with hisock.connect(server.addr) as client:
        client.send("list", [NAN, INFINITY, -INFINITY, None, "NaN"])
        client.send("text", ["NaN", None])
    events.wait_for("list", b'[NaN,Infinity,-Infinity,null,"NaN"]')
    events.wait_for("text", b'["NaN",null]')


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ({None: 1, True: 2, 1.5: 3}, {"null": 1, "true": 2, "1.5": 3}),
        ([10**30], [10**30]),
        (["\ud800"], ["\ud800"]),
        (deque([1, 2]), [1, 2]),
    ],
    ids=["keys", "big", "surrogate", "deque"],
)
def test_what_json_of_python_takes_is_sent(
    make_server: MakeServer, make_client: MakeClient, value: Any, arrives: Any
) -> None:
    exchange = Exchange(make_server, make_client, "json")
    assert exchange.received(value, type(arrives)) == arrives


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (2.5, int | float),
        (2, int | float),
        (2.5, float | int),
        (2.5, int | float | None),
        (True, bool | int),
        (1, bool | int),
        (5, int | None),
        (5, int | str),
        ("five", int | str),
    ],
    ids=repr,
)
def test_a_number_keeps_its_type_and_its_fraction(
    exchange: Exchange, value: Any, annotation: Any
) -> None:
    got = exchange.received(value, annotation)
    assert (type(got), got) == (type(value), value)


@pytest.mark.parametrize(
    "annotation",
    [int | None, int | bool, list[int], Annotated[int, msgspec.Meta(ge=0)], Literal[2, 3]],
    ids=repr,
)
def test_an_int_within_an_annotation_takes_no_fraction(exchange: Exchange, annotation: Any) -> None:
    with pytest.raises(InvalidTypeCast):
        exchange.received([2.5] if annotation == list[int] else 2.5, annotation)


def test_a_plain_int_is_truncated_and_each_handler_says_so_once(
    make_server: MakeServer, events: Events
) -> None:
    server = make_server()

    @server.on("first")
    def first(client: hisock.ClientInfo, number: int) -> None:
        events.add("first", number)

    @server.on("second")
    def second(client: hisock.ClientInfo, number: int) -> None:
        events.add("second", number)

    server.start()
    with logged("hisock") as log, hisock.connect(server.addr) as client:
        for value in (7, 2.0, True, 2.5, -3.9):
            client.send("first", value)
        client.send("second", 2.5)
        events.wait_for("second", 2)
    assert [number for (number,) in events.named("first")] == [7, 2, 1, 2, -3]
    lost = [message for message in log.messages if "keep the fraction" in message]
    assert [line.split(":")[0].split(".")[-1] for line in lost] == ["first", "second"]


@pytest.mark.parametrize(
    ("value", "annotation", "arrives"),
    [
        (1, Literal[1, 49], 1),
        (49, Literal[1, 49], 49),
        ("a", Literal["a", 97], "a"),
        (97, Literal["a", 97], 97),
        (Level.LOW, Level, Level.LOW),
        (Level.HIGH, Level, Level.HIGH),
        (1, Level, Level.LOW),
        (Step.FIRST, Step, Step.FIRST),
        (Step.LAST, Step, Step.LAST),
        (49, Step | None, Step.LAST),
        ([Level.HIGH], list[Level], [Level.HIGH]),
    ],
    ids=repr,
)
def test_literals_and_enums_of_ints(
    exchange: Exchange, value: Any, annotation: Any, arrives: Any
) -> None:
    got = exchange.received(value, annotation)
    assert (type(got), got) == (type(arrives), arrives)


# -- bytes, and anything


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_the_other_kinds_of_bytes(exchange: Exchange, kind: Any) -> None:
    got = exchange.received(kind(b"\x00\xff"), kind)
    assert (type(got), bytes(got)) == (kind, b"\x00\xff")
    assert bytes(exchange.received(None, kind)) == b""


@pytest.mark.parametrize(
    "value",
    [{"a": [1, None]}, [], [1.5], 5, 2.5, True, "text", "two words", b"\xff", b"\xff\x00", None],
    ids=repr,
)
def test_any_is_what_was_sent(exchange: Exchange, value: Any) -> None:
    got = exchange.received(value, Any)
    assert (type(got), got) == (type(value), value)


# -- classes that msgspec does not know


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Vector(1, 2.5), Vector),
        ([Vector(1, 2)], list[Vector]),
        ({"a": Vector(1, 2)}, dict[str, Vector]),
        (Vector(1, 2), Vector | None),
        (Blob(b"5"), Blob),
        (Blob(b"\xff\x00"), Blob),
        ([Blob(b"5")], list[Blob]),
        (Order(item="tea", count=2, at=datetime.date(2026, 1, 2)), Order),
        ([Order(item="tea", count=2)], list[Order]),
        (Mixed(Vector(1, 2), Order(item="x", count=1), Blob(b"\x00")), Mixed),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
def test_values_of_registered_classes_and_of_pydantic(
    exchange: Exchange, value: Any, annotation: Any
) -> None:
    assert exchange.received(value, annotation) == value


def test_a_model_is_validated_and_keeps_nan(exchange: Exchange) -> None:
    assert math.isnan(exchange.received(Order(item="x", count=1, price=NAN), Order).price)
    with pytest.raises(InvalidTypeCast, match="count"):
        exchange.received({"item": "x", "count": 0}, Order)


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(6, dtype="float32").reshape(2, 3),
        numpy.array([NAN, INFINITY]),
        numpy.array(True),
        numpy.zeros((0, 3), "int8"),
        numpy.array([1 + 2j]),
        numpy.array([("a", 1)], dtype=[("name", "U5"), ("n", "<i4")]),
        numpy.arange(10)[::3],
    ],
    ids=repr,
)
def test_arrays_keep_their_type_and_shape(exchange: Exchange, array: Any) -> None:
    got = exchange.received(array, numpy.ndarray)
    assert (got.dtype, got.shape) == (array.dtype, array.shape)
    assert numpy.array_equal(got, array, equal_nan=array.dtype.kind == "f")
    got[...] = got  # it can be written to


def test_numbers_of_numpy_are_numbers(exchange: Exchange) -> None:
    assert exchange.received(numpy.float64(1.5), float) == 1.5
    assert exchange.received(numpy.int64(5), int) == 5
    assert exchange.received({"n": numpy.uint8(7)}, dict) == {"n": 7}
    assert exchange.received(numpy.int16(-3), numpy.int16) == -3


def test_a_list_is_an_array_too(make_server: MakeServer, make_client: MakeClient) -> None:
    """Peers in other languages, and of 2.0.2, send lists."""
    exchange = Exchange(make_server, make_client, "json")
    floats: Any = numpy.typing.NDArray[numpy.float64]
    got = exchange.received([[1, 2], [3, 4]], floats)
    assert (got.dtype, got.tolist()) == (numpy.dtype("float64"), [[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    "value",
    [
        {"dtype": "|O", "shape": [1], "data": "AAAAAAAAAAA="},
        {"dtype": "<f8", "shape": [1000000000], "data": ""},
        {"dtype": "no type", "shape": [1], "data": "AAAA"},
        {"dtype": "<f8", "shape": [1], "data": "not base64"},
        {"shape": [1]},
        [[1], [2, 3]],
        "text",
    ],
    ids=repr,
)
def test_what_is_no_array_is_not_cast(
    make_server: MakeServer, make_client: MakeClient, value: Any
) -> None:
    exchange = Exchange(make_server, make_client, "json")
    with pytest.raises(InvalidTypeCast):
        exchange.received(value, numpy.ndarray)


def test_what_cannot_be_registered() -> None:
    @dataclass
    class Known:
        x: int

    class Derived(Vector): ...

    with pytest.raises(ValueError, match="Known can be sent already"):
        hisock.codec.register(Known, lambda value: value.x, lambda data: Known(data))
    with pytest.raises(TypeError, match="is not a class"):
        hisock.codec.register("Vector", str, str)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="functions"):
        hisock.codec.register(Vector, None, None)  # type: ignore[arg-type]
    with hisock.HiSockServer(("127.0.0.1", 0)) as server:

        def handler(client: hisock.ClientInfo, message: Derived) -> None: ...

        with pytest.raises(TypeError, match=r"hisock\.codec\.register"):
            server.on("derived")(handler)


@pytest.mark.parametrize("content", [object(), [object()], {"a": object()}, "\ud800", len])
def test_what_cannot_be_sent_is_an_invalid_type_cast(make_server: MakeServer, content: Any) -> None:
    server = make_server()
    server.start()
    with hisock.connect(server.addr) as client:
        for send in (
            lambda: client.send("x", content),
            lambda: server.send_all_clients("x", content),
            lambda: server.send_group("nobody", "x", content),
        ):
            with pytest.raises(InvalidTypeCast, match="cannot send") as caught:
                send()
            assert isinstance(caught.value, TypeError)


def test_the_error_can_be_made_of_one_text() -> None:
    error = InvalidTypeCast("not a board")
    assert (str(error), error.reason, error.command) == ("not a board", "not a board", None)
    assert str(InvalidTypeCast()) == ""
    full = InvalidTypeCast("move", int, "too long")
    assert (full.command, full.type, full.reason) == ("move", int, "too long")
