"""``python -m soak.faults``: faults planted in the backpressure, each of which the model must find.

Each is planted by itself in a copy of the sources; the model of slow clients
(``tests/reliability/test_model_slow.py``) runs over the copy and has to fail. It takes minutes, as
the examples are the same for each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
MODEL = "tests/reliability/test_model_slow.py"
WRITER, POLICY = "hisock/_server/writer.py", "hisock/_server/backpressure.py"


class Fault(NamedTuple):
    """What is wrong, where, and the text that is replaced."""

    name: str
    file: str
    right: str
    wrong: str


HELD = "        for frame in control or ():\n            self.write_control(frame)"
FAULTS = [
    Fault(
        "answers are dropped while messages are refused",
        WRITER,
        "                self._control.append(frame)\n",
        "",
    ),
    Fault(
        "held control frames change their order",
        WRITER,
        HELD,
        HELD.replace("control or ()", "reversed(control or ())"),
    ),
    Fault(
        "held control frames overtake messages",
        WRITER,
        HELD,
        HELD.replace("self.write_control", "self._transport.write"),
    ),
    Fault(
        "held control frames are lost when messages are refused again",
        WRITER,
        HELD,
        HELD.replace("self.write_control", "self.outbox.write"),
    ),
    Fault(
        "answers to a client that reads nothing are not bounded",
        WRITER,
        "if self._control_bytes > max(",
        "if False and self._control_bytes > max(",
    ),
    Fault(
        "a state that is refused is not counted",
        WRITER,
        "self.dropped += not outbox.closed",
        "self.dropped += 0",
    ),
    Fault(
        "a state that waits is not replaced",
        WRITER,
        "                latest[key] = frame",
        "                latest.setdefault(key, frame)",
    ),
    Fault(
        "a state that waits is refused its successor",
        WRITER,
        "(outbox.refusing and replaced is None)",
        "outbox.refusing",
    ),
    Fault(
        "a state is lost when a client reads again",
        WRITER,
        "        return frames\n",
        "        return frames[1:]\n",
    ),
    Fault("states count for no limit", WRITER, "            outbox.limit -= grown\n", ""),
    Fault(
        "a client that has caught up is refused messages",
        WRITER,
        "            self.outbox.refusing = False\n            self.outbox.limit = self._hub",
        "            self.outbox.limit = self._hub",
    ),
    Fault(
        "a client is dropped messages where it is to be disconnected",
        POLICY,
        "hub.loop.call_soon(self._end, connection, reason)",
        "pass",
    ),
    Fault(
        "messages wait without bound where they are to be dropped",
        POLICY,
        'if policy not in ("drop", "disconnect"):',
        'if policy != "disconnect":',
    ),
    Fault(
        "messages are refused though the function lets them wait",
        POLICY,
        'if policy not in ("drop", "disconnect"):',
        'if policy == "never":',
    ),
    Fault(
        "the function is asked at every message",
        POLICY,
        "connection.outbox.limit = connection.outbox.size + hub.options.send_buffer",
        "pass",
    ),
]


def found(fault: Fault, copy: Path) -> bool:
    """Whether the model fails over the copy with this fault, and with it alone."""
    file = copy / fault.file
    text = file.read_text("utf-8")
    if text.count(fault.right) != 1:
        raise SystemExit(
            f"{fault.name}: {fault.file} has not once what is to be replaced; mend this list"
        )
    file.write_text(text.replace(fault.right, fault.wrong), "utf-8")
    try:
        return _model_fails(copy)
    finally:
        file.write_text(text, "utf-8")


def _model_fails(copy: Path) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", MODEL]
    env = {**os.environ, "PYTHONPATH": str(copy), "HISOCK_MODEL": "fails"}
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, encoding="utf-8")
    # Some versions of Python fail at showing the failure; what counts is that there was one.
    failed = " failed" in done.stdout
    if not failed and done.returncode != 0:
        raise SystemExit(f"the model did not run:\n{done.stdout}{done.stderr}")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="faults with this in their name")
    only = parser.parse_args().only
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("hisock", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        if _model_fails(copy):
            raise SystemExit("the model fails without any fault")
        for fault in FAULTS:
            if only in fault.name:
                caught = found(fault, copy)
                missed += not caught
                print("found " if caught else "MISSED", fault.name, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
