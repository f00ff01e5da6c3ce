"""Builds the compiled framing core; a compiler that fails does not fail the install.

All metadata is in ``pyproject.toml``. Two environment variables steer the build:

- ``HISOCK_PURE_PYTHON=1`` leaves the extension modules out;
- ``HISOCK_REQUIRE_EXTENSION=1`` makes a failure to build them fatal.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, ExecError, PlatformError


def wanted(name: str) -> bool:
    """Whether an environment variable is set to something but 0."""
    return os.environ.get(name, "") not in ("", "0")


PURE = wanted("HISOCK_PURE_PYTHON")
REQUIRED = wanted("HISOCK_REQUIRE_EXTENSION")


def fall_back(error: BaseException) -> None:
    """Say that the install goes on without the extension modules, or end it if they are a must."""
    if REQUIRED:
        raise error
    print(
        f"hisock: the compiled framing core could not be built ({type(error).__name__}: {error}).\n"
        "hisock: installing without it; everything works, at the speed of Python.\n"
        "hisock: set HISOCK_REQUIRE_EXTENSION=1 to make this an error.",
        file=sys.stderr,
    )


class OptionalBuildExt(build_ext):
    """Builds the extension modules, or leaves a distribution without them."""

    def run(self) -> None:
        try:
            super().run()
        except (BaseError, CCompilerError, ExecError, PlatformError, OSError) as error:
            fall_back(error)
            self._leave_out()

    def _leave_out(self) -> None:
        # Nothing of an earlier build may get into a wheel that says it has no extension.
        for extension in self.extensions:
            with suppress(OSError):
                Path(self.get_ext_fullpath(extension.name)).unlink()
        self.extensions = []
        self.distribution.ext_modules = []


class WheelOfWhatWasBuilt(bdist_wheel):
    """Tags a wheel by what the build came to, not by what it set out for."""

    def run(self) -> None:
        if not self.skip_build:
            self.run_command("build")
        if not self.distribution.has_ext_modules():
            self.root_is_pure = True
        super().run()


def extensions() -> list[Any]:
    """Return the extension modules to build."""
    if PURE:
        return []
    try:
        from Cython.Build import cythonize
        from Cython.Compiler.Errors import CompileError
    except ImportError as error:
        fall_back(error)
        return []
    flags = [] if sys.platform == "win32" else ["-O3"]
    modules = [
        Extension(f"hisock.{name}", [f"hisock/{name}.pyx"], extra_compile_args=flags)
        for name in ("_building", "_entries", "_framing", "_messages", "_outbox", "_turn")
    ]
    try:
        built: list[Any] = cythonize(modules, build_dir="build/cython")
    except (CompileError, OSError) as error:
        fall_back(error)
        return []
    return built


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": OptionalBuildExt, "bdist_wheel": WheelOfWhatWasBuilt},
)
