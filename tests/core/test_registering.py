"""Handlers as they are registered: what they may take, and how they are bound."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from hisock._core.binding import ClientBinding, ServerBinding, cast_message
from hisock._core.client_info import ClientInfo
from hisock._core.codec import find_codec
from hisock._core.handlers import HandlerTable, Mode, mode_of
from hisock._core.mistakes import check_order, require_no_method
from hisock._core.signature import Signature, argument_count
from hisock.exceptions import InvalidTypeCast

from .driving import ADA, ClientSide, ServerSide

if TYPE_CHECKING:
    from decimal import Decimal

JSON = find_codec("json")


def signature_of(func: Callable[..., Any], **names: Any) -> Signature:
    return Signature(func, names)


# Signatures


def test_a_signature_knows_how_many_arguments_are_taken() -> None:
    def some(a: int, b: int = 0, *, c: int = 0) -> None: ...
    def many(*args: int) -> None: ...

    assert (signature_of(some).least, signature_of(some).most) == (1, 2)
    assert (signature_of(many).least, signature_of(many).most) == (0, sys.maxsize)
    assert signature_of(some).names == ["a", "b"]
    assert not signature_of(some).has_default(0)
    assert signature_of(some).has_default(1)
    assert not signature_of(some).has_default(2)


def test_an_object_that_tells_nothing_takes_anything() -> None:
    assert signature_of(dict.update).most == sys.maxsize


def test_a_keyword_that_nobody_would_fill() -> None:
    def wrong(a: int, *, b: int) -> None: ...

    with pytest.raises(TypeError, match="keyword-only argument 'b'"):
        signature_of(wrong)


class Callable1:
    def __call__(self, client: Any, number: int) -> None: ...

    def method(self, client: Any, number: int) -> None: ...


def plain(client: Any, number: int) -> None: ...


@functools.wraps(plain)
def wrapped(*args: Any) -> None: ...


@pytest.mark.parametrize(
    "func",
    [plain, wrapped, Callable1(), Callable1().method, functools.partial(plain)],
    ids=["function", "wrapped", "object", "method", "partial"],
)
def test_annotations_are_found_behind_whatever_is_called(func: Callable[..., Any]) -> None:
    assert signature_of(func).annotation(1) is int
    assert signature_of(func).annotation(2) is None


def test_an_annotation_that_cannot_be_resolved_matters_only_where_it_is_asked_for() -> None:
    def later(client: Decimal, number: int, more: Unknown) -> None: ...  # type: ignore[name-defined] # noqa: F821

    signature = signature_of(later)
    assert signature.annotation(1) is int
    assert signature.hint(0) is None
    with pytest.raises(TypeError, match=r"'more' cannot be resolved.*Unknown"):
        signature.annotation(2)
    assert signature_of(later, Unknown=bytes, Decimal=str).annotation(2) is bytes


def test_a_place_is_a_name_and_a_line() -> None:
    here = signature_of(plain).place
    assert here == f"plain ({__file__}:{plain.__code__.co_firstlineno})"
    assert signature_of(print).place == "print"


def test_the_count_of_arguments_fits_the_event() -> None:
    def two(a: Any, b: Any) -> None: ...
    def any_number(*args: Any) -> None: ...

    assert argument_count(signature_of(two), "x", (0, 1, 2), exact=False) == 2
    assert argument_count(signature_of(any_number), "x", (2, 3), exact=True) == 3
    with pytest.raises(TypeError, match=r"takes 1 argument, .*two takes 2"):
        argument_count(signature_of(two), "x", (1,), exact=True)
    with pytest.raises(TypeError, match=r"takes 0 to 1 arguments, .*two takes 2"):
        argument_count(signature_of(two), "x", (0, 1), exact=False)
    with pytest.raises(TypeError, match=r"takes 0 to 1 arguments \(message\), .*two takes 2"):
        argument_count(signature_of(two), "x", (0, 1), False, " (message)")
    with pytest.raises(TypeError, match=r"takes 3 arguments, .*two takes 2"):
        argument_count(signature_of(two), "x", (3,), exact=True)


# Mistakes


def message_first(message: bytes, client: ClientInfo) -> None: ...
def client_or_none(client: ClientInfo | None, message: bytes) -> None: ...
def text_alone(text: str) -> None: ...
def nothing() -> None: ...


def test_the_client_comes_first() -> None:
    with pytest.raises(TypeError, match="not 'client'"):
        check_order(signature_of(message_first), 2)
    for fine in (client_or_none, nothing):
        signature = signature_of(fine)
        check_order(signature, len(signature.names))
        assert signature.notes == []
    signature = signature_of(text_alone)
    check_order(signature, 1)
    assert len(signature.notes) == 1


def test_a_method_needs_its_object() -> None:
    def move(self: Any, client: Any) -> None: ...

    in_class_body = {"__module__": "game", "__qualname__": "Game"}
    with pytest.raises(TypeError, match=r"self\.move"):
        require_no_method(signature_of(move), in_class_body)
    require_no_method(signature_of(move), {})
    require_no_method(signature_of(plain), in_class_body)


# Modes


async def later(client: Any) -> None: ...


class CalledLater:
    async def __call__(self, client: Any) -> None: ...


@pytest.mark.parametrize(
    ("func", "threaded", "concurrent", "mode"),
    [
        (plain, False, False, Mode.DIRECT),
        (plain, True, False, Mode.THREAD),
        (later, False, False, Mode.ORDERED),
        (later, False, True, Mode.CONCURRENT),
        (CalledLater(), False, False, Mode.ORDERED),
    ],
)
def test_how_a_handler_runs(
    func: Callable[..., Any], threaded: bool, concurrent: bool, mode: Mode
) -> None:
    assert mode_of(func, "f", threaded, concurrent) is mode


def test_ways_that_do_not_go_together() -> None:
    with pytest.raises(TypeError, match="cannot be threaded"):
        mode_of(later, "f", True, False)
    with pytest.raises(TypeError, match="concurrent does not apply"):
        mode_of(plain, "f", False, True)
    with pytest.raises(TypeError, match="no event loop"):
        ClientSide(has_loop=False).events.on("x")(later)


def test_only_what_runs_on_the_loop_takes_the_short_way() -> None:
    table = HandlerTable(ServerBinding(JSON), has_loop=True)
    table.register(plain, "direct", {})
    table.register(later, "later", {})
    assert set(table.direct()) == {"direct"}


def test_a_second_handler_is_warned_of_unless_it_is_meant() -> None:
    events = ServerSide().events
    events.on("x")(plain)
    events.on("x")(plain)
    events.on("x", replace=True)(nothing)
    with pytest.warns(UserWarning, match=r"nothing .* and plain .* replace=True") as caught:
        events.on("x")(plain)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("command", ["", "$x$", plain])
def test_what_is_no_command(command: Any) -> None:
    with pytest.raises(TypeError if callable(command) else ValueError):
        ServerSide().events.on(command)


# Binding


def as_dict(client: dict[str, Any], number: int = 7) -> Any:
    return client["name"], number


def test_a_server_binds_a_dict_and_a_default() -> None:
    bound = ServerBinding(JSON).command(as_dict, signature_of(as_dict), "x")
    assert bound.full(ADA, b"3") == ("Ada", 3)
    assert bound.empty(ADA) == ("Ada", 7)
    with pytest.raises(InvalidTypeCast):
        bound.full(ADA, b"x")


def test_a_server_binds_events() -> None:
    binding = ServerBinding(JSON)

    def wildcard(client: dict[str, Any], command: bytes, message: int) -> Any:
        return client["name"], command, message

    def joined(client: dict[str, Any]) -> Any:
        return client["name"]

    bound = binding.event(wildcard, signature_of(wildcard), "*")
    assert bound(ADA, "x", b"3") == ("Ada", b"x", 3)
    assert bound(ADA, None, b"3") == ("Ada", b"", 3)
    assert binding.event(joined, signature_of(joined), "join")(ADA) == "Ada"


def test_a_client_binds_commands_and_events() -> None:
    binding = ClientBinding(JSON, reconnects=False)

    def number(number: int) -> int:
        return number

    def default(number: int = 7) -> int:
        return number

    def wildcard(command: str, message: int) -> Any:
        return command, message

    def info(info: dict[str, Any]) -> Any:
        return info["name"]

    bound = binding.command(number, signature_of(number), "x")
    assert (bound.full(b"3"), bound.empty()) == (3, 0)
    with pytest.raises(InvalidTypeCast):
        bound.full(b"x")
    assert binding.command(default, signature_of(default), "x").empty() == 7
    assert binding.event(wildcard, signature_of(wildcard), "*")("x", b"3") == ("x", 3)
    assert binding.event(info, signature_of(info), "client_connect")(ADA) == "Ada"
    assert binding.event(plain, signature_of(nothing), "force_disconnect") is plain


def test_a_type_that_no_message_can_have() -> None:
    def wrong(client: Any, message: complex) -> None: ...

    with pytest.raises(TypeError, match=r"handler .*wrong"):
        ServerBinding(JSON).command(wrong, signature_of(wrong), "x")


def test_a_message_that_does_not_fit_says_what_does_not() -> None:
    with pytest.raises(InvalidTypeCast) as raised:
        cast_message("x", JSON.cast_for(int), b"five")
    assert raised.value.command == "x"
