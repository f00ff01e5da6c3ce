"""A client's info is a value: immutable, equal by what it holds, and found by its public path."""

from __future__ import annotations

import copy
import pickle
import pickletools
from typing import Any

import pytest

import hisock
from hisock import ClientInfo
from hisock._core.client_info import title_of


def test_it_is_pickled_by_its_public_path() -> None:
    info = hisock.ClientInfo(("127.0.0.1", 5), "Ada", "math")
    data = pickle.dumps(info)
    assert pickle.loads(data) == info
    names = [arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, str)]
    assert not any("_core" in name for name in names)
    assert hisock.ClientInfo.__module__ == "hisock"


def test_errors_name_it_without_its_address() -> None:
    assert title_of(hisock.ClientInfo("10.1.2.3:5", "Ada")) == "the client 'Ada'"
    assert title_of(hisock.ClientInfo("10.1.2.3:5")) == "a client"
    assert title_of(hisock.ClientInfo("10.1.2.3:5", "a\nb")) == r"the client 'a\nb'"


def test_it_cannot_be_changed() -> None:
    info = hisock.ClientInfo("10.1.2.3:5", "Ada")
    with pytest.raises(AttributeError, match="immutable"):
        info.name = "Bob"
    with pytest.raises(AttributeError, match="immutable"):
        del info.name


def test_a_value_that_a_program_made_has_no_connection() -> None:
    assert hisock.ClientInfo("10.1.2.3:5", "Ada")._peer is None


@pytest.mark.parametrize("ip", [("127.0.0.1", 5000), ["127.0.0.1", 5000], "127.0.0.1:5000"])
def test_client_info_is_made_of_either_form_of_address(ip: Any) -> None:
    info = ClientInfo(ip, "ann", "red")
    assert info.ip == info.ipstr == info.ip_as_str == info["ip"] == "127.0.0.1:5000"
    assert info.addr == ("127.0.0.1", 5000)
    assert (info.name, info.group) == (info["name"], info["group"]) == ("ann", "red")


def test_client_info_is_equal_and_hashable_by_value() -> None:
    info = ClientInfo("127.0.0.1:5000", "ann", "red")
    same = ClientInfo(("127.0.0.1", 5000), "ann", "red")
    assert info == same
    assert hash(info) == hash(same)
    assert len({info, same}) == 1
    for other in (
        ClientInfo("127.0.0.1:5001", "ann", "red"),
        ClientInfo("127.0.0.1:5000", "bob", "red"),
        ClientInfo("127.0.0.1:5000", "ann", None),
        "127.0.0.1:5000",
    ):
        assert info != other


def test_client_info_is_immutable() -> None:
    info = ClientInfo("127.0.0.1:5000", "ann", "red")
    for name in ("ip", "addr", "name", "group", "new"):
        with pytest.raises(AttributeError):
            setattr(info, name, "other")
    with pytest.raises(TypeError):
        info["name"] = "other"  # type: ignore[index]
    with pytest.raises(KeyError):
        info["age"]


def test_client_info_survives_copying_and_pickling() -> None:
    info = ClientInfo("127.0.0.1:5000", "ann", "red")
    assert copy.deepcopy(info) == pickle.loads(pickle.dumps(info)) == info
    assert "ann" in str(info)
    assert "127.0.0.1:5000" in repr(info)


@pytest.mark.parametrize("address", [("1.2.3.4", 5), "1.2.3.4:5"])
def test_the_address_helpers_take_either_form(address: Any) -> None:
    assert hisock.iptup_to_str(address) == "1.2.3.4:5"
    assert hisock.ipstr_to_tup(address) == ("1.2.3.4", 5)
