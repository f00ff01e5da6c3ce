"""Every log record has the documented fields, and every event is documented."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path

import pytest
from support.modules import sources

import hisock
from hisock._core.client_info import ClientInfo
from hisock._core.log_fields import fields
from hisock.exceptions import RemoteError
from hisock.testing import BlockingTestServer

LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "logs.md").read_text("utf-8")


def is_logging(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LEVELS
        and ast.unparse(node.func.value) in ("logger", "self._log")
    )


def python_sources() -> list[Path]:
    return [path for path in sources() if path.suffix == ".py"]


def test_every_line_has_the_fields() -> None:
    calls = [
        (path.name, node)
        for path in python_sources()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if is_logging(node)
    ]
    assert len(calls) > 30, "the search finds what it looks for"
    assert [
        f"{name}:{node.lineno}"
        for name, node in calls
        if isinstance(node, ast.Call) and not any(each.arg == "extra" for each in node.keywords)
    ] == []


def test_every_event_and_field_is_documented_and_no_others() -> None:
    used = set()
    for path in python_sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "fields":
                (event,) = node.args
                assert isinstance(event, ast.Constant), f"a name in {path.name}:{node.lineno}"
                used.add(event.value)
    names, events = TEXT.split("| event | level |")
    rows = re.findall(r"^\| (`[^|]+`) \|", events, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == used
    assert re.findall(r"^\| `(\w+)` \|", names, re.MULTILINE) == list(fields("x"))
    assert not fields("x").keys() & vars(logging.makeLogRecord({})).keys()


def test_fields_hold_what_a_peer_sent_on_one_line() -> None:
    found = fields("x", client=ClientInfo(("::1", 5), "a\nb"), command="c\r", reason="d" * 999)
    assert found["client"] == "[::1]:5"
    assert found["client_name"] == r"a\nb"
    assert found["command"] == r"c\r"
    assert len(found["reason"]) < 310


def test_records_of_a_server_say_who_and_what(caplog: pytest.LogCaptureFixture) -> None:
    server = hisock.HiSockServer(None, error_handler=lambda exc: None)

    @server.on("boom")
    def boom(client: hisock.ClientInfo) -> None:
        raise ValueError("no")

    with caplog.at_level(logging.DEBUG, "hisock"), BlockingTestServer(server) as t:
        ada = t.connect("Ada")
        with pytest.raises(RemoteError):
            ada.call("boom")
        ada.close()
    found = {record.__dict__["event"]: record.__dict__ for record in caplog.records}
    assert found["joined"]["client_name"] == "Ada"
    failed = found["handler_failed"]
    assert (failed["command"], failed["reason"], failed["client"]) == ("boom", "no", "memory:1")
    assert (found["connection_ended"]["kind"], found["connection_ended"]["withheld"]) == ("left", 0)
