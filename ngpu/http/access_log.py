"""The access log: one line of JSON a request, ASCII only. No query, no credential, no payload."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _text  # what json.dumps has for a string, in C
from typing import IO

from ngpu.http.server import NgpuRequest
from ngpu.metrics import Metrics


def annotate(request: NgpuRequest, **notes: str) -> None:
    """Add fields to the request's line."""
    request.notes.update(notes)


class AccessLog:
    """Writes the lines of one listener, and counts its requests.

    :param listener: its name, `public` or `admin`.
    :param path_of: what is shown as a request's path, where that is not the path itself.
    :param process: which of several processes this is; 0 where there is but one.
    """

    def __init__(
        self,
        listener: str,
        out: IO[str],
        metrics: Metrics,
        path_of: Callable[[NgpuRequest], str] = lambda request: request.path.decode("latin-1"),
        process: int = 0,
    ) -> None:
        self._begin = json.dumps({"listener": listener, **({"process": process} if process else {})})[1:-1]
        self._path_of = path_of
        self._listener = listener
        self._out = out
        self._metrics = metrics
        self._lines: list[str] = []

    def request(self, request: NgpuRequest, aborted: bool, now: float) -> None:
        """A request has ended. An aborted one gets the status 499, as no reply reached its client whole."""
        status = 499 if aborted else request.code
        seconds = max(0.0, now - request.started)
        route = request.notes.get("route", "none")
        metrics = self._metrics
        metrics.count(metrics.requests, self._listener, route, str(status))
        metrics.request_seconds.observe(seconds, self._listener, route)
        notes = request.notes
        self._write(
            now,
            f'"client": {_text(notes.pop("client", request.peer_ip))}, "method": "{request.method.decode("latin-1")}", '
            f'"path": {_text(self._path_of(request))}, "status": {status}, "seconds": {seconds:.6f}, '
            f'"bytes_in": {request.bytes_in}, "bytes_out": {request.bytes_out}'
            + "".join([f', "{name}": {_text(value)}' for name, value in notes.items()]),
        )

    def refused(self, peer_ip: str, status: int, msg: str, now: float) -> None:
        """Bytes came that are no request."""
        self._metrics.requests.labels(self._listener, "refused", status).inc()
        self._write(now, f'"client": {_text(peer_ip)}, "status": {status}, "refused": {_text(msg)}')

    def _write(self, now: float, rest: str) -> None:
        second, thousandths = divmod(int(now * 1000), 1000)
        line = f'{{"time": "{_second_of(second)}.{thousandths:03d}Z", {self._begin}, {rest}}}\n'
        self._lines.append(line.replace("\x7f", "\\u007f"))

    def flush(self) -> None:
        """See that the lines are where they belong; once for all requests that end in one turn of the reactor."""
        lines, self._lines = self._lines, []
        self._out.write("".join(lines))
        self._out.flush()


@lru_cache(maxsize=4)
def _second_of(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
