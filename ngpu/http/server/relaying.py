"""What an HTTP/1.1 connection does so that large bodies cost little: larger reads, and none; see `ngpu.relay`."""

from __future__ import annotations

from typing import Any

from ngpu.http.server.connection import Connection
from ngpu.http.server.intake import Intake
from ngpu.reads import size_next
from ngpu.relay import Over, Relay, relay_between


class Relaying(Connection):
    """A connection with requests one after another, whose bodies may be large."""

    _in: Intake

    def size_next(self, came: int) -> None:
        """So much of a body came with one read; see `ngpu.reads`."""
        size_next(self.transport, came)

    def relay_out(self, source: Any, count: int, over: Over) -> Relay | None:
        """Let the next bytes of a reply come from ``source``; see `relay_between`."""
        return self._out.relay(source, count, over)

    def relay_in(self, sink: Any, count: int, over: Over) -> Relay | None:
        """Let the next bytes of a request's body, which is not chunked, go to ``sink``; see `relay_between`."""

        def ended(relay: Relay) -> None:
            self._in.passed(relay.taken)
            over(relay)

        return relay_between(self.transport, sink, count, ended)
