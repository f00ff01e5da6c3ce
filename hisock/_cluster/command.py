"""How a process starts its own program again."""

from __future__ import annotations

import sys


def own_command() -> list[str]:
    """The command that runs this program once more, in a fresh interpreter.

    :raises RuntimeError: the program was typed in or piped, and is nowhere to be found again.
    """
    main = sys.modules["__main__"]
    repeatable = (
        getattr(main, "__spec__", None) is not None  # python -m
        or bool(getattr(main, "__file__", None))
        or "-c" in sys.orig_argv
    )
    if not repeatable:
        raise RuntimeError(
            "each worker runs the program anew, and this one was typed in; put it into a file"
        )
    return [sys.executable, *sys.orig_argv[1:]]
