"""The way to a customer's host: to addresses that were looked at, and to no other that its name has a moment later."""

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

MOST_ADDRESSES, EACH = 4, 4.0
"""Addresses of one host that are tried, and the seconds that one has where another follows: a firewall that drops what
goes to the first, such as one of IPv6, says nothing, and would use up all the time that there is."""

LAST = 30.0
"""The seconds that the last one has; who asks may have less time."""


@implementer(IStreamClientEndpoint)
class VettedEndpoint:
    """Looks the host up, holds every address against ``egress.allow``, and connects to one of these very addresses.

    :param name: of what the host came in, for messages.
    :param secure: the public internet is reached over TLS only.
    """

    def __init__(self, reactor: Any, egress: Egress, uri: URI, name: str, secure: bool) -> None:
        self._reactor = reactor
        self._egress = egress
        self._uri = uri
        self._name = name
        self._secure = secure

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See IStreamClientEndpoint.

        :raises BadRequest: an address that the host resolves to is closed.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        host = self._uri.host.decode("ascii").strip("[]")
        allowed_only = self._secure and self._uri.scheme != b"https"
        addresses = (await self._egress.addresses(host, self._name, allowed_only=allowed_only))[:MOST_ADDRESSES]
        failed: ConnectError | None = None
        for address in addresses:
            wait = EACH if address is not addresses[-1] else LAST
            try:
                return await HostnameEndpoint(self._reactor, address, self._uri.port, wait).connect(factory)
            except ConnectError as error:
                failed = error
        raise failed or ConnectError()


def vetted(reactor: Any, egress: Egress, name: str, secure: bool) -> Connect:
    """For those who connect; see `VettedEndpoint`."""
    return lambda uri: VettedEndpoint(reactor, egress, uri, name, secure)
