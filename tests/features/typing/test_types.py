"""What mypy and pyright make of programs that use hisock.

``programs/right.py`` has to pass, and ``programs/wrong.py`` has to be refused in exactly the lines
that say so. pyright comes as basedpyright, which brings its own node.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.process import environment

import hisock

ROOT = Path(__file__).parents[3]
PROGRAMS = Path(__file__).parent / "programs"
PACKAGE = Path(hisock.__file__).parents[1]

pytestmark = [pytest.mark.once, pytest.mark.timeout(120)]


def check_with_mypy(path: Path) -> dict[int, str]:
    """The errors of mypy, by line."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty"]
    command += ["--cache-dir", str(ROOT / ".cache" / "mypy"), str(path)]
    env = environment(MYPYPATH=str(PACKAGE))
    done = subprocess.run(command, env=env, cwd=PROGRAMS, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    found = re.findall(r"^([^:\n]+):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    assert {Path(file).name for file, _, _ in found} <= {path.name}, done.stdout
    return {int(line): text for _, line, text in found}


def check_with_pyright(path: Path, tmp_path: Path) -> dict[int, str]:
    """The errors of pyright, by line."""
    config = {
        "include": [str(path)],
        "extraPaths": [str(PACKAGE)],
        "typeCheckingMode": "standard",
        "pythonVersion": f"{sys.version_info[0]}.{sys.version_info[1]}",
    }
    project = tmp_path / "pyrightconfig.json"
    project.write_text(json.dumps(config), "utf-8")
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "-p", str(project)]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {
        entry["range"]["start"]["line"] + 1: entry["message"]
        for entry in found
        if entry["severity"] == "error"
    }


def lines_to_refuse(path: Path) -> set[int]:
    lines = path.read_text("utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


def check(checker: str, path: Path, tmp_path: Path) -> dict[int, str]:
    return check_with_mypy(path) if checker == "mypy" else check_with_pyright(path, tmp_path)


checkers = pytest.mark.parametrize("checker", ["mypy", "pyright"])


@checkers
def test_types_are_inferred(checker: str, tmp_path: Path) -> None:
    assert check(checker, PROGRAMS / "right.py", tmp_path) == {}


@checkers
def test_what_is_wrong_is_refused_where_it_is_wrong(checker: str, tmp_path: Path) -> None:
    path = PROGRAMS / "wrong.py"
    found = check(checker, path, tmp_path)
    assert found.keys() == lines_to_refuse(path), found


def _public_functions() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (f"{path.name}:{node.lineno} {node.name}", node)
        for path in sorted((PACKAGE / "hisock").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def test_every_function_is_annotated_to_the_last_argument() -> None:
    missing = []
    for where, function in _public_functions():
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        if function.args.vararg:
            arguments.append(function.args.vararg)
        if function.args.kwarg:
            arguments.append(function.args.kwarg)
        missing += [
            f"{where}({argument.arg})"
            for argument in arguments
            if argument.annotation is None and argument.arg not in ("self", "cls")
        ]
        if function.returns is None:
            missing.append(f"{where} ->")
    assert not missing


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "hisock" / "py.typed").is_file()
