"""Every test that takes ``core`` runs over both implementations."""

from __future__ import annotations

import pytest

from framing.cores import CORES, Core


@pytest.fixture(params=CORES, ids=lambda core: core.name)
def core(request: pytest.FixtureRequest) -> Core:
    """One implementation of the framing core."""
    chosen: Core = request.param
    return chosen
