"""Spans by OpenTelemetry, sent over OTLP/HTTP: needs the extra ``ngpu[otel]``, and is imported only where it is wanted.

The standard variables of the environment hold: ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``,
``OTEL_TRACES_SAMPLER``, ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_BSP_*`` and so on.
"""

from __future__ import annotations

import os
from threading import Thread
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from twisted.internet.defer import Deferred

from ngpu import __version__
from ngpu.model import UpstreamRequest
from ngpu.tracing import Fields, trace_of

CLOSE_WITHIN = 2.0
"""Seconds that the collector has to take what is left when the gateway stops."""

_CONTEXT = TraceContextTextMapPropagator()


class _Span:
    """See `ngpu.tracing.Span`."""

    def __init__(self, span: OtelSpan, clock: Any) -> None:
        carrier: dict[str, str] = {}
        _CONTEXT.inject(carrier, set_span_in_context(span))
        self.fields: Fields = tuple((name.encode(), value.encode()) for name, value in carrier.items())
        self.trace_id = format_trace_id(span.get_span_context().trace_id)
        self._span = span
        self._clock = clock

    def end(self, error: str = "", **attributes: str | int) -> None:
        """See `ngpu.tracing.Span`."""
        self._span.set_attributes(_dotted(attributes))
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end(_nanoseconds(self._clock.seconds()))


class Tracing:
    """See `ngpu.tracing.ITracing`. Spans wait in a bounded queue for a thread that sends them; the rest is lost.

    :param endpoint: the collector's URL, to which ``/v1/traces`` is added.
    :param instance: what to call this process.
    """

    def __init__(self, endpoint: str, instance: str, reactor: Any) -> None:
        named = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: "ngpu"}
        resource = Resource.create({**named, SERVICE_VERSION: __version__, SERVICE_INSTANCE_ID: instance})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("ngpu", __version__)
        self._reactor = reactor

    def begin(self, name: str, trace: Fields, start: float, server: bool = False, **attributes: str | int) -> _Span:
        """See `ngpu.tracing.ITracing`."""
        kind = SpanKind.SERVER if server else SpanKind.CLIENT
        return _Span(self._start(name, trace, start, kind, attributes), self._reactor)

    def over(self, name: str, request: UpstreamRequest, start: float, end: float, **attributes: str | int) -> None:
        """See `ngpu.tracing.ITracing`."""
        span = self._start(name, trace_of(request), start, SpanKind.INTERNAL, attributes)
        span.end(_nanoseconds(max(start, end)))

    def _start(self, name: str, trace: Fields, start: float, kind: SpanKind, attributes: dict[str, Any]) -> OtelSpan:
        carrier = {key.decode(): value.decode("latin-1") for key, value in trace}
        context = _CONTEXT.extract(carrier)
        return self._tracer.start_span(name, context, kind, _dotted(attributes), start_time=_nanoseconds(start))

    async def close(self) -> None:
        """See `ngpu.tracing.ITracing`."""
        over: Deferred[None] = Deferred()

        def shut_down() -> None:
            self._provider.shutdown()
            self._reactor.callFromThread(over.callback, None)

        # not one of the reactor's threads, for which a process waits before it ends
        Thread(target=shut_down, name="last spans", daemon=True).start()
        await over.addTimeout(CLOSE_WITHIN, self._reactor, lambda result, _: None)


def _dotted(attributes: dict[str, Any]) -> dict[str, Any]:
    """Names as OpenTelemetry has them: with dots."""
    return {name.replace("__", "."): value for name, value in attributes.items()}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
