from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from support import OldHiSock, Program

from .running import Stage


@pytest.fixture
def stage(run_on_ours: Callable[..., Program], old_hisock: OldHiSock) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        yield Stage(run_on_ours, old_hisock, stack)
