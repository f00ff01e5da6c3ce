"""The programs in the README and the quickstart, and the examples, run as they are written.

Only the port is another one, so that tests can run beside whatever uses 5000.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.process import Program, environment, free_port

import hisock

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))

pytestmark = pytest.mark.timeout(60)


def python_blocks(page: Path) -> list[str]:
    text = page.read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def programs(page: Path) -> dict[str, str]:
    """The Python blocks of a page that begin with the name of a file."""
    found = {}
    for block in python_blocks(page):
        name = re.match(r"# (\w+\.py)\n", block)
        if name:
            found[name[1]] = block
    return found


def run(folder: Path, name: str, source: str, port: int) -> Program:
    script = folder / name
    script.write_text(source.replace("5000", str(port)), "utf-8")
    return Program([sys.executable, script], environment(), cwd=folder)


def test_the_programs_of_the_readme_talk_to_each_other(tmp_path: Path) -> None:
    source = programs(ROOT / "README.md")
    port = free_port()
    with run(tmp_path, "server.py", source["server.py"], port) as server:
        server.wait_line("Listening")
        with run(tmp_path, "client.py", source["client.py"], port) as client:
            assert client.finish(30) == ["Ada said: Hello, lobby!"]
        if sys.platform != "win32":  # where a test cannot press Ctrl-C
            server.interrupt()
            server.wait(30)
            assert server.errors.endswith("KeyboardInterrupt")


def test_the_programs_of_the_readme_take_twenty_lines() -> None:
    source = programs(ROOT / "README.md")
    lines = [line for text in source.values() for line in text.splitlines()]
    assert sum(bool(line.strip()) for line in lines) <= 20


def test_the_async_program_of_the_readme_is_answered(tmp_path: Path) -> None:
    blocks = python_blocks(ROOT / "README.md")
    source = next(block for block in blocks if "asyncio.run(" in block)
    with run(tmp_path, "both.py", source, free_port()) as program:
        assert program.finish(30) == ["42"]


def test_the_programs_of_the_quickstart_talk_to_each_other(tmp_path: Path) -> None:
    source = programs(ROOT / "docs" / "tutorials" / "quickstart.md")
    port = free_port()
    with run(tmp_path, "server.py", source["server.py"], port) as server:
        server.wait_line("Listening")
        with run(tmp_path, "client.py", source["client.py"], port) as client:
            assert client.finish(30) == ["Good morning, Ada"]
        server.wait_line("Ada joined from 127.0.0.1:")
        server.wait_line("Ada left")
        with run(tmp_path, "ask.py", source["ask.py"], port) as asking:
            assert asking.finish(30) == ["Hello, Bob"]
    with run(tmp_path, "both.py", source["both.py"], port) as both:
        assert both.finish(30) == ["42"]


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    """A folder with the programs of the tutorial about a chat."""
    for name, text in programs(ROOT / "docs/tutorials/chat.md").items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def test_the_test_of_the_chat_passes(chat: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_chat.py"]
    done = subprocess.run(command, cwd=chat, capture_output=True, text=True, timeout=60)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_chat_of_the_tutorial_takes_those_who_log_in(chat: Path) -> None:
    port = free_port()

    def program(*words: str) -> Program:
        return Program([sys.executable, *words], environment(), cwd=chat)

    with program("chat_server.py", str(port)) as server:
        server.wait_line("Ready")
        with program("chat.py", "Ada", str(port), "guess") as stranger:
            assert stranger.wait(30) == 1
            assert "wrong name or password" in stranger.errors
        with (
            program("chat.py", "Ada", str(port), "lovelace") as ada,
            program("chat.py", "Bob", str(port), "builder") as bob,
        ):
            ada.wait_line("here are")
            bob.wait_line("here are")
            bob.tell("/room kitchen")
            bob.wait_line(r"here are \[\]")
            ada.tell("/room kitchen")
            ada.wait_line(r"here are \['Bob'\]")
            bob.wait_line(r"\* Ada comes in")
            bob.tell("Tea?")
            ada.wait_line("Bob: Tea")
            ada.tell("/quit")
            ada.finish(30)
            bob.wait_line(r"\* Ada goes")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGHUP")
def test_a_renewed_certificate_is_taken_without_a_restart(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def renew() -> bytes:
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(str(tmp_path / "privkey.pem"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / "fullchain.pem"))
        return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())

    def shown() -> bytes | None:
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            return tls.getpeercert(binary_form=True)

    source = programs(ROOT / "docs/howto/lets_encrypt.md")["tls_server.py"]
    port, first = free_port(), renew()
    with run(tmp_path, "tls_server.py", source, port) as server:
        server.wait_line("Ready")
        with hisock.connect(("127.0.0.1", port), ssl=str(tmp_path / "ca.pem")) as client:
            assert shown() == first
            second = renew()
            os.kill(server.pid, signal.SIGHUP)
            server.wait_line("A new certificate")
            assert shown() == second
            assert client.call("hello", None, str) == "over TLS"


def test_a_client_by_hand_is_answered(tmp_path: Path) -> None:
    source = programs(ROOT / "docs/howto/debugging.md")["by_hand.py"]
    (tmp_path / "by_hand.py").write_text(source, "utf-8")
    with hisock.ThreadedHiSockServer(("127.0.0.1", 0)) as server:
        server.start()
        script = tmp_path / "by_hand.py"
        with Program([sys.executable, script, str(server.addr[1])]) as program:
            assert '"name":"probe"' in program.finish(30)[0]


def test_a_window_of_tk_shows_what_has_come() -> None:
    tk = pytest.importorskip("tkinter")
    source = programs(ROOT / "docs/howto/tk.md")["counter.py"]
    count = 0
    with hisock.ThreadedHiSockServer(("127.0.0.1", 0)) as server:

        @server.on("add")
        def add(client: hisock.ClientInfo, number: int) -> None:
            nonlocal count
            count += number
            server.send_all_clients("count", count)

        server.start()
        names: dict[str, Any] = {"__name__": "counter"}
        exec(compile(source, "counter.py", "exec"), names)
        try:
            window = names["Window"](server.addr[1])
        except tk.TclError:
            pytest.skip("needs a screen, as of xvfb-run")
        with window.client:
            window.client.send("add", 2)
            while window.label["text"] != 2:
                window.root.update()
            window.root.destroy()
        # Tcl ends the process when another thread, as the server's, collects its interpreter.
        del window
        names.clear()
        gc.collect()


# What Django and manage.py would make of the pages' files, in one program.
DJANGO = """
import sys, types
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="secret",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "game.sqlite"}},
)
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import RequestFactory

