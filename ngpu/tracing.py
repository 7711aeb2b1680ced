"""Traces: the W3C Trace Context of a request (https://www.w3.org/TR/trace-context/), and the port of spans.

Whoever sends ``traceparent`` finds it at the worker: unchanged, or continued by a span of the gateway's where it makes
spans. It stands among the header fields of a task's request, so that it is kept with a task that waits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime

from ngpu.model import Task, UpstreamRequest
from ngpu.passing import PassedRequest

Fields = tuple[tuple[bytes, bytes], ...]
R = TypeVar("R", bound=UpstreamRequest)

FIELDS = frozenset({b"traceparent", b"tracestate"})
"""Names of the fields that carry a trace, in lower case."""

LONGEST_STATE = 512
"""Bytes of ``tracestate`` that are passed on; more of it is dropped, as §3.3.1.5 allows."""

_PARENT = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]{1,64})?"
)
"""Only versions to come may have more than the four parts."""

_STATE = re.compile(rb"[\x20-\x7e\t]*")


def trace_fields(named: Mapping[bytes, Sequence[bytes]]) -> Fields:
    """What a client says of its trace; nothing where that is malformed, which the specification wants ignored.

    :param named: its header fields by their names in lower case.
    """
    parents = named.get(b"traceparent", ())
    if len(parents) != 1 or not _PARENT.fullmatch(parents[0]):
        return ()
    state = b",".join(named.get(b"tracestate", ()))
    fits = state and len(state) <= LONGEST_STATE and _STATE.fullmatch(state)
    return ((b"traceparent", parents[0]), *(((b"tracestate", state),) if fits else ()))


def trace_of(request: UpstreamRequest) -> Fields:
    """The fields of a request that carry its trace."""
    added = request.added if isinstance(request, PassedRequest) else ()
    return tuple((name.lower(), value) for name, value in (*added, *request.headers) if name.lower() in FIELDS)


def traced(request: R, trace: Fields) -> R:
    """The request with another trace in place of its own."""
    kept = tuple(field for field in request.headers if field[0].lower() not in FIELDS)
    if isinstance(request, PassedRequest):
        added = tuple(field for field in request.added if field[0].lower() not in FIELDS)
        return replace(request, headers=kept, added=(*added, *trace))
    return replace(request, headers=(*kept, *trace))


class Span(Protocol):
    """A part of the work on a request, from its beginning to its end.

    :ivar trace_id: in hex.
    :ivar fields: the header fields that carry it on.
    """

    trace_id: str
    fields: Fields

    def end(self, error: str = "", **attributes: str | int) -> None:
        """It is over.

        :param error: why it failed.
        """


class ITracing(Protocol):
    """Makes spans. Times are seconds since the epoch."""

    def begin(self, name: str, trace: Fields, start: float, server: bool = False, **attributes: str | int) -> Span:
        """Begin a span.

        :param trace: what it is a part of.
        :param server: it is of a request that came in, else of one that goes out.
        """

    def over(self, name: str, request: UpstreamRequest, start: float, end: float, **attributes: str | int) -> None:
        """Tell of a part of the work on a request that is over already."""

    async def close(self) -> None:
        """Send what is not sent yet, within a few seconds, and send nothing more."""


def tell_of_end(tracing: ITracing | None, task: Task, clock: IReactorTime) -> None:
    """Tell how long a task that has ended, and whose end is stored now, waited for its slot and for the store."""
    if tracing is None:
        return
    now = clock.seconds()
    ended_at = task.ended_at or now
    started_at = task.started_at or ended_at
    tracing.over("wait for a slot", task.request, task.submitted_at, started_at, ngpu__task_id=task.id)
    tracing.over("store a result", task.request, ended_at, now, ngpu__task_id=task.id)
