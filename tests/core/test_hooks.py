"""Values of classes that msgspec does not know: registered, with __json__, pydantic, numpy."""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import numpy
import pydantic
import pytest

from hisock._core import hooks

# What NDArray[...] stands for: an alias in some versions of NumPy, which the codec resolves.
Doubles = numpy.ndarray[Any, numpy.dtype[numpy.float64]]
Integers = numpy.ndarray[Any, numpy.dtype[numpy.int32]]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test registers is known to that test only."""
    before = dict(hooks._registered)
    yield
    hooks._registered.clear()
    hooks._registered.update(before)
    hooks._stand_ins.clear()


class Vector:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None  # type: ignore[assignment]


class Arrow(Vector):
    pass


def from_list(data: list[int]) -> Vector:
    return Vector(*data)


def register_vector(decode: Callable[[Any], Any] = from_list) -> None:
    hooks.register(Vector, lambda vector: [vector.x, vector.y], decode)


# Registered


def test_a_registered_class_goes_both_ways_and_so_do_values_of_derived_ones() -> None:
    register_vector()
    assert hooks.encode_hook(Arrow(1, 2)) == [1, 2]
    assert hooks.decode_hook(Vector, [1, 2]) == Vector(1, 2)
    assert hooks.can_decode(Vector)
    assert not hooks.can_decode(Arrow), "the function makes a Vector"
    stand_in = hooks.stand_in(Arrow)
    assert stand_in is not None
    assert stand_in(Arrow(3, 4)) == [3, 4]


def test_what_is_received_is_converted_to_what_decode_takes() -> None:
    register_vector()
    assert hooks.hook_of(Vector) is not None
    with pytest.raises(Exception, match="Expected `int`, got `str`"):
        hooks.decode_hook(Vector, ["1", "2"])


def unresolved(data: Nowhere) -> Vector:  # type: ignore[name-defined]  # noqa: F821
    return from_list(data)


@pytest.mark.parametrize("decode", [lambda data: from_list(data), unresolved])
def test_without_an_annotation_decode_gets_the_message_as_it_reads(
    decode: Callable[[Any], Any],
) -> None:
    register_vector(decode)
    assert hooks.decode_hook(Vector, [1, 2]) == Vector(1, 2)


def test_registering_again_replaces_and_what_is_sent_changes_at_once() -> None:
    assert hooks.stand_in(Vector) is None
    register_vector()
    hooks.register(Vector, lambda vector: {"x": vector.x}, lambda data: None)
    stand_in = hooks.stand_in(Vector)
    assert stand_in is not None
    assert stand_in(Vector(1, 2)) == {"x": 1}


def test_what_cannot_be_registered() -> None:
    wrong: Any = Vector(1, 2)
    with pytest.raises(TypeError, match="is not a class"):
        hooks.register(wrong, str, str)
    with pytest.raises(TypeError, match="functions of one argument"):
        hooks.register(Vector, str, wrong)
    for kind in (int, dict, Decimal, Pair):
        with pytest.raises(ValueError, match=f"{kind.__name__} can be sent already"):
            hooks.register(kind, str, str)


class Pair(NamedTuple):
    x: int


def test_the_memory_of_what_stands_in_is_bounded() -> None:
    for number in range(1030):
        assert hooks.stand_in(type(f"Class{number}", (), {})) is None
    assert len(hooks._stand_ins) <= 1024


# What nothing is known of


class Level(int):
    pass


@pytest.mark.parametrize(
    ("value", "sent"),
    [(Level(3), 3), (deque([1, 2]), [1, 2]), (type("Name", (str,), {})("Ada"), "Ada")],
)
def test_a_value_of_a_class_derived_from_a_plain_one_is_sent_as_that(
    value: object, sent: object
) -> None:
    result = hooks.encode_hook(value)
    assert (type(result), result) == (type(sent), sent)


def test_what_cannot_be_sent_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"objects of type Vector cannot be sent; give the class"):
        hooks.encode_hook(Vector(1, 2))
    with pytest.raises(TypeError, match=r"Vector'> cannot be received"):
        hooks.decode_hook(Vector, [1, 2])
    assert not hooks.can_decode(Vector)


# __json__ and __from_json__


class Sent:
    def __json__(self) -> list[int]:
        return [1]


class Received:
    @classmethod
    def __from_json__(cls, data: Any) -> Received:
        made = cls()
        made.data = data
        return made

    data: Any


def test_a_class_that_says_itself_how_it_goes_one_way() -> None:
    assert hooks.encode_hook(Sent()) == [1]
    assert not hooks.can_decode(Sent)
    with pytest.raises(TypeError, match=r"Sent'> cannot be received"):
        hooks.decode_hook(Sent, [1])
    assert hooks.can_decode(Received)
    assert hooks.decode_hook(Received, [1]).data == [1]
    with pytest.raises(TypeError, match=r"Received have no __json__"):
        hooks.encode_hook(Received())


# pydantic


class Move(pydantic.BaseModel):
    steps: tuple[int, ...]


def test_a_model_goes_both_ways_and_is_checked() -> None:
    sent = hooks.encode_hook(Move(steps=(1, 2)))
    assert sent == {"steps": [1, 2]}
    assert hooks.can_decode(Move)
    assert hooks.decode_hook(Move, sent) == Move(steps=(1, 2))
    with pytest.raises(ValueError, match="steps"):
        hooks.decode_hook(Move, {"steps": ["far"]})


# numpy


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(6, dtype="<f4").reshape(2, 3),
        numpy.array([(1, 2.5)], dtype=[("id", "<i4"), ("weight", "<f8")]),
        numpy.zeros((0, 3), dtype="<i8"),
    ],
    ids=["matrix", "fields", "empty"],
)
def test_an_array_goes_both_ways(array: Any) -> None:
    sent = hooks.encode_hook(array)
    assert hooks.can_decode(numpy.ndarray)
    back = hooks.decode_hook(numpy.ndarray, sent)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert (back == array).all()
    assert back.flags.writeable


def test_an_array_in_text_and_a_list_of_peers_without_numpy() -> None:
    text = {"dtype": "<i2", "shape": [2], "data": "AQACAA=="}
    assert hooks.decode_hook(numpy.ndarray, text).tolist() == [1, 2]
    wide = hooks.decode_hook(Doubles, [1, 2])
    assert (wide.dtype, wide.tolist()) == (numpy.dtype("float64"), [1.0, 2.0])
    assert hooks.decode_hook(Integers, text).dtype == numpy.dtype("int32")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"dtype": "<i2"}, "the keys dtype, shape and data"),
        (5, "expected a list, or an object"),
        ([None, {}], "expected a list of numbers"),
        ({"dtype": "O", "shape": [1], "data": b"12345678"}, "Python objects cannot be received"),
        ({"dtype": [["id", "<i4"]], "shape": [2], "data": b"1234"}, "reshape"),
    ],
)
def test_what_is_no_array(value: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        hooks.decode_hook(numpy.ndarray, value)


def test_an_array_is_not_narrowed_to_what_the_handler_takes() -> None:
    sent = hooks.encode_hook(numpy.array([1.5], dtype="<f8"))
    with pytest.raises(TypeError, match="safe"):
        hooks.decode_hook(Integers, sent)


def test_an_array_of_objects_is_not_sent() -> None:
    with pytest.raises(TypeError, match="an array of Python objects cannot be sent"):
        hooks.encode_hook(numpy.array([object()]))


def test_a_number_of_numpy_is_sent_as_a_plain_one() -> None:
    sent = hooks.encode_hook(numpy.int16(7))
    assert (type(sent), sent) == (int, 7)
    back = hooks.decode_hook(numpy.int16, 7)
    assert (type(back), back) == (numpy.int16, 7)


def test_an_enum_of_numpy_numbers_is_no_number_of_numpy() -> None:
    class Weight(numpy.float64, enum.Enum):  # type: ignore[misc]
        LIGHT = 0.5

    assert hooks.hook_of(Weight) is None


def test_packages_that_are_only_being_imported_offer_nothing() -> None:
    class Half:
        """A module whose first lines have run."""

    assert hooks._numpy_hook(Half, Vector) is None
    assert hooks._pydantic_hook(Half, Vector) is None


def test_a_dataclass_whose_annotations_name_nothing_can_be_sent_already() -> None:
    class Torn:
        __annotations__ = {"other": "there_is_no_such_class"}

    with pytest.raises(ValueError, match="Torn can be sent already"):
        hooks.register(dataclasses.dataclass(Torn), lambda torn: 5, lambda data: Torn())
