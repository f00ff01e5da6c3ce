"""``python -m soak.faults``: faults planted in the server, each of which a model must find.

Each is planted by itself in a copy of the sources; the model of slow clients, or one of the two of
decisions (``test_model_slow.py``, ``test_model_decisions.py`` and ``test_model_gate.py`` in
``tests/reliability``), runs over the copy and has to fail. It takes minutes, as the examples are
the same for each.
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
SLOW = "tests/reliability/test_model_slow.py"
DECISIONS = "tests/reliability/test_model_decisions.py"
GATE = "tests/reliability/test_model_gate.py"
WRITER, POLICY = "hisock/_server/writer.py", "hisock/_server/backpressure.py"


class Fault(NamedTuple):
    """What is wrong, where, the text that is replaced, and the model that must find it."""

    name: str
    file: str
    right: str
    wrong: str
    model: str = SLOW


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
        "if self._control_bytes > most and",
        "if False and",
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
    Fault(
        "a client that was kicked meanwhile is let in",
        "hisock/_server/decisions.py",
        "if exc is None and not connection.ended:",
        "if exc is None:",
        DECISIONS,
    ),
    Fault(
        "frames overtake the decision about their client",
        "hisock/_server/decisions.py",
        "        connection.begin()\n",
        "        connection.busy += 0\n",
        DECISIONS,
    ),
    Fault(
        "two that ask for a name at the same time both join with it",
        "hisock/_server/hub.py",
        "if self.options.unique_names and self.registry.has_name(name):",
        "if False:",
        DECISIONS,
    ),
    Fault(
        "two that ask for a name at the same time are both renamed to it",
        "hisock/_server/renaming.py",
        "hub.options.unique_names and hub.registry.has_name(name)",
        "False",
        DECISIONS,
    ),
    Fault(
        "a client that came back has the connection that it lost as well",
        "hisock/_server/resuming.py",
        "        if ghost is not None:",
        "        if False:",
        DECISIONS,
    ),
    Fault(
        "calls to a client that has ended wait for ever",
        "hisock/_server/on_demand.py",
        "        if calls is not None:\n            calls.fail_all(self._gone())",
        "",
        DECISIONS,
    ),
    Fault(
        "a connection that ended while the program decided is counted for ever",
        "hisock/_server/admission.py",
        "        self._count.remove(connection.info.addr[0])\n\n    def _check",
        "        pass\n\n    def _check",
        DECISIONS,
    ),
    Fault(
        "False lets a client in",
        "hisock/_server/authentication.py",
        "if answer is False or answer is Reject:",
        "if answer is Reject:",
        GATE,
    ),
    Fault(
        "a refused change is not confirmed",
        "hisock/_server/renaming.py",
        "        self._confirm(change)\n\n    def _confirm",
        "\n    def _confirm",
        GATE,
    ),
    Fault(
        "the secret of a client that has gone is kept",
        "hisock/_server/hub.py",
        "        self._resumable.forget(connection)\n",
        "",
        GATE,
    ),
    Fault(
        "the name of a client that has gone stays taken",
        "hisock/_server/registry.py",
        "P) -> None:\n        self._remove_name(peer, peer.info.name)\n",
        "P) -> None:\n",
        GATE,
    ),
    Fault(
        "a client that has gone stays in its rooms",
        "hisock/_server/rooms.py",
        "for name in own:",
        "for name in ():",
        GATE,
    ),
    Fault(
        "send_many leaves out the last client",
        "hisock/_server/audience.py",
        "for ref in refs:",
        "for ref in list(refs)[:-1]:",
        GATE,
    ),
    Fault(
        "volatile messages are counted and not sent",
        "hisock/_server/audience.py",
        "            members = ready\n",
        "            return len(ready)\n",
        GATE,
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
        return _model_fails(copy, fault.model)
    finally:
        file.write_text(text, "utf-8")


def _model_fails(copy: Path, model: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", model]
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
        for model in (SLOW, DECISIONS, GATE):
            if _model_fails(copy, model):
                raise SystemExit(f"{model} fails without any fault")
        for fault in FAULTS:
            if only in fault.name:
                caught = found(fault, copy)
                missed += not caught
                print("found " if caught else "MISSED", fault.name, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
