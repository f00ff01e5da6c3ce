"""What is installed: one version, a wheel that holds what it should and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import metadata, version
from pathlib import Path

import pytest

import hisock

ROOT = Path(__file__).parents[2]


def test_the_version_is_written_in_one_place() -> None:
    assert version("hisock") == hisock.__version__
    written = re.compile(re.escape(hisock.__version__))
    sources = [*(ROOT / "hisock").rglob("*.py"), ROOT / "pyproject.toml", ROOT / "setup.py"]
    assert [path.name for path in sources if written.search(path.read_text("utf-8"))] == [
        "constants.py"
    ]


def test_the_metadata_name_licence_python_extras_author_and_pages() -> None:
    found = metadata("hisock")
    assert found["Requires-Python"] == ">=3.10"
    assert "MIT" in (found["License-Expression"] or found["License"])
    extras = {"cli", "fast", "metrics", "nats", "otel", "redis", "websocket"}
    assert set(found.get_all("Provides-Extra") or ()) == extras
    assert found["Author"] == "The hisock contributors"
    urls = dict(url.split(", ") for url in found.get_all("Project-URL") or ())
    assert {"Changelog", "Documentation", "Homepage", "Issues", "Source"} <= urls.keys()


@pytest.fixture(scope="module")
def pure_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel without the extension, built from a copy, so that nothing is left behind here."""
    copy = tmp_path_factory.mktemp("source") / "hisock"
    left_out = shutil.ignore_patterns("*.so", "*.pyd", "*.c", "__pycache__")
    shutil.copytree(ROOT / "hisock", copy / "hisock", ignore=left_out)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy)
    target = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--wheel-dir",
        str(target),
        str(copy),
    ]
    env = {**os.environ, "HISOCK_PURE_PYTHON": "1"}
    env.pop("HISOCK_REQUIRE_EXTENSION", None)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = target.iterdir()
    return wheel


@pytest.mark.once
@pytest.mark.timeout(300)
def test_a_wheel_without_the_extension_fits_every_platform(pure_wheel: Path) -> None:
    assert pure_wheel.name.endswith("-py3-none-any.whl")


@pytest.mark.once
@pytest.mark.timeout(300)
def test_the_wheel_holds_the_package_and_nothing_else(pure_wheel: Path) -> None:
    with zipfile.ZipFile(pure_wheel) as wheel:
        names = set(wheel.namelist())
        points = next(name for name in names if name.endswith("entry_points.txt"))
        assert "hisock = hisock._cli.main:main" in wheel.read(points).decode()
    assert {"hisock/py.typed", "hisock/_framing.pyi", "hisock/_cli/demo/players.py"} <= names
    assert {"index.html", "game.js", "hisock.min.js"} <= {
        name.rpartition("/")[2] for name in names if "/demo/site/" in name
    }
    assert {name.split("/")[0].split("-")[0] for name in names} == {"hisock"}
    assert any(name.endswith("LICENSE") for name in names)
    assert not any(name.endswith((".so", ".pyd", ".c")) for name in names)
