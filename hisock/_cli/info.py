"""``hisock info``: what runs here."""

from __future__ import annotations

import platform
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from hisock import __version__
from hisock._runtime.accepting import tls_name
from hisock._runtime.loops import loop_name
from hisock.framing import IMPLEMENTATION

if TYPE_CHECKING:
    import typer  # not needed to run this command


def print_info() -> None:
    for name, value in facts().items():
        print(f"{name:<11} {value}")


def facts() -> dict[str, str]:
    """What runs here: versions, framing core, event loop."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):  # pragma: no cover - measured with it
        python += ", free-threaded"
    return {
        "hisock": __version__,
        "framing": IMPLEMENTATION,
        "event loop": _event_loop(),
        "TLS": tls_name(),
        "msgspec": _version_of("msgspec"),
        "Python": python,
        "platform": platform.platform(),
    }


def _event_loop() -> str:
    """The loop that a server takes when it is not told which."""
    name = loop_name()
    return name if name == "asyncio" else f"{name} {_version_of(name)}"


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown version"


def add_to(app: typer.Typer) -> None:
    @app.command(rich_help_panel="This installation")
    def info() -> None:
        """Show the version, framing core, event loop and Python."""
        print_info()
