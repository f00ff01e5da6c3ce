"""What the fuzzers have kept, and a short run of the mutation driver."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from fuzz import mutation, targets, twins  # noqa: E402 - lies beside the package

CORPUS = ROOT / "fuzz" / "corpus"
INPUTS = sorted(CORPUS.glob("*/*"))


@pytest.fixture(scope="module", autouse=True)
def _no_server_is_left() -> Iterator[None]:
    yield
    targets.close_server()


def test_every_target_has_a_corpus() -> None:
    assert {path.parent.name for path in INPUTS} == set(targets.TARGETS)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_kept_input_breaks_no_promise(path: Path) -> None:
    targets.TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.skipif(len(twins.CORES) < 2, reason="the extension modules are not built here")
def test_mutated_frames_mean_the_same_to_both_cores() -> None:
    """``python -m fuzz.mutation`` does the same a million times."""
    outcomes = mutation.run(20_000, seed=1)
    assert sum(outcomes.values()) == 20_000
    # The mutations reach every way a stream can end.
    assert len(outcomes) == 8, outcomes
