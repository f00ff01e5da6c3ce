"""What the source distribution holds: enough to test and to measure what it builds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("build", "setuptools", "wheel", "Cython")

pytestmark = [
    pytest.mark.once,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not all(find_spec(tool) for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"
    ),
]

#: What stays in the repository: its own settings, and the client in JavaScript, which npm has.
NOT_IN_IT = (".git", ".dockerignore", ".pre-commit-config.yaml", "js/")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution, built from a copy of the tree."""
    scratch = tmp_path_factory.mktemp("sdist")
    left_out = shutil.ignore_patterns(
        *(".venv*", ".git", ".cache", ".*_cache", ".hypothesis", ".bench", "node_modules"),
        *("build", "dist", "*.egg-info", "*.so", "*.pyd", "__pycache__"),
    )
    shutil.copytree(ROOT, scratch / "tree", ignore=left_out)
    run(
        scratch / "tree",
        *("-m", "build", "--sdist", "--no-isolation", "--outdir", str(scratch / "dist")),
    )
    (archive,) = (scratch / "dist").glob("*.tar.gz")
    shutil.unpack_archive(archive, scratch / "unpacked")
    (tree,) = (scratch / "unpacked").iterdir()
    return tree


def run(folder: Path, *arguments: str) -> str:
    """Run Python in a folder, on the hisock that is in it, and without a compiler."""
    environment = {**os.environ, "HISOCK_PURE_PYTHON": "1", "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_source_distribution_passes_the_tests_of_the_framing(sdist: Path) -> None:
    arguments = ("-q", "-p", "no:cacheprovider", "--ignore=tests/framing/test_build_modes.py")
    said = run(sdist, "-m", "pytest", *arguments, "tests/framing")
    assert " passed" in said.splitlines()[-1]


def test_the_source_distribution_holds_what_its_benchmarks_need(sdist: Path) -> None:
    assert "instructions" in run(sdist, "-m", "bench.instructions", "--help")
    assert (sdist / "bench/instructions/baseline.json").is_file()
    here = {path.relative_to(ROOT) for path in (ROOT / "bench").rglob("*.h")}
    assert here
    assert {path.relative_to(sdist) for path in (sdist / "bench").rglob("*.h")} == here


def test_the_source_distribution_holds_what_the_repository_does(sdist: Path) -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("needs the repository")
    listed = subprocess.run([git, "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    missing = [
        name
        for name in listed.stdout.splitlines()
        if (ROOT / name).is_file()
        and not (sdist / name).is_file()
        and not name.startswith(NOT_IN_IT)
    ]
    assert missing == []
