"""Uses a wheel as somebody does who has only that: no source tree, no compiler."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from release.building import ROOT, run

_TESTS = ("pytest", "hypothesis", "pytest-timeout")

#: A server and a client that send each other a message and a call.
_PROGRAM = """
import sys
import hisock
from hisock.framing import IMPLEMENTATION

assert IMPLEMENTATION == sys.argv[1], IMPLEMENTATION
server = hisock.start_threaded_server(("127.0.0.1", 0))


@server.on("double")
def double(client: hisock.ClientInfo, number: int) -> int:
    return 2 * number


server.start()
with server, hisock.connect(server.addr, name="Ada") as client:
    assert client.call("double", 21, int, timeout=20) == 42
print(hisock.__file__)
"""


def use(wheel: Path, python: Path, scratch: Path) -> str:
    """Install a wheel where nothing else is, and run the tests of the framing and a program.

    :returns: the last line of the tests.
    """
    pure = wheel.name.endswith("-none-any.whl")
    home = scratch / f"{wheel.stem}-used"
    run(python, "-m", "venv", home / "venv")
    programs = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    env = {"PATH": str(programs), "PYTHONPATH": "tests"}
    if pure:
        env["HISOCK_PURE_PYTHON"] = "1"  # else the tests expect the compiled core
    pip = (programs / "python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:")
    run(*pip, f"hisock[cli] @ {wheel.as_uri()}", *_TESTS, env=env)

    work = home / "work"
    ignored = shutil.ignore_patterns("__pycache__", "test_build_modes.py")
    for name in ("framing", "data", "support"):
        shutil.copytree(ROOT / "tests" / name, work / "tests" / name, ignore=ignored)
    (work / "program.py").write_text(_PROGRAM, "utf-8")
    where = Path(
        run(
            programs / "python", "program.py", "python" if pure else "compiled", cwd=work, env=env
        ).strip()
    )
    if home not in where.parents:
        raise SystemExit(f"{wheel.name}: hisock was imported from {where}")
    run(programs / "hisock", "info", cwd=work, env=env)
    pytest = (programs / "python", "-m", "pytest", "-q", "--timeout", "120")
    return run(*pytest, "tests/framing", cwd=work, env=env).splitlines()[-1].strip("= ")
