"""Python's garbage collector in processes that do nothing but serve."""

from __future__ import annotations

import gc


def freeze() -> None:
    """Leave all objects that there are out of garbage collections from now on.

    What a process has imported and made to begin with stays for good. A full collection would look
    at it again each time, 10 to 15 ms long, in which the loop serves nobody.
    """
    gc.collect()
    if hasattr(gc, "freeze"):  # not on PyPy, whose collector works in small steps
        gc.freeze()
