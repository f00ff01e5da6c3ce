"""``hisock info`` and the command as a whole, with and without its extra."""

from __future__ import annotations

import inspect
import shutil
import sys
import sysconfig
from importlib import import_module
from pathlib import Path

import pytest
import typer
from support.process import Program, environment

import hisock
from hisock._cli.main import COMMANDS
from hisock.framing import IMPLEMENTATION

from .running import run_here

pytestmark = pytest.mark.timeout(60)

WITHOUT = "import sys; sys.modules['typer'] = None; "
CALL = "from hisock._cli.main import main; sys.exit(main(sys.argv[1:]))"


def facts(lines: list[str]) -> dict[str, str]:
    return {line[:11].strip(): line[12:] for line in lines}


def test_info_names_version_core_loop_and_python() -> None:
    with Program([sys.executable, "-m", "hisock", "info"]) as program:
        found = facts(program.finish(30))
    assert found["hisock"] == hisock.__version__
    assert found["framing"] == IMPLEMENTATION
    assert found["event loop"].split()[0] in ("asyncio", "uvloop", "winloop")
    assert ".".join(map(str, sys.version_info[:3])) in found["Python"]
    assert found["msgspec"][0].isdigit()


def test_info_tells_when_the_python_core_is_asked_for() -> None:
    env = environment(HISOCK_PURE_PYTHON="1")
    with Program([sys.executable, "-m", "hisock", "info"], env) as program:
        assert facts(program.finish(30))["framing"] == "python"


def test_info_is_the_same_without_the_extra() -> None:
    with (
        Program([sys.executable, "-m", "hisock", "info"]) as full,
        Program([sys.executable, "-c", WITHOUT + CALL, "info"]) as bare,
    ):
        assert bare.finish(30) == full.finish(30)


@pytest.mark.parametrize("arguments", [["demo"], ["--help"], []], ids=["demo", "help", "nothing"])
def test_without_the_extra_the_rest_says_what_to_install(arguments: list[str]) -> None:
    with Program([sys.executable, "-c", WITHOUT + CALL, *arguments]) as program:
        assert program.wait(30) == 2
        assert "hisock[cli]" in program.errors


def test_help_lists_every_command() -> None:
    with Program([sys.executable, "-m", "hisock", "--help"]) as program:
        text = "\n".join(program.finish(30))
    for name in COMMANDS:
        assert f"│ {name} " in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    app = typer.Typer()
    import_module(f"hisock._cli.{COMMANDS[name].module}").add_to(app)
    (command,) = app.registered_commands
    assert command.callback is not None
    assert name in (command.name, command.callback.__name__)
    assert command.rich_help_panel == COMMANDS[name].panel
    text = (inspect.getdoc(command.callback) or "").partition("\n\n")[0]
    assert " ".join(text.split()) == COMMANDS[name].text


def loaded(code: str, *arguments: str) -> set[str]:
    """The modules of hisock, and of what takes long to import, that a program has in the end."""
    at_exit = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    with Program([sys.executable, "-c", at_exit + code, *arguments]) as program:
        assert program.wait(30) == 0, program.errors
    names = program.errors.split()
    return {name for name in names if name.partition(".")[0] in ("hisock", *SLOW)}


SLOW = ("asyncio", "msgspec", "prompt_toolkit", "rich", "ssl", "typer", "websockets", "picows")
BARE = {"hisock", "hisock._core", "hisock._core.public", "hisock.constants", "hisock.exceptions"}


def test_importing_hisock_loads_only_what_is_used() -> None:
    assert loaded("import hisock") == BARE
    client = loaded("import hisock; hisock.connect, hisock.HiSockClient")
    assert client >= {*BARE, "hisock.client", "hisock._client.blocking_driver"}
    assert [name for name in client if name.startswith(("hisock._server", "hisock._cluster"))] == []
    server = loaded("import hisock; hisock.HiSockServer(('127.0.0.1', 0)).close()")
    unused = ("hisock._client", "hisock._websocket", "hisock._cluster.node", "hisock.otel")
    assert "hisock._server.hub" in server
    assert [name for name in server if name.startswith(unused)] == []


def test_a_command_loads_only_what_it_uses() -> None:
    info = loaded(CALL, "info")
    assert not info & {"typer", "rich", "msgspec", "hisock.server", "hisock.client"}
    assert {name for name in info if name.startswith("hisock._cli.")} == {
        "hisock._cli.info",
        "hisock._cli.main",
    }
    listing = loaded(CALL, "--help")
    assert {name for name in listing if name.startswith("hisock.")} == {
        *BARE - {"hisock"},
        "hisock._cli",
        "hisock._cli.main",
    }


def test_an_unknown_option_is_a_usage_error() -> None:
    with Program([sys.executable, "-m", "hisock", "demo", "--playres", "3"]) as program:
        assert program.wait(30) == 2


def test_the_installed_command_is_the_module() -> None:
    command = shutil.which("hisock", path=sysconfig.get_path("scripts"))
    if command is None:
        pytest.skip("hisock is not installed into this environment")
    with Program([Path(command), "info"]) as installed:
        assert facts(installed.finish(30))["hisock"] == hisock.__version__


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["publish", "news", "--group", "a", "--room", "b"], "give one of --group, --room"),
        (["publish", "news", "--kick"], "--kick needs --client"),
        (["publish", "news", "plain text", "--cluster", "http://x"], "the URL of a cluster begins"),
        (["serve", "game:server", "--reload", "--workers", "2"], "--reload runs one process"),
    ],
)
def test_words_that_contradict_each_other_are_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.setenv("HISOCK_CLUSTER", "nats://127.0.0.1:1")
    done = run_here(monkeypatch, *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_version_is_an_option_too(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_here(monkeypatch, "--version")
    assert (done.returncode, done.stdout) == (0, f"hisock {hisock.__version__}\n")
