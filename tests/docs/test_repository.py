"""The settings of the repository: workflows, templates, what a build depends on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILED = (".pyx", ".pxd", ".pxi")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="needs the repository")


def compiled_sources() -> list[Path]:
    found = [path for path in (ROOT / "hisock").rglob("*") if path.suffix in COMPILED]
    assert found
    return [path.relative_to(ROOT) for path in found]


def test_every_action_is_pinned_by_its_commit_and_says_its_version() -> None:
    used = [line for path in WORKFLOWS for line in path.read_text("utf-8").splitlines()]
    used = [line.strip() for line in used if re.match(r"\s*(- )?uses:", line)]
    assert used
    pinned = re.compile(r"(- )?uses: [\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")
    assert [line for line in used if not pinned.fullmatch(line)] == []


def test_wheels_are_built_when_a_compiled_source_changes() -> None:
    text = (ROOT / ".github" / "workflows" / "wheels.yml").read_text("utf-8")
    paths = re.findall(r'^ {6}- "?([^"\n]+)"?$', text, re.MULTILINE)
    compiled = [path for ending in COMPILED for path in (ROOT / "hisock").rglob(f"*{ending}")]
    assert compiled
    assert {f"hisock/**{path.suffix}" for path in compiled} <= set(paths)


@pytest.mark.once
@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
    ],
)
def test_the_settings_of_the_repository_fit_their_schema(schema: str, paths: list[Path]) -> None:
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_builds_anew_what_a_changed_compiled_source_belongs_to() -> None:
    question = "include Makefile\nsources:\n\t@echo $(SOURCES)\n"
    command = ["make", "--no-print-directory", "-f", "-", "sources", f"PYTHON={sys.executable}"]
    done = subprocess.run(
        command, cwd=ROOT, input=question, capture_output=True, text=True, check=True
    )
    assert {path.as_posix() for path in compiled_sources()} <= set(done.stdout.split())
