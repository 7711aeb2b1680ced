"""The way to a receiver: to an address that was looked at, and no other that its name may stand for a moment later."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.web.client import URI
from zope.interface import implementer

from ngpu.egress import Egress
from ngpu.fetch import Connect

MOST_ADDRESSES = 4
"""Addresses of one host that are tried."""


@implementer(IStreamClientEndpoint)
class VettedEndpoint:
    """Looks the host up, holds every address against ``egress.allow``, and connects to one of these very addresses."""

    def __init__(self, reactor: Any, egress: Egress, uri: URI) -> None:
        self._reactor = reactor
        self._egress = egress
        self._uri = uri

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See IStreamClientEndpoint.

        :raises BadRequest: an address that the host resolves to is closed.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        host = self._uri.host.decode("ascii").strip("[]")
        plain = self._uri.scheme != b"https"
        failed: ConnectError | None = None
        for address in (await self._egress.addresses(host, "webhook", allowed_only=plain))[:MOST_ADDRESSES]:
            try:
                return await HostnameEndpoint(self._reactor, address, self._uri.port).connect(factory)
            except ConnectError as error:
                failed = error
        raise failed or ConnectError()


def vetted(reactor: Any, egress: Egress) -> Connect:
    """For `ngpu.fetch.make_fetcher`."""
    return lambda uri: VettedEndpoint(reactor, egress, uri)
