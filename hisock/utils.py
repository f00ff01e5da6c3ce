"""Helpers for programs, and the names that 2.0.2 programs import from here."""

from __future__ import annotations

import builtins
import pathlib
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, ip_address
from typing import Any, TypeVar

from hisock._core.addresses import format_addr, parse_addr
from hisock._core.cache import MessageCacheMember
from hisock._core.client_info import ClientInfo
from hisock._core.codec import JSON
from hisock._core.public import publish
from hisock.exceptions import (
    ClientDisconnected,
    ClientException,
    ClientNotFound,
    ConnectionLost,
    FramingError,
    FunctionNotFoundException,
    FunctionNotFoundWarning,
    GroupNotFound,
    HiSockError,
    InvalidTypeCast,
    NoHeaderWarning,
    NoMessageException,
    ProtocolError,
    ServerException,
    ServerNotRunning,
)
from hisock.framing import build_header

__all__ = [
    "Client",
    "ClientDisconnected",
    "ClientException",
    "ClientInfo",
    "ClientNotFound",
    "ConnectionLost",
    "File",
    "FramingError",
    "FunctionNotFoundException",
    "FunctionNotFoundWarning",
    "GroupNotFound",
    "HiSockError",
    "InvalidTypeCast",
    "JSONSerializableValue",
    "MessageCacheMember",
    "NoHeaderWarning",
    "NoMessageException",
    "ProtocolError",
    "Sendable",
    "SendableTypes",
    "ServerException",
    "ServerNotRunning",
    "get_local_ip",
    "input_client_config",
    "input_server_config",
    "ipstr_to_tup",
    "iptup_to_str",
    "make_header",
    "receive_message",
    "validate_command_not_reserved",
    "validate_ipv4",
]

S = TypeVar("S", str, bytes)
JSONSerializableValue = str | int | float | bool | None | dict[str, Any] | list[Any]
#: What can be sent: these, and everything else that msgspec can encode.
Sendable = bytes | str | int | float | bool | None | ClientInfo | list[Any] | dict[str, Any]
SendableTypes = type[Any]
#: How a client can be named in a call.
Client = str | tuple[str, int] | ClientInfo


class File:
    """A path. 2.0.2 has this name and does nothing with it; neither do we."""

    def __init__(self, file_path: str | pathlib.Path) -> None:
        self.file_path = file_path


def make_header(header_message: str | bytes, header_len: int, encode: bool = True) -> bytes | str:
    """The header of a payload.

    :param header_message: the payload.
    :param header_len: bytes that the header has.
    :param encode: return bytes; else the same as ``str``.
    """
    header = build_header(len(header_message), header_len)
    return header if encode else header.decode()


def receive_message(connection: socket.socket, header_len: int) -> dict[str, bytes] | bool:
    """Read one frame from a blocking socket.

    :returns: ``{"header": ..., "data": ...}``, or ``False`` when the connection has ended.
    :raises ValueError: the header is no number.
    """
    try:
        header = _receive_exactly(connection, header_len)
        data = _receive_exactly(connection, int(header)) if header else b""
    except ConnectionResetError:
        return False
    return {"header": header, "data": data} if header else False


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        chunk = connection.recv(min(count - len(received), 65536))
        if not chunk:
            return b""
        received += chunk
    return bytes(received)


def validate_command_not_reserved(command: str) -> None:
    """Check that a command does not look like a reserved one.

    :raises ValueError: it holds a ``$...$`` pair.
    """
    if re.search(r"\$.+\$", command, re.DOTALL):
        raise ValueError(f"{command!r} cannot be a command: names of the form $name$ are reserved")


def ipstr_to_tup(formatted_ip: str | tuple[str, int]) -> tuple[str, int]:
    """``"127.0.0.1:5000"`` as ``("127.0.0.1", 5000)``; a tuple is returned as it is.

    :raises ValueError: it is no address.
    """
    if not isinstance(formatted_ip, str):
        return formatted_ip[0], formatted_ip[1]
    addr = parse_addr(formatted_ip)
    try:
        ip_address(addr[0])
    except ValueError:
        raise ValueError(f"{addr[0]} is not a valid IP address") from None
    if addr[1] == 0:
        raise ValueError(f"{formatted_ip!r} is not a valid address: the port is 0")
    return addr


def iptup_to_str(formatted_tuple: tuple[str, int] | str) -> str:
    """``("127.0.0.1", 5000)`` as ``"127.0.0.1:5000"``; a string is returned as it is.

    :raises ValueError: it is no address.
    """
    return formatted_tuple if isinstance(formatted_tuple, str) else format_addr(formatted_tuple)


