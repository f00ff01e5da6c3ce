"""``python -m hisock``, the same as the ``hisock`` command."""

from __future__ import annotations

import sys

from hisock._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
