"""Every test that takes ``core`` runs over both implementations."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from framing.cores import CORES, Core


@pytest.fixture(params=CORES, ids=lambda core: core.name)
def core(request: pytest.FixtureRequest) -> Core:
    """One implementation of the framing core."""
    chosen: Core = request.param
    return chosen


@pytest.fixture
def traced() -> Iterator[Callable[[], tuple[int, int]]]:
    """Tells how many bytes are allocated, and the most since the last question.

    A tracer keeps what it saw of lines, which would be counted too: coverage pauses here.
    """
    tracer = sys.gettrace()
    sys.settrace(None)
    gc.collect()
    tracemalloc.start()

    def ask() -> tuple[int, int]:
        current, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        return current, peak

    yield ask
    tracemalloc.stop()
    sys.settrace(tracer)
