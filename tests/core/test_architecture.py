"""Which module may import which, how long a file may be, and one name for one thing.

The rules are those of docs/explanation/design.md. Imports in functions and under
``if TYPE_CHECKING`` count like all others: a type that points upwards ties two modules together as
much as a call does.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest
from support.modules import (
    PACKAGE,
    ROOT,
    circles,
    graph,
    imports,
    module_name,
    room,
    sources,
)

from hisock import _framing_common, _framing_py, _outbox_py

#: From the ground up. A room imports only from lower storeys, and from itself.
STOREYS: list[set[str]] = [
    {"exceptions", "constants"},
    {"framing"},
    {"_core"},
    {"_runtime"},
    {"_websocket"},
    {"_server", "_client"},
    {"_cluster"},
    {
        "cluster",
        "server",
        "client",
        "async_client",
        "utils",
        "asgi",
        "metrics",
        "otel",
        "testing",
        "routing",
        "codec",
        "hisock",
        "_testing",
    },
    {"_cli", "__main__", "examples"},
]
STOREY = {name: storey for storey, names in enumerate(STOREYS) for name in names}
SERVER_SIDE = {"_server", "server", "metrics", "asgi"}
CLIENT_SIDE = {"_client", "client", "async_client"}

MAX_LINES = 400
TESTS = ROOT / "tests"
#: Names of classes that two modules define still. An entry that has been mended is to be deleted.
TWO_OF_ONE_NAME: set[str] = set()
#: Rooms whose modules import each other in a circle, and why.
CIRCLES = {
    "_cluster": "the plane makes its parts, which are typed as parts of it",
    "_server": "the hub makes connections and hands out work, and its parts are typed as its own",
}


def storey(module: str) -> int:
    name = room(module)
    assert name in STOREY, f"say in STOREYS which storey {name} stands on"
    return STOREY[name]


def arrows() -> list[tuple[str, str]]:
    return sorted((module, other) for module, others in graph().items() for other in others)


def test_no_module_imports_from_a_higher_storey() -> None:
    assert [(one, other) for one, other in arrows() if storey(other) > storey(one)] == []


def test_rooms_of_one_storey_do_not_import_each_other_unless_they_are_public() -> None:
    faces = next(number for number, names in enumerate(STOREYS) if "hisock" in names)
    assert [
        (one, other)
        for one, other in arrows()
        if storey(one) == storey(other) < faces and room(one) != room(other)
    ] == []


def test_server_and_client_never_meet() -> None:
    sides = (SERVER_SIDE, CLIENT_SIDE)
    assert [
        (one, other)
        for one, other in arrows()
        for mine, theirs in (sides, sides[::-1])
        if room(one) in mine and room(other) in theirs
    ] == []


def test_framing_and_the_core_know_neither_loops_nor_sockets_nor_threads_nor_clocks() -> None:
    outside = {"asyncio", "socket", "threading", "ssl", "time"}
    assert [
        f"{module_name(path)}:{entry.line} {entry.module}"
        for path in sources()
        if room(module_name(path)) in ("framing", "_core")
        for entry in imports(path)
        if entry.module.split(".")[0] in outside
    ] == []


def test_no_circle_of_imports_crosses_a_room() -> None:
    rooms: dict[str, set[str]] = defaultdict(set)
    for one, other in arrows():
        rooms[room(one)] |= {room(other)} - {room(one)}
    assert circles(rooms) == []


def test_no_circle_of_imports_inside_a_room() -> None:
    found = [(room(circle[0]), circle) for circle in circles(graph())]
    assert [circle for name, circle in found if name not in CIRCLES] == []
    assert CIRCLES.keys() - {name for name, _ in found} == set(), "mended: delete it from CIRCLES"


def test_no_file_is_longer_than_a_head_can_hold() -> None:
    long = {
        path.relative_to(ROOT).as_posix()
        for path in (*sources(), *TESTS.rglob("*.py"))
        if len(path.read_text("utf-8").splitlines()) > MAX_LINES
    }
    assert long == set(), f"more than {MAX_LINES} lines"


def test_a_line_that_no_test_has_to_reach_says_why() -> None:
    unexplained = [
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in PACKAGE.rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if "pragma:" in line and not re.search(r"# pragma: no (cover|branch) - \w+", line)
    ]
    assert unexplained == [], 'write "# pragma: no cover - " and the reason'


def defined(path: Path) -> set[str]:
    """The classes and named types that a module defines at its top."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        return set(re.findall(r"^cdef class (\w+)", text, re.MULTILINE))
    names: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.add(node.targets[0].id)
    return {name for name in names if re.match(r"_?[A-Z]\w*[a-z]", name)}


def test_a_class_has_a_name_of_its_own() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for path in sources():
        module = module_name(path)
        for name in defined(path):
            # The twins of the framing core define the same on purpose.
            homes[name].add("framing" if room(module) == "framing" else module)
    twice = {name: sorted(where) for name, where in homes.items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in TWO_OF_ONE_NAME} == {}
    assert TWO_OF_ONE_NAME - twice.keys() == set(), "mended: delete these from TWO_OF_ONE_NAME"


#: ``NAME = 64``, and after it perhaps the name that the Python twin has for it.
_NUMBER = re.compile(r"^ +([A-Z_]+) = (-?\d+)(?:  # (?:as in|([A-Z_]+)))?", re.MULTILINE)


@pytest.mark.parametrize(
    "name",
    [
        "_entries.pyx",
        "_framing.pyx",
        "_messages.pyx",
        "_outbox.pxd",
        "_turn.pyx",
        "_wire.pxd",
        "_commands.pxd",
    ],
)
def test_a_number_that_a_compiled_source_repeats_is_that_of_the_python_twin(name: str) -> None:
    text = (PACKAGE / name).read_text("utf-8")
    found = _NUMBER.findall(text)
    assert len(found) == len(re.findall(r"^ +[A-Z_]+ = ", text, re.MULTILINE)) > 0
    known: dict[str, int] = {**vars(_framing_py), **vars(_outbox_py), **vars(_framing_common)}
    assert [
        (constant, value)
        for constant, value, other in found
        if known.get(other or constant, int(value)) != int(value)
    ] == []
    said = re.findall(r"^ +([A-Z_]+) = \d+  # as in _framing_common", text, re.MULTILINE)
    assert [constant for constant in said if not hasattr(_framing_common, constant)] == []
