"""The admin API's routes of the dashboard's session: log in, look, log out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ngpu.errors import BadRequest
from ngpu.http.admin import AdminRoute, json_body
from ngpu.http.guard import COOKIE, Guard, from_its_own_pages
from ngpu.http.reply import Reply
from ngpu.http.server import NgpuRequest
from ngpu.http.session import TTL, Session, Sessions
from ngpu.wire.replies import success

# The browser sends it to addresses beside this one only (RFC 6265 §5.1.4), as no path is named: not to workers' pages
_ATTRIBUTES = "HttpOnly; SameSite=Strict"


class AdminSession:
    """The routes, which are open: each of them looks at the request itself."""

    def __init__(self, sessions: Sessions, guard: Guard) -> None:
        self._sessions = sessions
        self._guard = guard

    @property
    def routes(self) -> Sequence[AdminRoute]:
        """All of them."""
        return (("POST", "/session", self.begin), ("GET", "/session", self.show), ("DELETE", "/session", self.end))

    async def begin(self, request: NgpuRequest) -> Reply:
        """Log in with the admin token."""
        if b"origin" in request.head.named:
            from_its_own_pages(request)
        body = await json_body(request)
        if set(body) != {"token"} or not isinstance(body["token"], str):
            raise BadRequest('send {"token": "…"}, the content of admin.token_file')
        session = await self._sessions.begin(body["token"].strip(), request.peer_ip)
        return _told("logged in", session, f"{session.name}; Max-Age={int(TTL)}{_secure(request)}")

    async def show(self, request: NgpuRequest) -> Reply:
        """Whether the caller is logged in."""
        session = await self._guard.session(request)
        return _told("logged in" if session is not None else "not logged in", session)

    async def end(self, request: NgpuRequest) -> Reply:
        """Log out; no session is one that has ended."""
        session = await self._guard.session(request)
        if session is not None:
            from_its_own_pages(request)
            await self._sessions.end(session)
        return _told("logged out", None, f"; Max-Age=0{_secure(request)}")


def _told(msg: str, session: Session | None, cookie: str | None = None) -> Reply:
    shown: dict[str, Any] | None = None if session is None else {"ends": round(session.ends)}
    headers = {"Cache-Control": "no-store"}
    if cookie is not None:
        headers["Set-Cookie"] = f"{COOKIE}={cookie}; {_ATTRIBUTES}"
    return Reply({**success(msg), "session": shown}, headers=headers)


def _secure(request: NgpuRequest) -> str:
    """Whether the page came over TLS, here or at a proxy in front; the browser says so."""
    origins = request.head.named.get(b"origin", ())
    tls = request.channel.isSecure() or any(origin.lower().startswith(b"https://") for origin in origins)
    return "; Secure" if tls else ""
