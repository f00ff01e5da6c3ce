"""An outbox keeps the order, announces itself once, and loses nothing between threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from support.wire import frame

from framing.cores import Calls, Core, make_outbox
from hisock.framing import Outbox

LARGE = 32 * 1024
PATIENCE = 20.0  # seconds


@pytest.fixture
def switching() -> Iterator[None]:
    """Makes threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_what_was_sent_is_taken_in_order(core: Core) -> None:
    outbox = make_outbox(core)
    frames = []
    for i in range(500):
        message = None if i % 7 == 0 else bytes([i % 256]) * (i * 3)
        assert outbox.send(f"command{i}", message) is True
        frames.append(core.build_command(f"command{i}", message))
        if i % 3 == 0:
            assert outbox.write(core.build_raw(b"$KEEPALIVE$")) is True
            frames.append(core.build_raw(b"$KEEPALIVE$"))
    assert outbox.size == sum(map(len, frames))
    assert b"".join(outbox.take()) == b"".join(frames)
    assert outbox.size == 0
    assert outbox.take() == []


def test_a_few_frames_are_taken_as_one_piece(core: Core) -> None:
    outbox = make_outbox(core)
    for _ in range(3):  # the first take is a hint to the second
        for i in range(20):
            outbox.send("move", bytes(i))
        (chunk,) = outbox.take()
        assert len(core.Decoder().feed(chunk)) == 20


@pytest.mark.parametrize("length", [100, 20_000, LARGE, 1_000_000])
def test_what_was_kept_by_reference_reserves_nothing_for_what_follows(
    core: Core, traced: Callable[[], tuple[int, int]], length: int
) -> None:
    outboxes = [make_outbox(core) for _ in range(100)]
    large = core.build_raw(bytes(length))
    core.fan_out(outboxes, large)
    assert all(outbox.take() == [large] for outbox in outboxes)
    before, _ = traced()
    for outbox in outboxes:
        outbox.send("hp", b"70")
    after, _ = traced()
    assert after - before < 100 * 1000


def test_nothing_but_a_large_message_is_a_long_piece(core: Core) -> None:
    outbox = make_outbox(core)
    small, large = bytes(20_000), bytes(1_000_000)
    for _ in range(3):
        for _ in range(30):
            outbox.send("small", small)
        outbox.send("large", large)
    frames = core.build_command("small", small) * 30 + core.build_command("large", large)
    pieces = outbox.take()
    assert b"".join(pieces) == frames * 3
    assert [len(piece) for piece in pieces if len(piece) > 98304] == [1_000_000] * 3


@pytest.mark.parametrize("header_len", [2, 16, 20])
@pytest.mark.parametrize("message", [None, b"", b"north"])
def test_a_sent_frame_is_the_frame_that_is_built(
    core: Core, header_len: int, message: bytes | None
) -> None:
    outbox = make_outbox(core, header_len)
    outbox.send("größe", message)
    assert outbox.take() == [core.build_command("größe", message, header_len)]


def test_a_single_written_frame_is_passed_on_without_a_copy(core: Core) -> None:
    outbox = make_outbox(core)
    built = core.build_raw(b"$KEEPALIVE$")
    outbox.write(built)
    taken = outbox.take()
    assert taken == [built]
    outbox.write(built)
    outbox.write(built)
    outbox.send("a")
    assert outbox.take() == [built + built + core.build_command("a")]
    assert built == frame(b"$KEEPALIVE$")


def test_a_subclass_of_bytes_is_written_as_its_bytes(core: Core) -> None:
    class Body(bytes):
        __slots__ = ()

    outbox = make_outbox(core)
    for body in (Body(), Body(b"x"), Body(LARGE)):
        outbox.write(body)
        outbox.send("a", body)
        (chunk,) = outbox.take()
        assert type(chunk) is bytes
        assert chunk == body + core.build_command("a", bytes(body))


def test_a_shared_frame_is_never_written_into(core: Core) -> None:
    built = core.build_command("move", b"north")
    copy = bytes(bytearray(built))
    one, two = make_outbox(core), make_outbox(core)
    assert core.fan_out([one, two], built) == 2
    one.send("more", b"x" * 100)
    assert built == copy
    assert two.take() == [copy]
    assert one.take() == [copy + core.build_command("more", b"x" * 100)]


def test_a_large_message_is_kept_by_reference(core: Core) -> None:
    outbox = make_outbox(core)
    large = bytes(LARGE)
    outbox.send("before", b"small")
    outbox.send("big", large)
    outbox.send("after")
    outbox.write(large)
    outbox.write(b"")
    head = core.build_command("before", b"small") + core.build_command("big", large)[:-LARGE]
    expected = [head, large, core.build_command("after"), large, b""]
    assert outbox.size == sum(map(len, expected))
    taken = outbox.take()
    assert taken == expected
    assert taken[1] is large
    assert taken[3] is large


