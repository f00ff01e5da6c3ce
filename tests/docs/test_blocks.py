"""Every block of Python in the pages is run, page by page and in order.

Handlers are registered with real servers and clients, options are checked, and what is called has
to be there with these arguments. What a page takes for granted (``world``, ``database``) is a
stand-in. Nothing connects: whole programs, which talk to each other, are run by other tests.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import inspect
import re
import signal
import socket
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, create_autospec

import pytest

import hisock
import hisock.metrics

ROOT = Path(__file__).parents[2]
#: Pages with programs that tests run as they are, each block that names its file.
PROGRAMS: tuple[str, ...] = ("tutorials/", "guide/testing.md", "howto/lets_encrypt", "howto/tk")
PROGRAMS += ("howto/django", "howto/debugging")
PAGES = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if "```python" in page.read_text("utf-8") and "_build" not in page.parts
]
#: Of servers, what is really called; everything else is only called with the right arguments.
REAL = """authenticate authorize_change close every include middleware on stats addr addrs
    error_handler"""


Names = dict[str, Any]


def blocks(page: Path) -> list[str]:
    text = page.read_text("utf-8")
    found = re.findall(r"^( *)```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Take what the function takes, and do nothing."""
    signature = inspect.signature(function)

    def call(*args: Any, **options: Any) -> Any:
        signature.bind(*args, **options)
        return MagicMock()

    return call


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Names]:
    """Where the blocks of a page run: a folder with certificates, and a server and a client."""
    trustme = pytest.importorskip("trustme")
    pytest.importorskip("picows")
    issued = trustme.CA().issue_cert("play.example.org")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    for name in ("cert.pem", "key.pem", "ca.pem", "players.pem"):
        (tmp_path / name).write_bytes((tmp_path / "both.pem").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(asyncio, "run", lambda main: main.close())
    monkeypatch.setattr(signal, "signal", MagicMock())
    monkeypatch.setattr(hisock.metrics, "serve_metrics", checked_context)
    with contextlib.ExitStack() as ends:
        real = ends.enter_context(hisock.ThreadedHiSockServer(("127.0.0.1", 0)))
        real.start()
        one = ends.enter_context(hisock.connect(real.addr, reconnect=True))
        replace_servers(monkeypatch, ends)
        module = types.ModuleType("page")
        monkeypatch.setitem(sys.modules, "page", module)
        names = vars(module)
        names.update(hisock=hisock, asyncio=asyncio, running=False)
        replace_clients(monkeypatch, one)
        names["server"], names["client"] = hisock.HiSockServer(None), hisock.connect(("", 1))
        names["addr"] = ("127.0.0.1", 5000)
        monkeypatch.setattr(socket, "socket", MagicMock())
        yield names


@contextlib.contextmanager
def checked_context(
    server: object, port: int = 9464, addr: str = "127.0.0.1", registry: object = None
) -> Iterator[int]:
    yield port


def replace_servers(monkeypatch: pytest.MonkeyPatch, ends: contextlib.ExitStack) -> None:
    """Servers are made with all of their options, and listen nowhere."""
    for made in ("HiSockServer", "ThreadedHiSockServer"):
        original = getattr(hisock, made)

        class Server(original):  # type: ignore[misc, valid-type]
            def __init__(self, addr: Any, *args: Any, **options: Any) -> None:
                super().__init__(None, *args, **options)
                ends.callback(self.close)

        for name in dir(original):
            member = inspect.getattr_static(original, name)
            if name[0] == "_" or name in REAL.split() or not callable(member):
                continue
            with contextlib.suppress(ValueError):
                setattr(Server, name, checked(member))
        monkeypatch.setattr(hisock, made, Server)
        starter = "start_server" if made == "HiSockServer" else "start_threaded_server"
        monkeypatch.setattr(hisock, starter, Server)


def replace_clients(monkeypatch: pytest.MonkeyPatch, one: hisock.HiSockClient) -> None:
    """Clients are made with arguments that are right, and register handlers with a real one."""

    def making(kind: type, name: str) -> Callable[..., Any]:
        signature = inspect.signature(getattr(hisock, name))

        def make(*args: Any, **options: Any) -> Any:
            signature.bind(*args, **options)
            client = create_autospec(kind, instance=True)
            client.__enter__.return_value = client
            if hasattr(kind, "on"):
                client.on = one.on
            return client

        return make

    for name, kind in (
        ("connect", hisock.HiSockClient),
        ("HiSockClient", hisock.HiSockClient),
        ("threaded_connect", hisock.ThreadedHiSockClient),
        ("Publisher", hisock.Publisher),
    ):
        monkeypatch.setattr(hisock, name, making(kind, name))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT / "docs").as_posix())
def test_the_blocks_of_a_page_run(page: Path, stage: Names) -> None:
    programs = page.relative_to(ROOT / "docs").as_posix().startswith(PROGRAMS)
    for block in blocks(page):
        name = re.match(r"# ([\w/]+\.py)\n", block)
        if name and "/" not in name[1]:
            Path(name[1]).write_text(block, "utf-8")
        if name and programs:
            continue
        code = compile(block, f"{page.name}: {block.splitlines()[0]}", "exec")
        for free in names_in(block) - stage.keys() - vars(builtins).keys():
            stage[free] = stand_in(free)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # a handler replaces that of a block before
            exec(code, stage)


def stand_in(name: str) -> Any:
    return type(name, (), {}) if name.istitle() else MagicMock(name=name)


def names_in(block: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Name)}
