"""A client's info is a value: immutable, equal by what it holds, and found by its public path."""

from __future__ import annotations

import pickle
import pickletools

import pytest

import hisock
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
