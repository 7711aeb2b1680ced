"""What the routes read of a request: its query, its credential, where it comes from."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from ngpu.errors import BadRequest, Unauthorized
from ngpu.http.server import NgpuRequest
from ngpu.tenancy import Access, Tenancy, credential_of
from ngpu.waiting import Handle

_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,6})\"?", re.ASCII | re.IGNORECASE)

Network = IPv4Network | IPv6Network


class Call:
    """One request at the public listener.

    :ivar work: by which what serves it can be cancelled, where a route's coroutine does that.
    """

    def __init__(self, request: NgpuRequest, tenancy: Tenancy, trusted_proxies: Sequence[Network]) -> None:
        self.request = request
        self.work = Handle()
        self._tenancy = tenancy
        self._trusted = trusted_proxies

    def param(self, *names: str) -> str | None:
        """A query parameter under any of these names; ``None`` when it is not there, or empty.

        :raises BadRequest: it stands there twice, or is not UTF-8.
        """
        args = self.request.args
        if len(names) == 1:
            found: Sequence[bytes] = args.get(names[0].encode(), ()) if args else ()
        else:
            found = [value for name in names for value in args.get(name.encode(), ())]
        if not found:
            return None
        if len(found) > 1:
            raise BadRequest(f"{names[0]} stands in the query more than once")
        try:
            return found[0].decode("utf-8") or None
        except UnicodeDecodeError:
            raise BadRequest(f"{names[0]} is not UTF-8") from None

    def needed(self, *names: str) -> str:
        """A query parameter that must be there.

        :raises BadRequest: it is not.
        """
        value = self.param(*names)
        if value is None:
            raise BadRequest(f"{names[0]} is missing: add ?{names[0]}=… to the address")
        return value

    def header(self, name: str) -> str | None:
        """A header field of the request.

        :raises BadRequest: it was sent twice.
        """
        values = self.request.head.named.get(name.lower().encode(), ())
        if len(values) > 1:
            raise BadRequest(f"the header {name} was sent more than once")
        return values[0].decode("latin-1").strip() if values else None

    def access(self) -> Access:
        """The workspace that the caller's credential opens.

        :raises Unauthorized: there is none, or it opens nothing.
        """
        access = self.shown_access()
        if access is None:
            raise Unauthorized("send a credential: Authorization: Bearer <workspace id or key>")
        return access

    def shown_access(self) -> Access | None:
        """The same where a credential is not asked for; one that is sent must be right all the same."""
        header = self.header("Authorization")
        return None if header is None else self._tenancy.open(credential_of(header))

    def preferred_wait(self) -> int | None:
        """Seconds of ``Prefer: wait=<seconds>`` (RFC 7240 §4.3); ``None`` where that was not sent."""
        values = self.request.head.named.get(b"prefer", ())
        found = (_WAIT.fullmatch(part.strip()) for value in values for part in value.decode("latin-1").split(","))
        return next((int(match[1]) for match in found if match is not None), None)

    @property
    def client_ip(self) -> str:
        """Who sent this: the connection's other end, or whom a trusted proxy names in X-Forwarded-For."""
        if not self._trusted:
            return self.request.peer_ip
        forwarded = self.request.head.named.get(b"x-forwarded-for", ())
        hops = [hop.strip() for value in forwarded for hop in value.decode("latin-1").split(",")]
        address: str = self.request.peer_ip
        while hops and self._is_trusted(address):
            nearer = hops.pop()
            if not _is_ip(nearer):
                break
            address = nearer
        return address

    @property
    def from_trusted_proxy(self) -> bool:
        """Whether the connection's other end may say whom it speaks for."""
        return self._is_trusted(self.request.peer_ip)

    def _is_trusted(self, address: str) -> bool:
        if not self._trusted or not _is_ip(address):
            return False
        return any(ipaddress.ip_address(address) in network for network in self._trusted)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
