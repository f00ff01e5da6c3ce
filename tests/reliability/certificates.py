"""Certificates that last as long as a test run."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Authority:
    """An authority of our own, and what it has signed.

    :ivar ca: the file of the authority's certificate.
    :ivar server: the file of a certificate for ``localhost`` and ``127.0.0.1``, key included.
    :ivar player: that of a client.
    """

    ca: Path
    server: Path
    other_host: Path
    expired: Path
    player: Path

    @classmethod
    def make(cls, folder: Path) -> Authority:
        authority = trustme.CA()
        names = ("ca", "server", "other", "expired", "player")
        made = cls(*(folder / f"{name}.pem" for name in names))
        authority.cert_pem.write_to_path(str(made.ca))
        yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
        for path, leaf in (
            (made.server, authority.issue_cert("localhost", "127.0.0.1")),
            (made.other_host, authority.issue_cert("elsewhere.example")),
            (made.expired, authority.issue_cert("localhost", "127.0.0.1", not_after=yesterday)),
            (made.player, authority.issue_cert("ada@players.example")),
        ):
            leaf.private_key_and_cert_chain_pem.write_to_path(str(path))
        return made

    def context(self) -> ssl.SSLContext:
        """What a client that trusts this authority uses."""
        return ssl.create_default_context(cafile=str(self.ca))
