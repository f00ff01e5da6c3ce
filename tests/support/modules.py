"""The package as its sources say it: modules, what they import, what they define."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hisock"

#: The modules that turn bytes into frames and back; one room, though not in a folder.
FRAMING = (
    "framing",
    "_framing",
    "_building",
    "_calling",
    "_entries",
    "_scratch",
    "_messages",
    "_outbox",
    "_publishing",
    "_wire",
    "_commands",
    "_gathered",
    "_chunks",
    "_turn",
)


def sources() -> list[Path]:
    """Every source file of the package, the compiled ones included."""
    return sorted(path for ending in ("*.py", "*.pyx", "*.pxd") for path in PACKAGE.rglob(ending))


def module_name(path: Path) -> str:
    """``hisock._core.calls``; the compiled module and its ``.pxd`` are the same one."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = frozenset(module_name(path) for path in sources())


class Import(NamedTuple):
    """One import statement's target.

    :ivar line: where it stands.
    :ivar module: the full name of the module that is imported, one of hisock or another.
    """

    line: int
    module: str


def _of_statement(node: ast.Import | ast.ImportFrom, importer: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        above = importer.split(".")[: -node.level]
        base = ".".join([*above, base] if base else above)
    for alias in node.names:
        full = f"{base}.{alias.name}"
        yield full if full in MODULES else base


_CYTHON = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<base>[\w.]+)[ \t]+)?c?import[ \t]+(?P<names>\([^)]*\)|[^\n#]*)",
    re.MULTILINE,
)


def _of_cython(text: str) -> Iterator[Import]:
    for found in _CYTHON.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        names = [
            name.split()[0] for name in found["names"].strip("()\n ").split(",") if name.strip()
        ]
        for name in names:
            base = found["base"]
            full = name if base is None else f"{base}.{name}"
            yield Import(line, full if base is None or full in MODULES else base)


@functools.cache
def imports(path: Path) -> list[Import]:
    """What a module imports anywhere: at the top, in functions, under ``if TYPE_CHECKING``."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        return list(_of_cython(text))
    return [
        Import(node.lineno, module)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for module in _of_statement(node, _importer(path))
    ]


def _importer(path: Path) -> str:
    name = module_name(path)
    return f"{name}.__init__" if path.name == "__init__.py" else name


@functools.cache
def graph() -> dict[str, set[str]]:
    """Each module of hisock with the modules of hisock that it imports."""
    found: dict[str, set[str]] = {module: set() for module in MODULES}
    for path in sources():
        inside = {entry.module for entry in imports(path) if entry.module in MODULES}
        found[module_name(path)] |= inside - {module_name(path)}
    return found


def circles(arrows: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The groups of nodes in which each can be reached from each, sorted."""
    reached = {start: _reachable(arrows, start) for start in arrows}
    groups = {
        tuple(sorted(other for other in reached[node] if node in reached.get(other, ())))
        for node in arrows
    }
    return sorted(list(group) for group in groups if group)


def _reachable(arrows: Mapping[str, Iterable[str]], start: str) -> set[str]:
    seen: set[str] = set()
    ahead = list(arrows[start])
    while ahead:
        node = ahead.pop()
        if node not in seen:
            seen.add(node)
            ahead += arrows.get(node, ())
    return seen


def room(module: str) -> str:
    """The folder of a module, ``framing`` for that family, else the module's own name."""
    name = module.removeprefix("hisock").removeprefix(".").split(".")[0]
    if any(name == first or name.startswith(f"{first}_") for first in FRAMING):
        return "framing"
    return name or "hisock"
