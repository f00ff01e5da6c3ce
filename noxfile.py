"""The same checks as the Makefile's, a session a Python: ``nox -s tests-3.12``, ``nox -l``."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "tests"]
nox.options.error_on_missing_interpreters = False

CHECKED = ("hisock", "tests", "bench", "examples", "fuzz", "soak", "release")
#: As in the Makefile.
PARALLEL = ("-n", "5", "--dist", "loadfile", "--no-loadscope-reorder")
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]


def install(session: nox.Session, *groups: str, **env: str) -> None:
    """Install hisock in place, with what a session needs."""
    session.install("--upgrade", "pip>=25.1")
    chosen = [word for group in groups for word in ("--group", group)]
    session.install("--editable", ".[cli,fast]", *chosen, env=env)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The suite on the compiled core; arguments go to pytest."""
    install(session, "test", HISOCK_REQUIRE_EXTENSION="1")
    session.run("python", "-m", "pytest", *PARALLEL, *session.posargs)


@nox.session(python=PYTHONS)
def pure(session: nox.Session) -> None:
    """The suite on the Python core."""
    env = {"HISOCK_PURE_PYTHON": "1"}
    install(session, "test", **env)
    session.run("python", "-m", "pytest", *PARALLEL, "tests", env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Rules, format and types."""
    install(session, "dev")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--config", "format.exclude = ['*.md']", "--check", ".")
    session.run("mypy", "--strict", "--exclude", "/programs/", *CHECKED)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, with warnings as errors."""
    install(session, "docs")
    session.run("python", "-m", "sphinx", "-W", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session
def dist(session: nox.Session) -> None:
    """Build, check and use every distribution; arguments go to ``python -m release``."""
    session.install("--upgrade", "pip>=25.1")
    session.install("--group", "release")
    session.run("python", "-m", "release", *session.posargs)