def validate_ipv4(
    ip: str | tuple[Any, ...], require_ip: bool = True, require_port: bool = True
) -> bool:
    """Check an IPv4 address, a port, or both.

    :param ip: ``"ip:port"`` or ``(ip, port)``; only the part that is required, where one is not.
    :returns: ``True``.
    :raises ValueError: it is not valid.
    """
    if not (require_ip or require_port):
        return True
    if isinstance(ip, str):
        parts: tuple[Any, ...] = parse_addr(ip) if require_ip and require_port else (ip,)
    else:
        parts = ip
    if not parts:
        raise ValueError("the address is empty")
    if require_port:
        port = str(parts[-1])
        if not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise ValueError(f"{parts[-1]} is not a valid port (0-65535)")
    if require_ip:
        try:
            IPv4Address(parts[0])
        except ValueError:
            raise ValueError(f"{parts[0]} is not a valid IPv4 address") from None
    return True


def get_local_ip(all_ips: bool = False) -> Any:
    """This machine's IPv4 address in the local network.

    :param all_ips: return a list of all of them.
    """
    name = socket.gethostname()
    return socket.gethostbyname_ex(name)[-1] if all_ips else socket.gethostbyname(name)


def _input_ip_address(question: str) -> str:
    """Ask for an IPv4 address until it is one."""
    return _ask(question, "IP", lambda answer: validate_ipv4(answer, require_port=False))


def _input_port(question: str) -> int:
    """Ask for a port until it is one."""
    return int(_ask(question, "port", lambda answer: validate_ipv4(answer, require_ip=False)))


def _ask(question: str, what: str, check: Callable[[str], Any]) -> str:
    while True:
        answer = input(question)
        try:
            check(answer)
        except ValueError as exc:
            print(f"\033[91mInvalid {what}: {exc}\033[0m\n")
        else:
            return answer


def _ask_address(ip_prompt: str, port_prompt: str) -> tuple[str, int]:
    return _input_ip_address(ip_prompt), _input_port(port_prompt)


def input_server_config(
    ip_prompt: str = "Enter the IP for the server: ",
    port_prompt: str = "Enter the port for the server: ",
) -> tuple[str, int]:
    """Ask on the terminal where to listen, until the answers are valid.

    :returns: ``(ip, port)``, for :func:`hisock.start_server`.
    """
    return _ask_address(ip_prompt, port_prompt)


def input_client_config(
    ip_prompt: str = "Enter the IP of the server: ",
    port_prompt: str = "Enter the port of the server: ",
    name_prompt: str | None = "Enter name: ",
    group_prompt: str | None = "Enter group to connect to: ",
) -> tuple[Any, ...]:
    """Ask on the terminal for the address to connect to, the name and the group.

    :param name_prompt: ``None`` does not ask for a name; likewise ``group_prompt``.
    :returns: ``((ip, port), name, group)`` without what was left empty, for
        ``hisock.connect(*input_client_config())``.
    """
    addr = _ask_address(ip_prompt, port_prompt)
    name = input(name_prompt) if name_prompt else None
    group = input(group_prompt) if group_prompt else None
    return tuple(part for part in (addr, name, group) if part)


# What programs of 2.0.2 import although its name says that it is private.


class _Sentinel:
    """Marks what is missing."""


def _removeprefix(string: S, prefix: S) -> S:
    """``string.removeprefix(prefix)``, for text and for bytes."""
    return string.removeprefix(prefix)


def _dict_tupkey_lookup(
    multikey: Any, _dict: Mapping[Any, Any], idx_to_match: int | None = None
) -> Iterator[Any]:
    """The values whose key, a tuple, holds ``multikey``, anywhere or at an index."""
    return (_dict[key] for key in _dict_tupkey_lookup_key(multikey, _dict, idx_to_match))


def _dict_tupkey_lookup_key(
    multikey: Any, _dict: Mapping[Any, Any], idx_to_match: int | None = None
) -> Iterator[Any]:
    """Those keys themselves."""
    for key in _dict:
        if multikey in key if idx_to_match is None else multikey == key[idx_to_match]:
            yield key


def _str_type_to_type_annotations_dict(annotations_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Annotations with the names of built-in types, and of this module, replaced by these."""
    known = {**globals(), **vars(builtins)}
    return {
        argument: known[annotation] if isinstance(annotation, str) else annotation
        for argument, annotation in annotations_dict.items()
    }


def _type_cast(type_cast: Any, content_to_type_cast: Any, func_name: str) -> Any:
    """Content as another type, as it would arrive if it were sent.

    :raises InvalidTypeCast: it does not fit.
    """
    if type_cast is None or type_cast is type(content_to_type_cast):
        return content_to_type_cast
    try:
        message = JSON.encode_exactly(content_to_type_cast)
        return (message or b"") if type_cast is bytes else JSON.cast_for(type_cast)(message)
    except Exception as exc:
        raise InvalidTypeCast(
            f"Type casting from {type(content_to_type_cast).__name__} "
            f"to {getattr(type_cast, '__name__', type_cast)} failed for function "
            f'"{func_name}":\n{exc}'
        ) from exc


publish(
    "hisock",
    globals(),
    ("get_local_ip", "input_client_config", "input_server_config", "ipstr_to_tup", "iptup_to_str"),
)
