"""What a link had taken and could not pass on when it was cut is counted where it was sent."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.memory import on_virtual_loop
from support.polling import until

from cluster.servers import game, join, link
from cluster.test_real_links import BROKERS, Mesh, a_broker, run

pytestmark = pytest.mark.timeout(60)

NODE = """
import asyncio, sys
from hisock._cluster.link import NodeHello
from hisock._cluster.links import make_link

class Deaf:
    def __getattr__(self, what):
        return lambda *args: None

async def main(url, app, node):
    hello = NodeHello(node=node, app=app, header_len=16, codec="json")
    await make_link(url).start(hello, Deaf())
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("broadcasts", [True, False])
def test_what_a_link_holds_when_it_goes_down_is_counted_as_lost(broadcasts: bool) -> None:
    async def main() -> None:
        async with game(3, broadcasts) as made:
            one = made.servers[0]
            for number, server in enumerate(made.servers):
                await join(server, f"p{number}", group="all")

            def lost() -> int:
                stats = one.stats().cluster
                assert stats is not None
                return stats.lost

            assert lost() == 0
            for lane in [None, *made.network.links]:
                link(one).stall(lane)
            for _ in range(30):
                one.send_group("all", "n", 1)
                await asyncio.sleep(0.003)
            link(one).take_down()
            await asyncio.sleep(0.01)
            assert 60 <= lost() <= 62, "a heartbeat to each may be among them"

    on_virtual_loop(main())


def confirmed(link: Any) -> bool:
    """Whether the broker is known to have everything."""
    return bool(link._arrived == link._taken)


@pytest.mark.parametrize("kind", BROKERS)
def test_what_a_killed_broker_had_not_confirmed_is_counted_and_what_it_had_is_not(
    kind: str, tmp_path: Path
) -> None:
    with a_broker(kind, tmp_path) as broker:

        async def test(mesh: Mesh) -> None:
            sender, ear = mesh.links[0], mesh.ears[0]
            for number in range(10):
                assert sender.send_all(b"%d" % number, 3)
            await until(lambda: len(mesh.ears[1].batches()) == 10)
            await until(lambda: confirmed(sender))
            broker.freeze()
            for number in range(5):
                assert sender.send(mesh.nodes[1], b"%d" % number, 2)
            broker.kill()
            await until(lambda: ear.count("down"))
            assert sender.dropped == 10
            await asyncio.to_thread(broker.start)
            await until(lambda: ear.count("up") == 2)
            assert sender.send_all(b"goes on")
            await until(lambda: confirmed(sender))
            assert sender.dropped == 10

        run(broker.url, 2, test)


@pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")
def test_what_waited_for_a_process_that_is_killed_is_counted() -> None:
    folder = Path("/tmp", f"hisock-test-{secrets.token_hex(4)}")
    url, size, count = f"local:{folder}", 100_000, 40

    async def test(mesh: Mesh) -> None:
        sender, ear, node = mesh.links[0], mesh.ears[0], secrets.token_hex(8)
        command = [sys.executable, "-c", NODE, url, mesh.app, node]
        with subprocess.Popen(command) as process:  # noqa: ASYNC220 - it starts at once
            try:
                await until(lambda: ear.count("appeared", node))
                assert sender.send(node, b"read", 100)
                await asyncio.sleep(0)  # some loops write at the end of an iteration
                os.kill(process.pid, signal.SIGSTOP)
                os.waitpid(process.pid, os.WUNTRACED)  # noqa: ASYNC222 - nor may anything run here
                for _ in range(count):
                    assert sender.send(node, bytes(size), 1)
                    await asyncio.sleep(0)
                held = sender.backlog(node) // size
                assert held > count // 2, "the kernel holds no more than some of them"
            finally:
                process.kill()
            await until(lambda: ear.count("gone", node))
        assert held <= sender.dropped <= held + 2

    try:
        run(url, 1, test)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
