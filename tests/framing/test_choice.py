"""Which implementation is in use, and how that is chosen."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from framing.cores import COMPILED, PYTHON
from hisock import _framing_common as common
from hisock import framing

TELL = "from hisock import framing; print(framing.IMPLEMENTATION, framing.Decoder.__module__)"
# An import of a module that stands in sys.modules as None fails like one that is not there.
HIDE = "import sys; sys.modules['hisock._framing'] = sys.modules['hisock._outbox'] = None; "


def run(code: str, pure: str | None) -> list[str]:
    """Run code in a fresh interpreter; return the words it printed."""
    environment = {k: v for k, v in os.environ.items() if k != "HISOCK_PURE_PYTHON"}
    if pure is not None:
        environment["HISOCK_PURE_PYTHON"] = pure
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_the_variable_forces_python() -> None:
    assert run(TELL, "1") == ["python", "hisock._framing_py"]


@pytest.mark.skipif(COMPILED is None, reason="the extension modules are not built here")
@pytest.mark.parametrize("unset", [None, "", "0"])
def test_the_compiled_core_is_used_where_it_is_built(unset: str | None) -> None:
    assert run(TELL, unset) == ["compiled", "hisock._framing"]


def test_without_the_extension_the_python_core_steps_in_silently() -> None:
    assert run(HIDE + TELL, None) == ["python", "hisock._framing_py"]


def test_the_module_offers_what_its_implementation_has() -> None:
    core = PYTHON if framing.IMPLEMENTATION == "python" or COMPILED is None else COMPILED
    for name in ("Decoder", "Outbox", "Scratch", "build_command", "build_raw", "fan_out"):
        assert getattr(framing, name) is getattr(core, name)
    assert all(hasattr(framing, name) for name in framing.__all__)


def test_the_limits_are_those_of_the_contract() -> None:
    assert framing.DEFAULT_HEADER_LEN == 16
    assert framing.MAX_HEADER_LEN == 20
    assert framing.DEFAULT_MAX_FRAME_SIZE == 16 * 1024 * 1024
    assert framing.Scratch().size == common.DEFAULT_SCRATCH_SIZE == 65536