def test_a_message_just_below_that_is_copied(core: Core) -> None:
    outbox = make_outbox(core)
    small = bytes(LARGE - 1)
    outbox.send("big", small)
    outbox.write(small)
    assert outbox.take() == [core.build_command("big", small) + small]


@pytest.mark.parametrize(
    ("command", "message", "error", "text"),
    [
        ("", b"x", ValueError, "must not be empty"),
        ("$x$", b"x", ValueError, r"holds a \$...\$ pair"),
        ("x$MSG", b"x", ValueError, r"ends with \$MSG"),
        ("\ud800", b"x", ValueError, "not valid Unicode"),
        (b"move", b"x", TypeError, "a command must be str, not bytes"),
        ("move", "x", TypeError, "a message must be bytes or None, not str"),
        ("move", bytearray(b"x"), TypeError, "not bytearray"),
        ("move", bytes(1000), ValueError, "1014 bytes does not fit in a header of 3 digits"),
        ("move", bytes(LARGE), ValueError, "does not fit in a header of 3 digits"),
    ],
)
def test_what_cannot_be_sent_queues_nothing(
    core: Core, command: Any, message: Any, error: type[Exception], text: str
) -> None:
    queue: list[object] = []
    calls = Calls()
    outbox = core.Outbox(queue, "me", calls, 3)
    for closed in (False, True):
        if closed:
            outbox.close()
        with pytest.raises(error, match=text):
            outbox.send(command, message)
        assert (outbox.size, outbox.take(), queue, calls.count) == (0, [], [], 0)


def test_what_is_no_message_is_not_sent_by_a_command_that_was_sent_before(core: Core) -> None:
    outbox = make_outbox(core)
    outbox.send("move", b"x")
    with pytest.raises(TypeError, match="a message must be bytes or None, not bytearray"):
        outbox.send("move", bytearray(b"x"))  # type: ignore[arg-type] # that is the point
    assert outbox.take() == [core.build_command("move", b"x")]


@pytest.mark.parametrize("thing", ["text", bytearray(b"x"), None])
def test_a_frame_must_be_bytes(core: Core, thing: Any) -> None:
    outbox = make_outbox(core)
    with pytest.raises(TypeError, match="a frame must be bytes, not "):
        outbox.write(thing)
    with pytest.raises(TypeError, match="a frame must be bytes, not "):
        core.fan_out([outbox], thing)
    assert outbox.take() == []


def test_the_first_frame_announces_the_owner_and_the_first_owner_schedules(core: Core) -> None:
    queue: list[object] = []
    calls = Calls()
    one, two = core.Outbox(queue, "one", calls), core.Outbox(queue, "two", calls)
    one.send("a")
    assert (queue, calls.count) == (["one"], 1)
    one.send("b")
    two.write(b"c")
    two.write(b"d")
    assert (queue, calls.count) == (["one", "two"], 1)
    assert two.take() == [b"cd"]
    two.send("e")
    assert (queue, calls.count) == (["one", "two", "two"], 1)
    queue.clear()
    one.take()
    two.take()
    two.send("f")
    assert (queue, calls.count) == (["two"], 2)


def test_schedule_finds_the_frame_in_place(core: Core) -> None:
    queue: list[Any] = []
    taken: list[list[bytes]] = []

    def schedule() -> None:
        queue.clear()
        taken.append(outbox.take())

    outbox = core.Outbox(queue, "me", schedule)
    outbox.send("a")
    outbox.write(b"b")
    outbox.send("big", bytes(LARGE))
    head = core.build_command("big", bytes(LARGE))[:-LARGE]
    assert taken == [[core.build_command("a")], [b"b"], [head, bytes(LARGE)]]


def test_an_error_of_schedule_reaches_the_sender_with_the_frame_queued(core: Core) -> None:
    def schedule() -> None:
        raise RuntimeError("the loop is closed")

    outbox = core.Outbox([], None, schedule)
    with pytest.raises(RuntimeError, match="the loop is closed"):
        outbox.send("a")
    assert outbox.take() == [core.build_command("a")]


def test_whoever_passes_the_limit_says_so_each_time(core: Core) -> None:
    said: list[tuple[str, int]] = []
    outbox = core.Outbox([], "me", lambda: None, 16, lambda me: said.append((me, outbox.size)))
    outbox.send("a" * 200)
    assert said == []
    outbox.take()
    outbox.limit = 100
    outbox.write(bytes(100))
    assert said == []
    assert outbox.write(b"x") is True
    assert outbox.send("a") is True
    size = 102 + len(core.build_command("a")) - 1
    assert said == [("me", 101), ("me", size)]
    outbox.refusing = True
    assert outbox.send("a") is False
    assert len(said) == 2
    outbox.refusing = False
    assert b"".join(outbox.take()) == bytes(100) + b"x" + core.build_command("a")
    outbox.send("a")
    assert len(said) == 2


