"""What is an address of a client, and what can only be a name."""

from __future__ import annotations

import pytest

from hisock._core.addresses import client_addr, format_addr, is_local, network_of, parse_addr


@pytest.mark.parametrize(
    ("text", "addr"),
    [
        ("127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:5000", ("::1", 5000)),
        ("::1:5000", ("::1", 5000)),
        ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
        ("unix:3", ("unix", 3)),
        ("hidden:70000", ("hidden", 70000)),
    ],
)
def test_an_address_is_an_address(text: str, addr: tuple[str, int]) -> None:
    assert client_addr(text) == addr


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "Ann",
        "player:1",
        "localhost:5000",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:+5",
        "127.0.0.1:5000 ",
        "127.0.0.1:٣",
        "1.2.3:5",
        "unix:",
        "hidden:x",
        "127.0.0.1:" + "0" * 200 + "1",
        "x" * 1_000_000 + ":1",
    ],
)
def test_anything_else_can_only_be_a_name(text: str) -> None:
    assert client_addr(text) is None


@pytest.mark.parametrize(
    "addr", [("127.0.0.1", 1), ("::1", 1), ("fe80::1%eth0", 2), ("unix", 3), ("hidden", 4)]
)
def test_what_is_formatted_is_read_back(addr: tuple[str, int]) -> None:
    assert client_addr(format_addr(addr)) == addr
    assert parse_addr(format_addr(addr)) == addr


def test_more_than_a_host_and_a_port_is_cut_and_less_is_an_error() -> None:
    assert format_addr(("::1", 5, 0, 0)) == "[::1]:5"
    with pytest.raises(ValueError, match="expected"):
        format_addr(("127.0.0.1",))


@pytest.mark.parametrize("text", ["", ":5", "host", "host:", "host:x", "host:70000"])
def test_what_is_no_address_is_not_parsed(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        parse_addr(text)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("unix", "unix"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_limits_count_a_network_as_one_address(host: str, network: str) -> None:
    assert network_of(host) == network


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "unix"])
def test_hosts_of_this_machine(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "2001:db8::1", "memory"])
def test_other_hosts(host: str) -> None:
    assert not is_local(host)
