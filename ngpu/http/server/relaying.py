"""What an HTTP/1.1 connection has to do with bodies that pass by within the kernel; see `ngpu.relay`."""

from __future__ import annotations

from typing import Any

from ngpu.http.server.connection import Connection
from ngpu.http.server.intake import Intake
from ngpu.relay import Over, Relay, relay_between


class Relaying(Connection):
    """A connection with requests one after another, between whose bodies and a transport bytes may pass by."""

    _in: Intake

    def relay_out(self, source: Any, count: int, over: Over) -> Relay | None:
        """Let the next bytes of a reply come from ``source``; see `relay_between`."""
        return self._out.relay(source, count, over)

    def relay_in(self, sink: Any, count: int, over: Over) -> Relay | None:
        """Let the next bytes of a request's body, which is not chunked, go to ``sink``; see `relay_between`."""

        def ended(relay: Relay) -> None:
            self._in.passed(relay.taken)
            over(relay)

        return relay_between(self.transport, sink, count, ended)
