"""A listener's site: the server below Klein, with an access log."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from ngpu.http.access_log import AccessLog
from ngpu.http.server import Limits, NgpuRequest, Site


class ListenerSite(Site):
    """Writes a line for each request, and for what is no request."""

    def __init__(self, resource: IResource, clock: IReactorTime, limits: Limits, access_log: AccessLog) -> None:
        super().__init__(resource, clock, limits)
        self._access_log = access_log

    def log_request(self, request: NgpuRequest, aborted: bool) -> None:
        """See `Site.log_request`."""
        self._access_log.request(request, aborted, self.clock.seconds())

    def log_refused(self, peer_ip: str, status: int, msg: str) -> None:
        """See `Site.log_refused`."""
        self._access_log.refused(peer_ip, status, msg, self.clock.seconds())
