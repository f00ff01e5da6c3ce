"""Brokers with users, permissions and TLS; and that what is secret stays so."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from support.brokers import ROOT, Broker
from support.passing import Way
from support.polling import until

from cluster.test_real_links import Ear
from hisock._cluster.brokers import PUBLISHER_ID
from hisock._cluster.link import LinkDown, NodeHello
from hisock._cluster.links import make_link
from hisock.cluster import Cluster

GAME, WEB = "s3cret-game", "s3cret-web"


@pytest.fixture(params=["nats", "nats-newest"])
def shipped(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Broker]:
    """A broker with the configuration that is shipped."""
    monkeypatch.setenv("GAME_PASSWORD", GAME)
    monkeypatch.setenv("WEB_PASSWORD", WEB)
    text = (ROOT / "examples" / "nats.conf").read_text("utf-8")
    assert "no_fast_producer_stall: true\n" in text
    if request.param == "nats":  # as the comment there says
        text = text.replace("no_fast_producer_stall: true\n", "")
    (tmp_path / "nats.conf").write_text(text, "utf-8")
    broker = Broker(request.param, tmp_path, "-c", str(tmp_path / "nats.conf"))
    yield broker
    broker.kill()


def hello(publisher: bool = False) -> NodeHello:
    node = (PUBLISHER_ID if publisher else "") + secrets.token_hex(8)
    return NodeHello(node=node[:16], app="chess", header_len=16, codec="json")


def test_the_shipped_configuration_lets_nodes_talk_and_publishers_speak(shipped: Broker) -> None:
    async def main() -> None:
        addresses = [f"nats://game:{GAME}@127.0.0.1:{shipped.port}"] * 2
        addresses.append(f"nats://web:{WEB}@127.0.0.1:{shipped.port}")
        links = [make_link(address) for address in addresses]
        ears = [Ear() for _ in links]
        hellos = [hello(), hello(), hello(publisher=True)]
        for link, ear, said in zip(links, ears, hellos, strict=True):
            await link.start(said, ear)
            await until(lambda ear=ear: ear.count("up"))  # type: ignore[misc] # mypy and defaults
        a, b, web = links
        assert await a.claims.claim("Ada", "a") == "a"
        assert await b.claims.claim("Ada", "b") == "a"
        await a.claims.release("Ada", "a")
        assert web.send_all(b"news")
        await until(lambda: ears[0].batches() and ears[1].batches())
        # Only what servers answer to it reaches it, and only what all hear is sent by it.
        assert a.send_all(b"between servers")
        assert web.send(hellos[0].node, b"not allowed")
        assert b.send(hellos[2].node, b"an answer")
        await until(lambda: ears[2].batches())
        assert web.send_all(b"more news")
        await until(lambda: len(ears[0].batches()) == 2)
        assert ears[0].batches() == [b"news", b"more news"]
        assert ears[2].batches() == [b"an answer"]
        for link in links:
            await link.close()

    asyncio.run(main())


def certificates(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 with its key in one file, and that of its authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "cert.pem")
    return str(folder / "cert.pem"), str(folder / "ca.pem")


def server_context(certificate: str) -> ssl.SSLContext:
    """For a server with a certificate and its key in one file."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("kind", ["nats-newest", "redis"])
def test_tls_and_passwords_reach_the_broker_and_nothing_else(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """That of PyPI for Redis has no TLS, so something in front of it has."""
    cert, authority = certificates(tmp_path)
    redis = kind == "redis"
    options = ["--tls", "--tlscert", cert, "--tlskey", cert, "--user", "game", "--pass", GAME]
    broker = Broker(kind, tmp_path, *(("--requirepass", GAME) if redis else options))
    scheme, user = ("rediss", "") if redis else ("tls", "game")
    urls: list[str] = []

    async def main() -> None:
        if not redis:
            await tried(broker.port)
            return
        async with Way(broker.port).open(server_context(cert)) as way:
            await tried(way.port)

    async def tried(port: int) -> None:
        good = f"{scheme}://{user}:{GAME}@127.0.0.1:{port}?ca={authority}"
        bad = f"{scheme}://{user}:wrong-{WEB}@127.0.0.1:{port}?ca={authority}"
        strange = f"{scheme}://{user}:{GAME}@127.0.0.1:{port}"  # its authority is not known
        urls.extend((good, bad))
        links = [make_link(url) for url in (good, bad, strange)]
        ears = [Ear() for _ in links]
        await links[0].start(hello(), ears[0])
        await until(lambda: ears[0].count("up"))
        # Only now: each attempt reads all authorities of the system, on the loop of the good one.
        for link, ear in zip(links[1:], ears[1:], strict=True):
            await link.start(hello(), ear)
        await until(lambda: len([r for r in caplog.records if "cannot be reached" in r.msg]) >= 2)
        assert not ears[1].told
        assert not ears[2].told
        for link in links:
            await link.close()

    caplog.set_level(logging.INFO, "hisock")
    try:
        asyncio.run(main())
    finally:
        broker.kill()
    text = "".join(record.getMessage() for record in caplog.records)
    text += "".join(repr(make_link(url)) + repr(Cluster(url)) for url in urls)
    assert GAME not in text
    assert WEB not in text


@pytest.mark.parametrize(("kind", "less"), [("redis", []), ("valkey", []), ("redis", ["-client"])])
def test_the_documented_users_of_redis_may_do_what_they_need(
    kind: str, less: list[str], tmp_path: Path
) -> None:
    # Without CLIENT, answers cannot be turned off, and are read.
    import redis

    page = (ROOT / "docs" / "howto" / "brokers.md").read_text("utf-8")
    commands = re.findall(r"`ACL SETUSER (.*?)`", page, re.DOTALL)
    assert len(commands) == 2
    broker = Broker(kind, tmp_path)
    try:
        with redis.Redis(port=broker.port) as admin:
            for command in commands:
                admin.execute_command("ACL SETUSER", *command.split(), *less)
        asyncio.run(talk(broker))
    finally:
        broker.kill()


async def talk(broker: Broker) -> None:
    urls = [f"redis://{user}:secret@127.0.0.1:{broker.port}" for user in ("game", "game", "web")]
    links, ears = [make_link(url) for url in urls], [Ear() for _ in urls]
    hellos = [hello(), hello(), hello(publisher=True)]
    for link, ear, said in zip(links, ears, hellos, strict=True):
        await link.start(said, ear)
        await until(lambda ear=ear: ear.count("up"))  # type: ignore[misc] # mypy and defaults
    assert await links[0].claims.claim("Ada", "a") == "a"
    assert await links[1].claims.move("Ada", "a", "b")
    await links[1].claims.release("Ada", "b")
    assert links[2].send_all(b"news")
    assert links[0].send_all(b"between servers")
    await until(lambda: ears[0].batches() == [b"news"])
    assert links[0].send(hellos[2].node, b"an answer")
    await until(lambda: ears[2].batches() == [b"an answer"])
    with pytest.raises(LinkDown):
        await links[2].claims.claim("Ada", "web")
    for link in links:
        await link.close()
