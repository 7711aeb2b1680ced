"""Who may use the admin listener: whoever shows its token, or a session that began with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from ngpu.errors import Forbidden, StoreUnavailable, Unauthorized
from ngpu.http.bearer import WANTED, Bearers
from ngpu.http.reply import Reply
from ngpu.http.routes import Route
from ngpu.http.server import NgpuRequest
from ngpu.http.session import Session, Sessions
from ngpu.tenancy import credential_of

COOKIE = "ngpu_admin"
SAFE = frozenset({b"GET", b"HEAD"})
LOOK_AGAIN = 2.0
"""Seconds after which a stream asks again whether its session is still open."""

_MOST_COOKIES = 4
_ITSELF = frozenset({b"same-origin", b"none"})


class Guard:
    """Lets requests through.

    :param clock: seconds.
    """

    def __init__(self, bearers: Bearers, sessions: Sessions, clock: Callable[[], float]) -> None:
        self._bearers = bearers
        self._sessions = sessions
        self._clock = clock

    async def admit(self, request: NgpuRequest) -> Session | None:
        """Look at a request's credential; nothing else of it is read before.

        :returns: its session, if that is what it shows.
        :raises Unauthorized: it shows neither the token nor an open session.
        :raises TooManyTries: its address has sent too many wrong tokens.
        :raises Forbidden: another site, or another port of this host, may be behind it.
        """
        shown = request.head.named.get(b"authorization", ())
        if not shown:
            session = await self.session(request)
            if session is not None:
                from_its_own_pages(request)
                return session
        if len(shown) != 1:
            raise Unauthorized(WANTED)
        self._bearers.look(credential_of(shown[0].decode("latin-1")), request.peer_ip)
        return None

    async def session(self, request: NgpuRequest) -> Session | None:
        """The open session that a request's cookies name, if they do."""
        for name in _named(request)[:_MOST_COOKIES]:
            session = await self._sessions.find(name)
            if session is not None:
                return session
        return None

    def guarded(self, route: Route) -> Route:
        """The route for those who may."""

        async def guarded(request: NgpuRequest, **parts: str) -> Reply:
            session = await self.admit(request)
            reply = await route(request, **parts)
            if session is None:
                return reply
            if isinstance(reply.document, AsyncGenerator):
                reply = replace(reply, document=self._while_open(session, reply.document))
            return replace(reply, headers={"Cache-Control": "no-store", **reply.headers})

        return guarded

    async def _while_open(self, session: Session, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """A stream that ends soon after its session."""
        looked = self._clock()
        async with aclosing(pieces):
            async for piece in pieces:
                if self._clock() - looked >= LOOK_AGAIN:
                    looked = self._clock()
                    if not await self._still_open(session):
                        return
                yield piece

    async def _still_open(self, session: Session) -> bool:
        try:
            return await self._sessions.find(session.name) is not None
        except StoreUnavailable:
            return self._clock() < session.ends  # nobody can have logged out meanwhile


def from_its_own_pages(request: NgpuRequest) -> None:
    """See that a request which a browser's cookie opens comes from a page of this very listener.

    A cookie is sent to every port of a host, and so is it from pages of every port: workers' pages may be served there.

    :raises Forbidden: it does not, or its browser does not say.
    """
    sites = request.head.named.get(b"sec-fetch-site", ())
    origins = request.head.named.get(b"origin", ())
    hosts = request.head.named.get(b"host", ())
    own = len(origins) == 1 and len(hosts) == 1 and origins[0].lower().partition(b"://")[2] == hosts[0].lower()
    if not all(site in _ITSELF for site in sites) or not (own or (not origins and request.method in SAFE)):
        raise Forbidden("this was not sent by a page of the admin listener; a proxy before it has to pass Host on")


def _named(request: NgpuRequest) -> list[str]:
    pairs = (pair.partition(b"=") for value in request.head.named.get(b"cookie", ()) for pair in value.split(b";"))
    return [value.strip().decode("latin-1") for name, _, value in pairs if name.strip() == COOKIE.encode()]
