"""What must hold of the files themselves: contents, texts, and the bill of materials."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from release.building import run


def check(files: Sequence[Path]) -> None:
    """Hold distributions to what PyPI and pip expect of them."""
    print(run(sys.executable, "-m", "twine", "check", "--strict", *files).strip())
    wheels = [file for file in files if file.suffix == ".whl"]
    # A wheel for all platforms holds no folder for one; tests and sources are in the sdist.
    print(run(sys.executable, "-m", "check_wheel_contents", *wheels).strip())


def digest(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_bill_of_materials(wheel: Path, python: Path, scratch: Path, target: Path) -> None:
    """Write what is installed together with hisock, in CycloneDX's form."""
    run(python, "-m", "venv", "--without-pip", scratch / "sbom")
    programs = scratch / "sbom" / ("Scripts" if os.name == "nt" else "bin")
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet")
    run(*pip, wheel)
    target.parent.mkdir(exist_ok=True)
    tool = (sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible")
    run(*tool, "--output-file", target, programs / "python")
    names = {part["name"] for part in json.loads(target.read_text("utf-8"))["components"]}
    if names != {"hisock", "msgspec"}:
        raise SystemExit(f"hisock needs msgspec and nothing else, and brings {sorted(names)}")
