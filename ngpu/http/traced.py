"""The span of a request that came in."""

from __future__ import annotations

from ngpu.http.access_log import annotate
from ngpu.http.server import NgpuRequest
from ngpu.tracing import Fields, ITracing, trace_fields


def begin_span(tracing: ITracing, request: NgpuRequest, name: str) -> Fields:
    """Begin it; it ends with the request. The fields that carry it on, and its trace's id goes into the access log."""
    method = request.method.decode("latin-1")
    span = tracing.begin(
        name, trace_fields(request.head.named), request.started, server=True, http__request__method=method
    )
    annotate(request, trace_id=span.trace_id)

    def over(result: object) -> None:
        gone = result is not None
        status = 499 if gone else request.code
        notes = {f"ngpu__{key}": request.notes[key] for key in ("workspace", "task_id", "node") if key in request.notes}
        error = "the client has gone" if gone else f"HTTP {status}" if status >= 500 else ""
        span.end(error, http__response__status_code=status, **notes)

    request.notifyFinish().addBoth(over)
    return span.fields
