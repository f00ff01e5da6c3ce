"""Traces and metrics by OpenTelemetry: ``pip install 'hisock[otel]'``.

.. code-block:: python

    from hisock.otel import instrument

    instrument(server)

A span is recorded for every handler that runs, and a duration. A call that is sent while a span is
active carries that span's context (W3C ``traceparent``) to a peer that knows what to do with it,
which is one of this version. There the handler's span is a child of it. Calls to others, and
commands that are no calls, carry nothing.

It costs time for each handler; without :func:`instrument` nothing of it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.context import Context as OTelContext
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hisock._client.face import ClientFace
from hisock._core import tracing
from hisock._core.faults import is_answer
from hisock._core.middleware import Context
from hisock._runtime.sockets import address_text
from hisock._server.figures import COUNTERS, GAUGES
from hisock._server.stats import ServerStats
from hisock.constants import __version__
from hisock.server import HiSockServer

__all__ = ["instrument"]

_PROPAGATOR = TraceContextTextMapPropagator()


def instrument(
    target: HiSockServer[Any] | ClientFace,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Record spans and metrics of a server, or of a client.

    Spans are named after the command or event, with the attributes ``hisock.command``,
    ``hisock.message.size`` in bytes and, on a server, ``client.address``, ``client.port`` and
    ``hisock.client.name``. An exception of the handler is recorded, and the status is an error;
    a ``RemoteError`` that it raises is its answer.

    Metrics: ``hisock.handler.duration``, a histogram in seconds by ``hisock.command`` and
    ``error.type``; of a server also those of :mod:`hisock.metrics`, as ``hisock.clients`` or
    ``hisock.received_messages``, with the attribute ``server``.

    :param target: a server or a client, before it starts or while it runs. Middleware that was
        registered before runs around the span, the rest inside of it.
    :param tracer_provider: where spans go; the global one by default.
    :param meter_provider: where metrics go; the global one by default.
    """
    tracer = trace.get_tracer("hisock", __version__, tracer_provider)
    meter = metrics.get_meter("hisock", __version__, meter_provider)
    duration = meter.create_histogram(
        "hisock.handler.duration", "s", "How long handlers took, what they awaited included."
    )

    def traced(context: Context) -> Generator[None, Any, None]:
        begun = time.perf_counter()
        labels: dict[str, str] = {"hisock.command": context.command}
        # The exception is recorded by hand: what middleware turns into a reply is no error here.
        with tracer.start_as_current_span(
            context.command,
            _parent(),
            SpanKind.SERVER,
            _attributes(context),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Exception as exc:
                if not is_answer(exc):
                    labels["error.type"] = type(exc).__qualname__
                    _fail(span, exc)
                raise
            finally:
                duration.record(time.perf_counter() - begun, labels)

    target.middleware(traced)
    tracing.source = _current_trace
    if isinstance(target, HiSockServer):
        _observe(meter, target)


def _current_trace() -> str | None:
    """The context of the active span, if there is one that is valid."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def _parent() -> OTelContext | None:
    """The context of a handler's span: that of the caller, or else the one that is active."""
    carried = tracing.incoming.get()
    return None if carried is None else _PROPAGATOR.extract({"traceparent": carried})


def _attributes(context: Context) -> Mapping[str, str | int]:
    found: dict[str, str | int] = {
        "hisock.command": context.command,
        "hisock.message.size": len(context.message or b""),
    }
    if context.client is not None:
        host, port = context.client.addr[:2]
        found.update({"client.address": str(host), "client.port": port})
        if context.client.name is not None:
            found["hisock.client.name"] = context.client.name
    return found


def _fail(span: Span, exc: Exception) -> None:
    span.record_exception(exc)
    span.set_status(Status(StatusCode.ERROR, f"{type(exc).__qualname__}: {exc}"))


def _observe(meter: Meter, server: HiSockServer[Any]) -> None:
    """Have the figures of a server read whenever metrics are collected."""

    def observing(
        figure: Callable[[ServerStats], int | float],
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            where = "" if server.addr is None else address_text(server.addr)
            return [Observation(figure(server.stats()), {"server": where})]

        return observe

    for name, (text, figure) in GAUGES.items():
        meter.create_observable_gauge(f"hisock.{name}", [observing(figure)], description=text)
    for name, (text, figure) in COUNTERS.items():
        meter.create_observable_counter(f"hisock.{name}", [observing(figure)], description=text)
