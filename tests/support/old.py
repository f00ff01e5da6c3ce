"""A real hisock 2.0.2, in an environment of its own: it has the import name of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

from support.locking import one_at_a_time
from support.process import Program, environment

VERSION = "2.0.2"

# 2.0.2's documentation uses ``hisock.ClientInfo`` and ``server.run()``, which that version does not
# have. This gives it the names, so that the programs of the tutorial run on 2.0.2 as they are. Ours
# needs no help.
_LAUNCHER = """\
import runpy, sys
import hisock, hisock.utils
hisock.ClientInfo = hisock.utils.ClientInfo
hisock.HiSockServer.run = hisock.HiSockServer.start
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class OldHiSock:
    """The interpreter that imports 2.0.2."""

    def __init__(self, directory: Path) -> None:
        scripts = "Scripts" if sys.platform == "win32" else "bin"
        self.python = directory / scripts / ("python.exe" if scripts == "Scripts" else "python")

    def start(self, script: Path, *arguments: str) -> Program:
        """Run a script on 2.0.2."""
        command: list[str | Path] = [self.python, "-c", _LAUNCHER, script, *arguments]
        # The folder of the script comes first on the path, as it would without the launcher.
        return Program(command, environment(), cwd=script.parent)

    @classmethod
    def installed(cls, cache: Path) -> OldHiSock:
        """2.0.2 from the package index, once per interpreter, kept in ``cache``.

        The environment appears under its final name only when it is complete, so an interrupted
        or concurrent run never leaves or sees half of one.
        """
        directory = cache / f"hisock-{VERSION}" / sysconfig.get_python_version()
        directory.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(directory.with_name(f"{directory.name}.lock")):
            return cls._made(directory)

    @classmethod
    def _made(cls, directory: Path) -> OldHiSock:
        wanted = cls(directory)
        if wanted._works():
            return wanted
        shutil.rmtree(directory, ignore_errors=True)
        building = directory.with_name(f"{directory.name}.{os.getpid()}.partial")
        shutil.rmtree(building, ignore_errors=True)
        try:
            # The pip that is here can install there; putting one there takes most of the time.
            venv.create(building, with_pip=False)
            pip = [sys.executable, "-m", "pip", "--python", str(cls(building).python)]
            cls._run([*pip, "install", "-q", f"hisock=={VERSION}"])
            try:
                building.rename(directory)
            except OSError:
                if not wanted._works():  # nobody else finished first
                    raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return wanted

    def _works(self) -> bool:
        if not self.python.exists():
            return False
        check = f"import hisock; assert hisock.__version__ == {VERSION!r}"
        command = [str(self.python), "-c", check]
        done = subprocess.run(
            command, env=environment(), cwd=self.python.parent, capture_output=True
        )
        return done.returncode == 0

    @staticmethod
    def _run(command: Sequence[str | Path]) -> None:
        done = subprocess.run(
            [str(part) for part in command], env=environment(), capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(
                f"hisock {VERSION} could not be installed, and the tests against it need it "
                f"(no network is a failure, not a skip):\n{done.stdout}{done.stderr}"
            )
