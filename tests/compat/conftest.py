from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from support import OldHiSock
from support.fixtures import Run

from .running import Stage


@pytest.fixture
def stage(run_on_ours: Run, old_hisock: OldHiSock) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        yield Stage(run_on_ours, old_hisock, stack)
