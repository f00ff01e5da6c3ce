"""What a cluster may be told, and what of its URL may be shown."""

from __future__ import annotations

import math
import socket
import sys
import types
from typing import Any

import pytest

import hisock
from hisock._cli.serve import serve
from hisock._cli.usage import UNUSABLE
from hisock._cluster.config import as_cluster, shown_url


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "http://10.0.0.5"}, "the URL of a cluster begins with one of"),
        ({"app": "a b"}, "app is 1 to 64 letters"),
        ({"app": ""}, "app is 1 to 64 letters"),
        ({"key": "short"}, "key is 16 to 64 bytes long, not 5"),
        ({"dead_after": 0}, "dead_after is more than 0 seconds"),
        ({"grace": math.inf}, "grace is more than 0 seconds"),
        ({"linger": 2}, "linger is 0 to 1 seconds"),
        ({"max_waiting": 1000}, "max_waiting is 1 MiB or more"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        hisock.Cluster(**{"url": "nats://10.0.0.5", **options})


def test_windows_is_told_what_to_do_instead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    with pytest.raises(NotImplementedError, match="join them by a broker"):
        hisock.HiSockServer(("127.0.0.1", 0), workers=2)
    local = r"local:C:\game"
    with pytest.raises(hisock.NotSupported, match="take a broker"):
        hisock.HiSockServer(None, cluster=local)
    module = types.ModuleType("game_here")
    monkeypatch.setitem(sys.modules, "game_here", module)
    for options, said in (({"workers": 2}, "join them by"), ({"cluster": local}, "take a broker")):
        monkeypatch.setattr(module, "server", hisock.HiSockServer(None), raising=False)
        assert serve("game_here:server", "127.0.0.1:0", **options) == UNUSABLE
        assert said in capsys.readouterr().err


def test_something_else_is_no_cluster() -> None:
    assert as_cluster("nats://10.0.0.5").url == "nats://10.0.0.5"
    with pytest.raises(TypeError, match="cluster is a URL or a Cluster, not 5"):
        as_cluster(5)  # type: ignore[arg-type] # as a program may


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://me:secret@10.0.0.5:4222?token=x", "nats://10.0.0.5:4222"),
        ("nats://me:secret@a,tls://me:secret@b", "nats://a,tls://b"),
        ("redis:me:secret@a?x=secret", "redis:a"),
        ("redis://me:secret@[::1", "redis://..."),
        ("secret", "..."),
    ],
)
def test_a_url_is_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "secret" not in shown
