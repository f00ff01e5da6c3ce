"""``hisock.otel``: spans and metrics as the real SDK gets them, and traces over the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from support.wire import Frame

import hisock
from hisock._core import tracing
from hisock._core.call_frames import Call, build_call, parse_call
from hisock.exceptions import RemoteError
from hisock.otel import instrument
from hisock.testing import TestServer

from .wire import modern_peer

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exported() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider, exporter
    tracing.source = None  # as in a program that traces nothing


def is_call(frame: Frame) -> bool:
    return frame.reserved == "CALL"


def named(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return found


def test_a_handler_of_each_kind_is_a_span_and_calls_join_them(
    exported: tuple[TracerProvider, InMemorySpanExporter],
) -> None:
    provider, exporter = exported

    async def main() -> None:
        server = hisock.HiSockServer(("127.0.0.1", 0))
        instrument(server, tracer_provider=provider)

        @server.on("plain")
        def plain(client: hisock.ClientInfo, text: str) -> str:
            return text

        @server.on("threaded", threaded=True)
        def threaded(client: hisock.ClientInfo) -> int:
            return 1

        @server.on("asking")
        async def asking(client: hisock.ClientInfo) -> Any:
            return await server.call(client, "answer")

        @server.on("note")
        async def note(client: hisock.ClientInfo) -> None:
            pass

        async with server, await hisock.async_connect(server.addr, name="Ada") as ada:
            instrument(ada, tracer_provider=provider)

            @ada.on("answer")
            async def answer() -> int:
                return 5

            tracer = provider.get_tracer("program")
            with tracer.start_as_current_span("outer"):
                assert await ada.call("plain", "hi", str) == "hi"
                assert await ada.call("threaded", type=int) == 1
                assert await ada.call("asking", type=int) == 5
                ada.send("note")
            assert await ada.call("plain", "again", str) == "again"  # no span is active

    asyncio.run(asyncio.wait_for(main(), 50))
    spans = exporter.get_finished_spans()
    outer = named(exporter, "outer")
    first, again = [span for span in spans if span.name == "plain"]
    for child, parent in [
        (first, outer),
        (named(exporter, "threaded"), outer),
        (named(exporter, "asking"), outer),
        (named(exporter, "answer"), named(exporter, "asking")),
    ]:
        assert child.parent is not None
        assert parent.context is not None
        assert child.parent.span_id == parent.context.span_id
        assert child.parent.trace_id == parent.context.trace_id
    assert again.parent is None
    assert named(exporter, "note").parent is None, "a command is no call and carries nothing"
    assert first.kind is SpanKind.SERVER
    assert first.attributes is not None
    assert first.attributes["hisock.command"] == "plain"
    assert first.attributes["hisock.message.size"] == 2
    assert first.attributes["hisock.client.name"] == "Ada"
    assert first.attributes["client.address"] == "127.0.0.1"


def test_errors_are_recorded_and_durations_and_figures_measured(
    exported: tuple[TracerProvider, InMemorySpanExporter],
) -> None:
    provider, exporter = exported
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])

    async def main() -> None:
        server = hisock.HiSockServer(None, error_handler=lambda exc: None)
        instrument(server, tracer_provider=provider, meter_provider=meters)

        @server.on("boom")
        def boom(client: hisock.ClientInfo) -> None:
            raise ValueError("no")

        @server.on("refuse")
        def refuse(client: hisock.ClientInfo) -> None:
            raise RemoteError("sold out")

        async with TestServer(server) as t:
            ada = await t.connect("Ada")
            for command in ("boom", "refuse"):
                with pytest.raises(RemoteError):
                    await ada.call(command)
            collected = reader.get_metrics_data()
            assert collected is not None
            data = json.loads(collected.to_json())
        found = {
            metric["name"]: metric["data"]["data_points"]
            for metric in data["resource_metrics"][0]["scope_metrics"][0]["metrics"]
        }
        assert found["hisock.clients"][0]["value"] == 1
        assert found["hisock.handler_errors"][0]["value"] == 1
        points = found["hisock.handler.duration"]
        assert [(point["count"], point["attributes"]) for point in points] == [
            (1, {"hisock.command": "boom", "error.type": "ValueError"}),
            (1, {"hisock.command": "refuse"}),
        ]

    asyncio.run(asyncio.wait_for(main(), 50))
    span = named(exporter, "boom")
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "ValueError: no"
    assert span.events[0].name == "exception"
    assert named(exporter, "refuse").status.status_code is StatusCode.UNSET


def test_blocking_clients_send_and_take_traces_too(
    exported: tuple[TracerProvider, InMemorySpanExporter],
) -> None:
    provider, exporter = exported
    with hisock.ThreadedHiSockServer(("127.0.0.1", 0)) as server:
        instrument(server, tracer_provider=provider)

        @server.on("ask", threaded=True)
        def ask(client: hisock.ClientInfo) -> int:
            return server.call_blocking(client, "answer", type=int)

        server.start()
        with hisock.ThreadedHiSockClient(server.addr, name="Ada") as ada:
            instrument(ada, tracer_provider=provider)
            ada.on("answer")(lambda: 5)
            ada.start()
            with provider.get_tracer("program").start_as_current_span("outer"):
                assert ada.call("ask", type=int) == 5
    ids = {span.name: span for span in exporter.get_finished_spans()}
    for child, parent in [("ask", "outer"), ("answer", "ask")]:
        found, above = ids[child].parent, ids[parent].context
        assert found is not None
        assert above is not None
        assert found.span_id == above.span_id


def test_a_cancelled_handler_ends_its_span(
    exported: tuple[TracerProvider, InMemorySpanExporter],
) -> None:
    provider, exporter = exported

    async def main() -> None:
        server = hisock.HiSockServer(None)
        instrument(server, tracer_provider=provider)
        begun = asyncio.Event()

        @server.on("slow")
        async def slow(client: hisock.ClientInfo) -> None:
            begun.set()
            await asyncio.Event().wait()

        async with TestServer(server) as t:
            ada = await t.connect("Ada")
            ada.send("slow")
            await asyncio.wait_for(begun.wait(), 20)

    asyncio.run(asyncio.wait_for(main(), 50))
    assert named(exporter, "slow").end_time is not None


def test_a_trace_goes_to_peers_that_know_it_alone() -> None:
    seen: list[str | None] = []

    async def main() -> None:
        tracing.source = lambda: TRACE
        async with hisock.HiSockServer(("127.0.0.1", 0)) as server:

            @server.on("ask")
            def ask(client: hisock.ClientInfo) -> None:
                seen.append(tracing.incoming.get())

            async def call(features: list[str]) -> bytes:
                peer = await asyncio.to_thread(modern_peer, server.addr, "Old", features=features)
                with peer:
                    calling = asyncio.ensure_future(
                        server.call(next(iter(server.clients)), "price")
                    )
                    frame = await asyncio.to_thread(peer.wait_for, is_call)
                    calling.cancel()
                    return frame.payload

            assert TRACE.encode() not in await call(["call"])
            assert TRACE.encode() in await call(["call", "trace"])
            async with await hisock.async_connect(server.addr) as client:
                await client.call("ask")
                tracing.source = None
                await client.call("ask")

    try:
        asyncio.run(asyncio.wait_for(main(), 50))
    finally:
        tracing.source = None
    assert seen == [TRACE, None]


@pytest.mark.parametrize(
    ("data", "trace"),
    [
        (b"1$TRC$" + TRACE.encode() + b"$CMD$a$MSG$b", TRACE),
        (b"1$TRC$" + b"x" * 55 + b"$CMD$a$MSG$b", None),
        (b"1$CMD$a$MSG$b", None),
    ],
)
def test_a_trace_is_taken_out_of_a_call(data: bytes, trace: str | None) -> None:
    assert parse_call(data) == Call(1, "a", b"b", trace)


def test_what_looks_like_a_trace_in_a_message_stays_there() -> None:
    call = Call(1, "a", b"$TRC$" + b"-" * 60 + b"$CMD$b")
    frame = build_call(call, 16)
    assert parse_call(frame[16 + len("$CALL$") :]) == call
    with pytest.raises(hisock.exceptions.ProtocolError):
        parse_call(b"1$TRC$too short$CMD$a")