call_command("migrate", verbosity=0)
user = get_user_model().objects.create_user("Ada", "ada@example.org", "secret")
import json, threading, hisock, rungame, views

request = RequestFactory().get("/token")
request.user = user
token = json.loads(views.game_token(request).content)["token"]
server = rungame.make_server()
threading.Thread(target=server.start, args=[("127.0.0.1", 5000)]).start()
while True:
    try:
        client = hisock.connect(("127.0.0.1", 5000), token=token)
        break
    except hisock.ServerNotRunning:
        pass
with client:
    print(client.call("email", None, str), client.name)
try:
    hisock.connect(("127.0.0.1", 5000), token=token + "x")
except hisock.ConnectionRejected as refused:
    print("refused")
server.close()
"""


def test_django_lets_its_users_in(tmp_path: Path) -> None:
    pytest.importorskip("django")
    pytest.importorskip("picows")
    text = (ROOT / "docs/howto/django.md").read_text("utf-8")
    for name, block in re.findall(r"```python\n# (?:[\w/]+/)?(\w+\.py)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(block, "utf-8")
    with run(tmp_path, "program.py", DJANGO, free_port()) as program:
        assert program.finish(30) == ["ada@example.org Ada", "refused"]


# Ends the game after so many frames, as closing its window does.
PLAYED = """
import runpy, sys, pygame
frames = iter(range(40))
quit = [pygame.event.Event(pygame.QUIT)]
pygame.event.get = lambda: [] if next(frames, None) is not None else quit
game = runpy.run_path("game.py", run_name="__main__")
print(sorted(game["world"]["players"]))
"""


def test_the_first_game_shows_both_players(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    source, port = programs(ROOT / "docs/tutorials/first_game.md"), free_port()
    (tmp_path / "game.py").write_text(source["game.py"].replace("5000", str(port)), "utf-8")
    with run(tmp_path, "server.py", source["server.py"], port) as server:
        server.wait_line("Waiting for players")
        with hisock.connect(("127.0.0.1", port), name="Bob") as bob:
            bob.send("steer", [5, 0])
            played = [sys.executable, "-c", PLAYED, "Ada"]
            with Program(played, environment(SDL_VIDEODRIVER="dummy"), cwd=tmp_path) as ada:
                assert ada.finish(30)[-1] == "['Ada', 'Bob']"


SHOWN = re.compile(
    r"^```python\n(# (\w+\.py)\n.*?)^```\n+```text\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


def shown_programs() -> list[tuple[str, str, str, str]]:
    """Programs that are followed by what they print: page, name, source, output."""
    return [
        (page.relative_to(ROOT).as_posix(), name, source, output)
        for page in PAGES
        for source, name, output in SHOWN.findall(page.read_text("utf-8"))
    ]


@pytest.mark.parametrize(
    ("page", "name", "source", "output"),
    [pytest.param(*each, id=f"{each[0]}:{each[1]}") for each in shown_programs()],
)
def test_a_program_prints_what_its_page_says(
    page: str, name: str, source: str, output: str, tmp_path: Path
) -> None:
    with run(tmp_path, name, source, free_port()) as program:
        assert program.finish(30) == output.splitlines(), page


def test_the_design_page_names_every_room() -> None:
    table = re.findall(
        r"^\| (`.*?) \|", (ROOT / "docs/explanation/design.md").read_text("utf-8"), re.MULTILINE
    )
    named = {name for row in table for name in re.findall(r"`(\w+)`", row)}
    rooms = {
        path.stem
        for path in (ROOT / "hisock").iterdir()
        if (path / "__init__.py").exists() or path.suffix == ".py"
    }
    cores = {
        name for name in rooms if name.startswith("_") and (ROOT / f"hisock/{name}.py").exists()
    }
    assert rooms - cores - {"__init__", "__main__", "examples"} - named == set()


every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


@every_page
def test_what_is_shown_as_python_is_python(page: Path) -> None:
    for block in python_blocks(page):
        compile(block, str(page), "exec")


@every_page
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_the_tests_of_the_testing_page_pass(tmp_path: Path) -> None:
    blocks = python_blocks(ROOT / "docs/guide/testing.md")
    (tmp_path / "game.py").write_text(blocks[0], "utf-8")
    (tmp_path / "test_plain.py").write_text(blocks[2], "utf-8")
    awaited = "\nimport asyncio\n\ndef test_it():\n    asyncio.run(test_players_tire())\n"
    (tmp_path / "test_awaited.py").write_text(blocks[1] + awaited, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["test_plain.py", "test_awaited.py::test_it"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
