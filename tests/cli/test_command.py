"""``hisock info`` and the command as a whole, with and without its extra."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
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
    for module in COMMANDS:
        assert f"│ {module.partition('.')[0]} " in text


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
