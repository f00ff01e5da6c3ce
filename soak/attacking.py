"""One attack of ``python -m soak.attacks``: its name, the server's port, and seconds."""

from __future__ import annotations

import contextlib
import json
import os
import sys

from soak import attackers, floods
from soak.attackers import Attack

ATTACKS = {**attackers.ATTACKS, **floods.ATTACKS}


def main() -> None:
    os.nice(19)  # attackers have machines of their own
    name, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    a = Attack(("127.0.0.1", port), seconds)
    with contextlib.suppress(ConnectionError):  # the server has closed, as it may
        ATTACKS[name](a)
    print(json.dumps({"did": a.did, "problems": a.problems[:5]}), flush=True)


if __name__ == "__main__":
    main()