def test_what_is_called_when_the_limit_is_passed_may_take_and_close(core: Core) -> None:
    taken: list[list[bytes]] = []
    outbox = core.Outbox([], "me", lambda: None, 16, lambda me: taken.append(outbox.take()))
    outbox.limit = 0
    outbox.send("a")
    assert core.fan_out([outbox], b"b") == 1
    assert taken == [[core.build_command("a")], [b"b"]]
    closing = core.Outbox([], "me", lambda: None, 16, lambda me: closing.close())
    closing.limit = 0
    assert closing.send("a") is True
    assert closing.send("a") is False
    assert (closing.size, closing.take()) == (0, [])


def test_a_fan_out_says_who_is_over_the_limit_when_all_have_the_frame(core: Core) -> None:
    order: list[object] = []
    boxes: dict[Outbox, int] = {}

    def full(me: object) -> None:
        order.append(me)
        assert all(box.size >= 3 for box in boxes)
        boxes.clear()  # as one does who disconnects them all

    queue: list[object] = []
    for i in range(6):
        box = core.Outbox(queue, i, lambda: order.append("schedule"), 16, full)
        box.limit = 2 if i % 2 else 3
        boxes[box] = i
    assert core.fan_out(boxes, b"xyz") == 6
    assert order == ["schedule", 1, 3, 5]


def test_a_closed_outbox_drops_what_waited_and_takes_nothing(core: Core) -> None:
    queue: list[object] = []
    calls = Calls()
    outbox = core.Outbox(queue, "me", calls)
    outbox.send("a")
    outbox.send("big", bytes(LARGE))
    assert outbox.closed is False
    outbox.close()
    assert outbox.closed is True
    assert outbox.send("b") is False
    assert outbox.send("b", bytes(LARGE)) is False
    assert outbox.write(b"c") is False
    assert core.fan_out([outbox], b"d") == 0
    assert (outbox.size, outbox.take(), calls.count) == (0, [], 1)
    outbox.close()


def test_the_queue_must_be_a_list(core: Core) -> None:
    things: list[Any] = [(), None, {}]
    for queue in things:
        with pytest.raises(TypeError):
            core.Outbox(queue, None, lambda: None)


@pytest.mark.usefixtures("switching")
def test_frames_from_several_threads_all_arrive_each_threads_in_order(core: Core) -> None:
    threads, each = 4, 3000
    queue: list[int] = []
    wake = threading.Event()
    boxes = [core.Outbox(queue, i, wake.set) for i in range(2)]
    start = threading.Barrier(threads)

    def send(thread: int) -> None:
        start.wait(PATIENCE)
        for i in range(each):
            message = b"%d" % i if i % 500 else b"%d" % i + bytes(LARGE)
            boxes[i % 2].send(f"t{thread}", message)

    workers = [threading.Thread(target=send, args=(n,), daemon=True) for n in range(threads)]
    for worker in workers:
        worker.start()

    decoders = [core.Decoder() for _ in boxes]
    seen: dict[tuple[int, str], list[int]] = {}
    count = 0
    while count < threads * each:
        # Only what schedule() announced is looked at: a lost announcement hangs here.
        assert wake.wait(PATIENCE), f"{count} frames came, then nothing was announced"
        wake.clear()
        batch = queue[:]
        del queue[: len(batch)]
        for index in batch:
            for chunk in boxes[index].take():
                for command, message in decoders[index].feed(chunk):
                    assert command is not None
                    assert message is not None
                    seen.setdefault((index, command), []).append(int(message.rstrip(b"\0")))
                    count += 1
    for worker in workers:
        worker.join(PATIENCE)
    assert len(seen) == 2 * threads
    for (index, _), numbers in seen.items():
        assert numbers == list(range(index, each, 2))
    assert [box.take() for box in boxes] == [[], []]


@pytest.mark.usefixtures("switching")
def test_closing_from_another_thread_loses_no_order_and_keeps_nothing(core: Core) -> None:
    for _ in range(30):
        outbox = make_outbox(core)
        accepted: list[bool] = []

        def send(outbox: Outbox = outbox, accepted: list[bool] = accepted) -> None:
            while outbox.send("a", b"x" * 100):
                accepted.append(True)

        worker = threading.Thread(target=send, daemon=True)
        worker.start()
        while not accepted:
            outbox.take()
        outbox.close()
        worker.join(PATIENCE)
        assert not worker.is_alive()
        assert (outbox.size, outbox.take(), outbox.send("b")) == (0, [], False)


def test_sizes_grow_as_frames_do(core: Core) -> None:
    outbox = make_outbox(core)
    sizes = [outbox.size]
    for i in range(2000):
        outbox.send("a", bytes(i % 50))
        sizes.append(outbox.size)
    assert all(b - a == 16 + 11 + i % 50 for i, (a, b) in enumerate(pairwise(sizes)))
    assert len(b"".join(outbox.take())) == sizes[-1]
