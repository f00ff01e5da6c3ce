"""The example of several modules passes its own tests, as its users would run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.process import environment

ROOT = Path(__file__).parents[2]


def test_the_village_passes_its_tests() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, "--rootdir", ".", "-c", "/dev/null", "."],
        cwd=ROOT / "examples" / "village",
        capture_output=True,
        encoding="utf-8",
        env=environment(PYTHONPATH=str(ROOT)),
        timeout=55,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout
