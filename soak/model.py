"""``python -m soak.model --minutes 20``: a model of the server, against the real one, at random.

Clients connect, talk, rename themselves, change groups, enter and leave rooms, are cut off, kicked
or send garbage, and come back, over raw connections and without waiting for each other. What each
has to be told follows from the order in which the server's handlers were called; every frame is
compared. They are the state machines of ``tests/reliability/test_model.py`` and, for decisions that
wait, clients that resume, and calls, ``test_model_gate.py``, in turn, for as long as one likes
and with the order of things chosen anew each time.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

TESTS = Path(__file__).parents[1] / "tests"
#: Sequences of acts between two looks at the clock.
EXAMPLES = 20


def counting(machine: type[Any], counts: Counter[str]) -> type[Any]:
    """The machine, which counts what its servers have seen."""

    class Counting(machine):  # type: ignore[misc]
        def teardown(self) -> None:
            if hasattr(self, "server"):
                counts["servers"] += 1
                counts["clients"] += len(self.clients)
                counts["events"] += len(self.log.seen)
            super().teardown()

    return Counting


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak.model", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--steps", type=int, default=80, help="acts of one sequence")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--shrink", action="store_true", help="look for the shortest failure")
    parser.add_argument("--only", choices=["live", "gated"], help="one of the two models")
    options = parser.parse_args()
    # That connections end is what this is about, and functions of the program fail on purpose.
    logging.basicConfig(level=logging.CRITICAL)
    sys.path.insert(0, str(TESTS))
    from reliability.test_model import LiveServer
    from reliability.test_model_gate import Gated

    counts: Counter[str] = Counter()
    machines = {"live": counting(LiveServer, counts), "gated": counting(Gated, counts)}
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=options.steps,
        deadline=None,
        database=None,
        # Each shorter way that is tried may wait its patience out: minutes for one failure.
        phases=(Phase.generate, Phase.shrink) if options.shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    ends = time.monotonic() + 60 * options.minutes
    number = random.getrandbits(32) if options.seed is None else options.seed
    while True:
        print(f"seed {number}: {dict(counts)}", flush=True)
        for name, machine in machines.items():
            if options.only in (None, name):
                run_state_machine_as_test(seed(number)(machine), settings=chosen)
        if time.monotonic() >= ends or options.seed is not None:
            break
        number = random.getrandbits(32)
    print(f"as the model says: {dict(counts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
