"""Checks for mistakes in handlers when they are registered, long before a message arrives.

A certain mistake is a ``TypeError``. A probable one that programs of 2.0.2 may contain is a note on
the signature, which becomes a warning.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from hisock._core.client_info import ClientInfo
from hisock._core.signature import Signature

#: Types of messages, which a client never has.
_MESSAGE_TYPES = (str, bytes, int, float, bool, list, tuple, set, frozenset, bytearray)

#: What a server's events are called in other libraries, and here.
_EVENTS_ELSEWHERE = {"connect": "join", "disconnect": "leave"}


def require_no_method(signature: Signature, namespace: Mapping[str, Any]) -> None:
    """Refuse ``@server.on(...)`` on a method, in the body of its class.

    :param namespace: the local names where the handler is registered.
    :raises TypeError: it is one.
    """
    in_class_body = "__module__" in namespace and "__qualname__" in namespace
    if in_class_body and signature.names[:1] == ["self"]:
        raise TypeError(
            f"{signature.name} is registered in the body of its class, where there is no object "
            "that could be its self; register the bound method, for example in __init__: "
            f'server.on("...")(self.{signature.name.rpartition(".")[2]})'
        )


def check_order(signature: Signature, count: int) -> None:
    """Check that the client comes first in a handler of a server.

    :param count: how many arguments it is called with.
    :raises TypeError: a later argument is annotated as the client, and the first is not.
    """
    hints = [signature.hint(index) for index in range(count)]
    clients = [_is_client(hint) for hint in hints]
    if True in clients and not clients[0]:
        raise TypeError(
            f"handler {signature.name}: the client is the first argument, "
            f"not {signature.names[clients.index(True)]!r}"
        )
    if hints and _is_message(hints[0]):
        signature.notes.append(
            f"handler {signature.name}: the first argument, {signature.names[0]!r}, is the client, "
            "whatever its annotation says; the message is the second"
        )


def check_name(signature: Signature, name: str, count: int) -> None:
    """Note a command that looks like an event of other libraries, which nobody would call.

    :param count: how many arguments the handler is called with; one with a message is a command's.
    """
    meant = _EVENTS_ELSEWHERE.get(name)
    if meant is not None and count < 2:
        signature.notes.append(
            f"handler {signature.name}: {name!r} is a command, called when a client sends it; "
            f"the event of a server is {meant!r}"
        )


def _is_message(hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    kind = typing.get_origin(hint) or hint
    if kind in _MESSAGE_TYPES:
        return True
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return is_struct or dataclasses.is_dataclass(kind)


def _is_client(hint: Any) -> bool:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(map(_is_client, typing.get_args(hint)))
    return isinstance(hint, type) and issubclass(hint, ClientInfo)
