"""A listener's site: the server below Klein, with an access log."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.resource import IResource

from ngpu.http.access_log import AccessLog
from ngpu.http.server import Limits, NgpuRequest, Site
from ngpu.http.server.connection import Connection


class ListenerSite(Site):
    """Writes a line for each request, and for what is no request."""

    def __init__(self, resource: IResource, clock: IReactorTime, limits: Limits, access_log: AccessLog) -> None:
        super().__init__(resource, clock, limits)
        self._access_log = access_log
        self._flushing: IDelayedCall | None = None

    def log_request(self, request: NgpuRequest, aborted: bool) -> None:
        """See `Site.log_request`."""
        self._access_log.request(request, aborted, self.clock.seconds())
        self._flush_soon()

    def log_refused(self, peer_ip: str, status: int, msg: str) -> None:
        """See `Site.log_refused`."""
        self._access_log.refused(peer_ip, status, msg, self.clock.seconds())
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flushing is None:
            self._flushing = self.clock.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        self._access_log.flush()

    def remove(self, channel: Connection) -> None:
        """A connection is over; with the last of them nothing is left to be flushed later."""
        super().remove(channel)
        if not self.connections and self._flushing is not None:
            self._flushing.cancel()
            self._flush()
