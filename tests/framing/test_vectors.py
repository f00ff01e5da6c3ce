"""The streams that a peer in another language is tested with mean to both cores what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framing.cores import Core
from hisock.framing import FramingError

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "vectors.json").read_text("utf-8"))
STREAMS = VECTORS["vectors"]


def frames_in(core: Core, stream: bytes, step: int) -> tuple[list[dict[str, Any]], bool]:
    decoder = core.Decoder()
    found: list[dict[str, Any]] = []
    for start in range(0, len(stream), step):
        try:
            frames = decoder.feed(stream[start : start + step])
        except FramingError:
            return found, True
        for command, message in frames:
            hexed = None if message is None else message.hex()
            found.append({"command": command, "message": hexed})
        if decoder.error is not None:
            return found, True
    return found, False


@pytest.mark.parametrize("step", [1, 7, 10**6])
@pytest.mark.parametrize("vector", STREAMS, ids=lambda vector: vector["name"])
def test_a_stream_means_what_the_vectors_say(core: Core, vector: dict[str, Any], step: int) -> None:
    expected = (vector["frames"], vector["error"])
    assert frames_in(core, bytes.fromhex(vector["stream"]), step) == expected


def test_there_are_streams_of_both_kinds() -> None:
    assert sum(vector["error"] for vector in STREAMS) >= 15
    assert sum(not vector["error"] for vector in STREAMS) >= 20
