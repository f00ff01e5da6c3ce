"""What the fuzzers have kept, and a short run of the mutation driver."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import frame

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


LONG = b"$CMD$" + b"n" * 64 + b"$MSG$at the edge of the command cache"
#: Streams that were told apart by what earlier ones had left in the buffers that decoders share.
HISTORIES = [
    (
        64,
        twins.Case(16, 16 << 20, ((True, frame(b"$CMD$a$MSG$b$MSG$c") + frame(LONG)),)),
        # Never complete.
        twins.Case(20, 16 << 20, ((False, b"136".ljust(20) + b"$"), (True, b"x" * 100))),
        twins.Case(
            16, 16 << 20, ((True, frame(LONG) + frame(b"$CMD$$MSG$") + frame(b"$CMD$move")),)
        ),
    )
]


@pytest.mark.skipif(len(twins.CORES) < 2, reason="the extension modules are not built here")
@pytest.mark.parametrize("history", HISTORIES)
def test_what_one_stream_leaves_behind_is_the_same_in_both_cores(
    history: tuple[int, twins.Case],
) -> None:
    size, *cases = history
    scratches = {name: core.Scratch(size) for name, core in twins.CORES.items()}
    for case in cases:
        twins.run(case, scratches)


@pytest.mark.skipif(len(twins.CORES) < 2, reason="the extension modules are not built here")
def test_mutated_frames_mean_the_same_to_both_cores() -> None:
    """``python -m fuzz.mutation`` does the same a million times."""
    outcomes = mutation.run(20_000, seed=1)
    assert sum(outcomes.values()) == 20_000
    # The mutations reach every way a stream can end.
    assert len(outcomes) == 8, outcomes
