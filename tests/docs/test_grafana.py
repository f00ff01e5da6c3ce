"""The dashboard for Grafana: each metric and label in its queries is one that a server exposes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

import hisock
from hisock.metrics import ServerCollector
from hisock.testing import BlockingTestServer

FILE = Path(__file__).parents[2] / "examples" / "grafana" / "hisock.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
QUERIES = [each["expr"] for panel in DASHBOARD["panels"] for each in panel["targets"]]
QUERIES += [
    each["query"]["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"
]


def exposed() -> dict[str, set[str]]:
    """The metrics of a server that has a tick and lost a client, each with its labels."""
    server = hisock.HiSockServer(None)
    server.every(1)(lambda: None)
    registry = CollectorRegistry()
    with BlockingTestServer(server) as t:
        t.connect("Ada").close()
        registry.register(ServerCollector({"game": server}))
        text = generate_latest(registry).decode()
    found = re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE)
    return {name: set(re.findall(r'(\w+)="', labels)) for name, labels in found}


def test_every_metric_and_label_of_a_query_exists() -> None:
    metrics = exposed()
    for query in QUERIES:
        names = re.findall(r"hisock_\w+", query)
        assert names, query
        for name in names:
            assert name in metrics, query
            for label in re.findall(r'(\w+)=~?"', query):
                assert label in metrics[name], query
            by = re.search(r"by \((\w+)\)", query)
            assert by is None or by[1] in metrics[name], query


def test_every_metric_is_on_the_dashboard_and_labels_of_legends_exist() -> None:
    metrics = exposed()
    shown = {name for query in QUERIES for name in re.findall(r"hisock_\w+", query)}
    assert metrics.keys() - shown == set()
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            (name,) = set(re.findall(r"hisock_\w+", target["expr"]))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= metrics[name]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
