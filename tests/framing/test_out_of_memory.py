"""An outbox for which there is no memory: what it has is whole, or it is closed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from framing.cores import PYTHON
from framing.test_in_place import compiled

#: Every allocation that each way into an outbox makes fails once, after each other way, and after a
#: take, which leaves room in the next piece.
PROGRAM = """
import itertools
import threading
import _testcapi
from hisock._building import build_command
from hisock._framing import Decoder
from hisock._outbox import Gathered, Outbox, send_call, send_reply

LARGE = bytes(40_000)
frames = [build_command("small", bytes(10)), build_command("large", LARGE)]
ways = [
    lambda box: box.send("move", bytes(30)),
    lambda box: box.send("large", LARGE),
    lambda box: box.write(frames[0]),
    lambda box: box.write(frames[1]),
    lambda box: send_reply(box, b"17", bytes(100)),
    lambda box: send_call(box, 17, "ask", bytes(100)),
    lambda box: box.take(),
    lambda box: box.catch_up(),
]


def gather():
    held = Gathered(threading.Lock())
    for number in range(3):
        held.add(build_command("gathered", bytes(300 * number)))
    return held


def play(before, way, fails, taken, holds):
    queue = []
    box = Outbox(queue, "owner", lambda: None)
    if taken:
        box.send("first", bytes(70))
        box.take()
        queue.clear()
    before(box)
    if holds:
        box.hold(gather(), 0)
    written = b""
    _testcapi.set_nomemory(fails, fails + 1)
    try:
        done = way(box)
    except MemoryError:
        done = None
    finally:
        _testcapi.remove_mem_hooks()
    if isinstance(done, list):
        written = b"".join(done)
        queue.clear()
    elif done is None and box.closed:
        assert (box.size, box.frames, box.take()) == (0, 0, [])
        assert not box.send("more")
        return "closed"
    box.send("last")
    assert queue == ["owner"], queue
    size, frames = box.size, box.frames
    rest = b"".join(box.take())
    assert len(rest) == size, (len(rest), size)
    decoder = Decoder()
    decoder.feed(written)
    if holds:
        assert (written + rest).count(b"$gathered$") == 3, (written, rest)
    before_last = decoder.frames
    assert decoder.feed(rest)[-1][0] == "last"
    decoder.eof()
    assert decoder.frames - before_last == frames
    return "failed" if done is None else "done"


cases = itertools.product(ways, ways, range(12), (False, True), (False, True))
print(sorted({play(*case) for case in cases}))
"""


@compiled
@pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None or "asan" in os.environ.get("LD_PRELOAD", ""),
    reason="needs allocations that fail",
)
def test_an_outbox_that_there_is_no_memory_for_is_whole_or_closed() -> None:
    """It wrote behind its memory, or was never written to its peer again."""
    # What measures coverage does not bear that its own allocations fail.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, env=env
    )
    assert (run.stdout.strip(), run.returncode) == ("['closed', 'done', 'failed']", 0), run.stderr


class Full(list[object]):
    """A queue for which there is no memory once."""

    failed = False

    def append(self, owner: object) -> None:
        if not self.failed:
            self.failed = True
            raise MemoryError
        super().append(owner)


def test_an_outbox_in_python_notes_its_owner_with_the_next_frame() -> None:
    queue = Full()
    box = PYTHON.Outbox(queue, "owner", lambda: None)
    with pytest.raises(MemoryError):
        box.send("first")
    assert box.send("second")
    assert queue == ["owner"]
    assert len(box.take()) == 1
