"""The tables of the reference say what the code says: options, events, errors, figures."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hisock
import hisock.exceptions
from hisock._core.binding import CLIENT_EVENTS, RECONNECT_EVENTS, SERVER_EVENTS
from hisock._server.stats import ServerStats, TickStats

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def tables(page: str) -> list[list[list[str]]]:
    """The tables of a page: rows of cells, without their heads."""
    text = (REFERENCE / page).read_text("utf-8")
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    rows = [[line.strip("| ").split("|") for line in table.splitlines()[2:]] for table in found]
    return [[[cell.strip() for cell in row] for row in table] for table in rows]


def written(value: object) -> str:
    if value is inspect.Parameter.empty:
        return ""
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{value.__name__ if isinstance(value, type) else value}`"


@pytest.mark.parametrize(
    ("table", "made"),
    [(0, hisock.HiSockServer), (1, hisock.HiSockClient), (1, hisock.async_connect)],
    ids=["server", "client", "async client"],
)
def test_the_tables_of_options_have_each_with_its_default(
    table: int, made: Callable[..., Any]
) -> None:
    parameters = inspect.signature(made).parameters.values()
    expected = [(f"`{each.name}`", written(each.default)) for each in parameters]
    assert [(row[0], row[1]) for row in tables("options.md")[table]] == expected


@pytest.mark.parametrize(
    ("table", "events"), [(0, SERVER_EVENTS), (1, {**CLIENT_EVENTS, **RECONNECT_EVENTS})]
)
def test_the_tables_of_events_have_each_with_its_arguments(
    table: int, events: dict[str, tuple[int, ...]]
) -> None:
    named = {}
    for name, arguments, *_ in tables("events.md")[table]:
        forms = re.findall(r"`([^`]*)`", arguments) or [""]
        named[name.strip("`")] = {len(form.split(",")) if form else 0 for form in forms}
    assert named == {name: set(counts) for name, counts in events.items()}


def test_the_table_of_errors_has_each_and_what_else_it_is() -> None:
    kept = ("FunctionNotFound", "NoHeader", "NoMessage", "ClientException", "ServerException")
    expected = {
        name
        for name in hisock.exceptions.__all__
        if not name.startswith(kept) and name != "HiSockError"
    }
    rows = tables("errors.md")[0]
    assert {row[0].strip("`") for row in rows} == expected
    for name, parents, *_ in rows:
        error = getattr(hisock.exceptions, name.strip("`"))
        said = set(re.findall(r"`(\w+)`", parents))
        assert said <= {base.__name__ for base in error.__mro__}, name


def test_the_table_of_figures_has_each_and_its_name_for_prometheus() -> None:
    pytest.importorskip("prometheus_client")
    from hisock.metrics import ServerCollector

    rows, of_cluster = tables("stats.md")[:2]
    fields = [name for name in ServerStats.__dataclass_fields__ if name != "ticks"]
    fields += [f"ticks[name].{name}" for name in TickStats.__dataclass_fields__]
    assert [row[0].strip("`") for row in rows] == fields
    named = [row[0].strip("`") for row in of_cluster]
    assert [name for name in named if name != "(of all)"] == list(
        hisock.ClusterStats.__dataclass_fields__
    )
    with hisock.HiSockServer(("127.0.0.1", 0)) as server:
        metrics = list(ServerCollector(server).describe())
    exposed = {each.name + ("_total" if each.type == "counter" else "") for each in metrics}
    assert {row[1].strip("`").partition("{")[0] for row in (*rows, *of_cluster)} - {""} == exposed
