"""Mutated frames through both framing cores: no crash, no hang, no difference.

``python -m fuzz.mutation --frames 1000000`` needs nothing but hisock. Every case is a stream of a
few good frames with one mutated frame among them, cut anywhere; the same seed gives the same cases.
"""

from __future__ import annotations

import argparse
import faulthandler
import platform
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from fuzz import twins

PAYLOADS = (
    b"$CMD$move$MSG$north",
    b"$CMD$move$MSG$",
    b"$CMD$move",
    b"$CMD$gr\xc3\xb6\xc3\x9fe$MSG$\x00\xff",
    b"$CMD$a$MSG$b$MSG$c",
    b"$CMD$c5$$MSG$",
    b"$CMD$" + b"n" * 64 + b"$MSG$at the edge of the command cache",
    b'$CLTHELLO${"name": "ann", "group": null}',
    b"$KEEPALIVE$",
    b"raw",
    b"",
)
#: What means something to the format.
TOKENS = (b"$CMD$", b"$MSG$", b"$", b"$$", b" ", b"0", b"9", b"-", b"\t", b"\0", b"\xff", b"\xc3")
#: Seconds without progress that count as a hang.
HANG = 120


def build(payload: bytes, header_len: int) -> bytes | None:
    """A correct frame, or ``None`` where its length does not fit in the header."""
    header = str(len(payload)).encode()
    return header.ljust(header_len) + payload if len(header) <= header_len else None


def flip_a_bit(rng: random.Random, frame: bytearray) -> None:
    frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)


def replace_a_byte(rng: random.Random, frame: bytearray) -> None:
    frame[rng.randrange(len(frame))] = rng.randrange(256)


def insert_a_token(rng: random.Random, frame: bytearray) -> None:
    at = rng.randrange(len(frame) + 1)
    frame[at:at] = rng.choice(TOKENS)


def overwrite_with_a_token(rng: random.Random, frame: bytearray) -> None:
    token = rng.choice(TOKENS)
    at = rng.randrange(len(frame))
    frame[at : at + len(token)] = token


def remove_a_slice(rng: random.Random, frame: bytearray) -> None:
    at = rng.randrange(len(frame))
    del frame[at : at + rng.randrange(1, 9)]


def repeat_a_slice(rng: random.Random, frame: bytearray) -> None:
    at = rng.randrange(len(frame))
    frame[at:at] = frame[at : at + rng.randrange(1, 20)] * rng.randrange(1, 4)


def claim_another_length(rng: random.Random, frame: bytearray) -> None:
    claim = rng.choice((rng.randrange(40), rng.randrange(10**5), 10 ** rng.randrange(21)))
    digits = str(claim).encode()
    frame[: len(digits)] = digits


MUTATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    flip_a_bit,
    replace_a_byte,
    insert_a_token,
    overwrite_with_a_token,
    remove_a_slice,
    repeat_a_slice,
    claim_another_length,
)


def make_case(rng: random.Random) -> twins.Case:
    """A stream with exactly one mutated frame in it."""
    header_len = rng.choice(twins.HEADER_LENS)
    good = [frame for _ in range(rng.randrange(4)) if (frame := build(_payload(rng), header_len))]
    at = rng.randrange(len(good) + 1)
    stream = b"".join((*good[:at], mutated_frame(rng, header_len), *good[at:]))
    steps = []
    for _ in range(rng.choice((0, 0, 1, 2, 6))):
        cut = rng.randrange(len(stream) + 1)
        steps.append((rng.random() < 0.5, stream[:cut]))
        stream = stream[cut:]
    steps.append((rng.random() < 0.5, stream))
    limit = rng.choice(twins.LIMITS) if rng.random() < 0.2 else twins.LIMITS[0]
    first_limit = rng.choice(twins.LIMITS) if rng.random() < 0.2 else None
    return twins.Case(header_len, limit, tuple(steps), first_limit)


def mutated_frame(rng: random.Random, header_len: int) -> bytes:
    """A frame that is spoilt anywhere, or one with a spoilt payload behind a header that fits."""
    payload = _payload(rng)
    frame = build(payload, header_len) or b"3".ljust(header_len) + b"raw"
    if rng.random() < 0.3:
        return mutate(rng, frame)
    spoilt = mutate(rng, payload or b"$")
    return build(spoilt, header_len) or mutate(rng, frame)


def mutate(rng: random.Random, data: bytes) -> bytes:
    mutated = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        # A mutation may have left nothing for the next.
        rng.choice(MUTATIONS)(rng, mutated or bytearray(b" "))
    return bytes(mutated)


def _payload(rng: random.Random) -> bytes:
    if rng.random() < 0.02:
        return b"$CMD$long$MSG$" + b"y" * rng.randrange(70_000)
    return rng.choice(PAYLOADS)


def run(
    frames: int, seed: int, progress: Callable[[int], None] = lambda done: None
) -> Counter[str]:
    """Send that many mutated frames through both cores.

    :returns: how the streams ended: ``"accepted"``, or the error without what varies in it.
    :raises twins.Difference: the cores do not agree; the text holds the case.
    """
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    scratches: dict[str, Any] = {}
    for number in range(frames):
        if number % 1000 == 0:
            # Scratches are kept for a while, as a server keeps them, and then come in other sizes.
            size = rng.choice(twins.SCRATCH_SIZES)
            scratches = {name: core.Scratch(size) for name, core in twins.CORES.items()}
            progress(number)
        history = twins.run(make_case(rng), scratches)
        outcomes[_kind(history[-1])] += 1
    return outcomes


def _kind(ending: tuple[str, int] | None) -> str:
    if ending is None:
        return "accepted"
    reason = re.sub(r"b'.*?'(?=$|[ :,.])(\.\.\.)?|b\".*\"(\.\.\.)?", "…", ending[0])
    return re.sub(r"\d+ |: .*", lambda found: "… " if found[0][-1] == " " else "", reason)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz.mutation", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if len(twins.CORES) < 2:
        sys.exit("the extension modules are not built: there is nothing to compare")

    def progress(done: int) -> None:
        faulthandler.dump_traceback_later(HANG, exit=True)
        if sys.stderr.isatty():
            print(f"\r{done:,}", end="", file=sys.stderr)

    began = time.monotonic()
    outcomes = run(arguments.frames, arguments.seed, progress)
    faulthandler.cancel_dump_traceback_later()
    took = time.monotonic() - began
    print(f"Python {platform.python_version()}, seed {arguments.seed}, {took:.0f} s")
    print(f"{arguments.frames:,} mutated frames: 0 crashes, 0 hangs, 0 differences")
    for outcome, count in outcomes.most_common():
        print(f"{count:>10,}  {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
