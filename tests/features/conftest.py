"""Fixtures of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .clients import KINDS, Kind
from .wire import HandServer


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every kind of client in turn."""
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def by_hand() -> Iterator[HandServer]:
    with HandServer() as made:
        yield made
