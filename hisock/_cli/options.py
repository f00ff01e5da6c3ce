"""Options that several commands have."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated

import typer

from hisock._runtime.tls import client_context
from hisock.framing import MAX_HEADER_LEN

NameOption = Annotated[str | None, typer.Option(help="The client's name.")]
GroupOption = Annotated[str | None, typer.Option(help="The client's group.")]
TokenOption = Annotated[
    str | None, typer.Option(envvar="HISOCK_TOKEN", help="The token for `authenticate`.")
]
TLSOption = Annotated[bool, typer.Option("--tls", help="Speak TLS with the server.")]
AuthoritiesOption = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="A file of authorities to trust, for TLS."),
]
HeaderLenOption = Annotated[
    int, typer.Option(min=1, max=MAX_HEADER_LEN, help="Digits of a frame's length.")
]
JSONOption = Annotated[bool, typer.Option("--json", help="For scripts: JSON, an object a line.")]


def tls_of(tls: bool, authorities: Path | None) -> ssl.SSLContext | None:
    """The context for what was asked for; a file of authorities asks for TLS as well.

    :raises OSError: the file cannot be read.
    """
    return client_context(authorities or tls)
