"""The goodbye of a server that is to be back soon: ``$GOAWAY$`` and seconds."""

from __future__ import annotations

import re
from typing import Final

from hisock._core.protocol import GOAWAY, build_reserved
from hisock.exceptions import ProtocolError

#: Seconds that a server may ask its clients to stay away: a day.
LONGEST_ABSENCE: Final = 86_400.0
_SECONDS: Final = re.compile(rb"\d{1,5}(\.\d{1,3})?")


def build_goaway(seconds: float, header_len: int) -> bytes:
    """``$GOAWAY$`` seconds, with three decimals at most."""
    return build_reserved(GOAWAY, b"%.3f" % seconds, header_len)


def parse_goaway(data: bytes) -> float:
    """The seconds behind ``$GOAWAY$``.

    :raises ProtocolError: they are no number, or more than a day.
    """
    if not _SECONDS.fullmatch(data) or (seconds := float(data)) > LONGEST_ABSENCE:
        raise ProtocolError("what follows $GOAWAY$ is no number of seconds up to a day")
    return seconds
