"""The helpers of ``hisock.utils`` that 2.0.2 programs import."""

from __future__ import annotations

import socket

import pytest

from hisock import utils


@pytest.mark.parametrize(
    ("stream", "received"),
    [
        (b"5   hello", {"header": b"5   ", "data": b"hello"}),
        (b"0   ", {"header": b"0   ", "data": b""}),
        (b"", False),
        (b"5 ", False),
    ],
)
def test_a_frame_is_read_from_a_blocking_socket(stream: bytes, received: object) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(stream)
        theirs.shutdown(socket.SHUT_WR)
        assert utils.receive_message(ours, 4) == received


def test_a_reset_is_the_end_of_the_connection() -> None:
    class Reset(socket.socket):
        def recv(self, *_: int) -> bytes:
            raise ConnectionResetError

    with Reset() as connection:
        assert utils.receive_message(connection, 4) is False


def test_an_address_of_which_nothing_is_required_is_valid() -> None:
    assert utils.validate_ipv4("anything", require_ip=False, require_port=False)
    with pytest.raises(ValueError, match="the address is empty"):
        utils.validate_ipv4(())


def test_a_file_is_its_path() -> None:
    assert utils.File("notes.txt").file_path == "notes.txt"
