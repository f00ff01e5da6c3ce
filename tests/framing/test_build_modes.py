"""What the build comes to with and without a compiler; needs the source tree, not the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("build", "setuptools", "wheel", "Cython")

pytestmark = [
    pytest.mark.once,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="the source tree is not here"),
    pytest.mark.skipif(
        not all(find_spec(tool) for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"
    ),
]
compiler_by_name = pytest.mark.skipif(
    sys.platform == "win32", reason="CC does not name the compiler on Windows"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the sources, free of what earlier builds left."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    built = shutil.ignore_patterns("*.so", "*.pyd", "*.c", "*.html", "__pycache__")
    shutil.copytree(ROOT / "hisock", tree / "hisock", ignore=built)
    return tree


def build(tree: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Build a wheel of the tree without an environment of its own, so without the network."""
    mine = ("HISOCK_PURE_PYTHON", "HISOCK_REQUIRE_EXTENSION", "CC", "CFLAGS")
    environment = {k: v for k, v in os.environ.items() if k not in mine}
    return subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"],
        cwd=tree,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=170,
        check=False,
    )


def wheel(tree: Path) -> tuple[str, list[str]]:
    """Return the tag of the one wheel there, and the extension modules in it."""
    (path,) = (tree / "dist").glob("*.whl")
    with ZipFile(path) as archive:
        names = archive.namelist()
    assert {"hisock/py.typed", "hisock/_framing.pyi", "hisock/_framing_py.py"} <= set(names)
    tag = path.stem.split("-", 2)[2]
    return tag, sorted(name for name in names if name.endswith((".so", ".pyd")))


def test_the_variable_leaves_the_extension_out(tree: Path) -> None:
    done = build(tree, HISOCK_PURE_PYTHON="1")
    assert done.returncode == 0, done.stdout
    assert wheel(tree) == ("py3-none-any", [])


@compiler_by_name
def test_a_compiler_that_fails_costs_the_extension_and_says_so(tree: Path) -> None:
    done = build(tree, CC=shutil.which("false") or "false")
    assert done.returncode == 0, done.stdout
    assert "hisock: installing without it" in done.stdout
    assert wheel(tree) == ("py3-none-any", [])


@compiler_by_name
def test_a_compiler_that_is_missing_costs_the_extension_and_says_so(tree: Path) -> None:
    done = build(tree, CC=str(tree / "no-such-compiler"))
    assert done.returncode == 0, done.stdout
    assert "hisock: installing without it" in done.stdout
    assert wheel(tree) == ("py3-none-any", [])


@compiler_by_name
def test_a_compiler_that_fails_is_fatal_where_the_extension_is_required(tree: Path) -> None:
    done = build(tree, CC=shutil.which("false") or "false", HISOCK_REQUIRE_EXTENSION="1")
    assert done.returncode != 0
    assert "hisock: installing without it" not in done.stdout
    assert not list(tree.glob("dist/*.whl"))


@pytest.mark.skipif(
    os.environ.get("HISOCK_PURE_PYTHON", "") not in ("", "0"), reason="there may be no compiler"
)
def test_with_a_compiler_the_wheel_is_for_this_platform(tree: Path) -> None:
    done = build(tree, HISOCK_REQUIRE_EXTENSION="1", CFLAGS="-O0")
    assert done.returncode == 0, done.stdout
    tag, modules = wheel(tree)
    python, _, platform = tag.split("-")
    assert python == f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert platform != "any"
    assert [Path(name).name.split(".")[0] for name in modules] == [
        "_building",
        "_entries",
        "_framing",
        "_messages",
        "_outbox",
        "_turn",
    ]
