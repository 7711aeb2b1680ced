"""Where URLs that customers send may lead: to the public internet, and to the networks of ``egress.allow``.

The gateway itself calls some of them (webhooks, image archives): it connects to the very addresses that it has looked
at. Workers fetch others, from inside the operator's network. What a name resolves to is looked at when a request comes
in; a name whose owner changes it between that and the worker's fetch is beyond what a gateway can see, so workers need
rules of their own towards what they must not reach (docs/security.md).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple

from zope.interface import implementer

from ngpu.adapter import IUrlCheck
from ngpu.errors import BadRequest

LONGEST = 8192
"""Characters that a URL may have."""

_URL = re.compile(
    r"https?://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]{1,253})(:(?P<port>[0-9]{1,5}))?([/?#][^\x00-\x20\x7f\\]*)?",
    re.IGNORECASE,
)
_NAT64 = IPv6Network("64:ff9b::/96")
_SPECIAL: tuple[IPv4Network | IPv6Network, ...] = (
    *map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24")),
    *map(IPv6Network, ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "fec0::/10", "3fff::/20", "5f00::/16")),
)
"""What ``ipaddress`` of some Python calls global all the same: protocol assignments (RFC 6890), where a cloud has its
metadata, relays (RFC 7526), IPv4 in IPv6 (RFC 4291 §2.5.5.1, RFC 7915, RFC 8215), site-local (RFC 3879), documentation
(RFC 9637) and segments (RFC 9602)."""

Address = IPv4Address | IPv6Address
Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a host name; raises OSError where it has none."""


@implementer(IUrlCheck)
class Egress:
    """Judges URLs.

    :param allow: private or loopback networks that they may lead to all the same.
    """

    def __init__(self, allow: Sequence[IPv4Network | IPv6Network], resolve: Resolve) -> None:
        self._allow = allow
        self._resolve = resolve

    async def check(self, url: Any, name: str) -> None:
        """See `IUrlCheck.check`."""
        await self.addresses(_parsed(url, name).host, name)

    async def check_webhook(self, url: str, name: str) -> None:
        """See that the gateway may be told to call this: over TLS, or within the networks of ``egress.allow``.

        :raises BadRequest: it may not.
        """
        parsed = _parsed(url, name)
        if not url.isascii():
            raise BadRequest(f"{name} must be in ASCII: write what is not in percent-escapes, and the host in punycode")
        await self.addresses(parsed.host, name, allowed_only=not parsed.secure)

    async def addresses(self, host: str, name: str, allowed_only: bool = False) -> Sequence[str]:
        """What a host resolves to just now, all of which may be connected to.

        :param name: of what the host came in, for the message.
        :param allowed_only: the public internet is closed, too.
        :raises BadRequest: one of them may not, or there is none.
        """
        try:
            found = [str(ip_address(host))]
        except ValueError:
            try:
                found = list(await self._resolve(host))
            except OSError:
                raise BadRequest(f"{name}: the host {host} cannot be found") from None
        if allowed_only and not all(self._is_allowed(address) for address in found):
            raise BadRequest(f"{name} must be https; plain http may lead to the networks of egress.allow only")
        if not found or not all(self._is_open(address) for address in found):
            raise BadRequest(f"{name}: the host {host} is not on the public internet, and not in egress.allow")
        return found

    def _is_open(self, text: str) -> bool:
        address = _address(text)
        if self._is_allowed(text):
            return True
        if any(address in network for network in _SPECIAL):
            return False
        return address.is_global and not address.is_multicast

    def _is_allowed(self, text: str) -> bool:
        address = _address(text)
        return any(address in network for network in self._allow if network.version == address.version)


class _Parsed(NamedTuple):
    host: str
    secure: bool


def _parsed(url: Any, name: str) -> _Parsed:
    if not isinstance(url, str) or not url:
        raise BadRequest(f"{name} must be the URL of a file: http://… or https://…")
    matched = _URL.fullmatch(url) if len(url) <= LONGEST else None
    if matched is None or int(matched["port"] or 80) > 65535:
        raise BadRequest(f"{name} must be an http(s) URL without credentials, spaces or backslashes")
    return _Parsed(matched["host"].strip("[]"), url[:6].lower() == "https:")


def _address(text: str) -> Address:
    return _real(ip_address(text.partition("%")[0]))


def _real(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, where one is written into it."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
