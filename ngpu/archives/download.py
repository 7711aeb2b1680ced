"""An image archive at a URL: followed, verified, resumed where it was cut, and never faster than it is taken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any, NamedTuple

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.error import DNSLookupError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from ngpu.archives.resuming import Field, Version, check_continued, checked, redirected, refused, shown, version
from ngpu.archives.transfer import Cut, Exchange, PacedBody
from ngpu.errors import FetchFailed, FetchRefused, NgpuError
from ngpu.fetch import retry_after

LEAST = 64 * 1024
"""Bytes that count as something: only so many archives come at once, and one that trickles keeps others waiting."""


class Patience(NamedTuple):
    """When a download is given up, and how long it waits (seconds).

    ``tries`` count in a row that bring nothing; after each that brings `LEAST` bytes the count begins anew. The wait
    before another is doubled each time, up to ``longest_wait``, and made up to half longer at random. ``silence`` is
    how long a connection that does not bring as many counts as whole.
    """

    tries: int = 6
    first_wait: float = 0.5
    longest_wait: float = 30.0
    silence: float = 60.0


USUAL = Patience()


class Download:
    """An archive at a URL.

    :param exchange: makes an `Exchange`.
    :ivar size: in bytes, once ``begin`` has returned; ``None`` where the server does not say.
    """

    log = Logger("ngpu.archive")

    def __init__(self, url: str, exchange: Callable[[], Exchange], clock: Any, rng: Random, patience: Patience) -> None:
        self.size: int | None = None
        self._url = checked(url)
        self._place = shown(url)
        self._exchange, self._clock, self._rng = exchange, clock, rng
        self._patience = patience
        self._version = Version(None, None)
        self._taken = 0
        self._failures = 0
        self._came, self._waited = 0, 0.0  # since that was as much as LEAST
        self._body: PacedBody | None = None
        self._closed = False

    async def begin(self) -> None:
        """Ask for it.

        :raises FetchRefused: it is not there, or not for us.
        :raises FetchFailed: it cannot be had now.
        """
        while self._body is None:
            await self._try()
        self.size = self._version.size

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its bytes, once; closing the iterator closes the connection.

        :raises FetchFailed: it was cut and cannot be resumed; it may be begun anew.
        """
        try:
            while True:
                if self._body is None:
                    await self._try()
                    continue
                piece = await self._read(self._body)
                if piece is None:
                    continue
                if not piece:
                    return
                self._taken += len(piece)
                yield piece
        finally:
            await self.close()

    async def close(self) -> None:
        """Let go of the connection."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.stop()

    async def _read(self, body: PacedBody) -> bytes | None:
        """The next bytes, none at the end; ``None`` after a cut."""
        began, left = self._clock.seconds(), max(self._patience.silence - self._waited, 0.0)
        try:
            piece = await Deferred.fromCoroutine(body.read()).addTimeout(left, self._clock)
            self._came += len(piece)
            self._waited += self._clock.seconds() - began
            if self._came >= LEAST:
                self._came, self._waited, self._failures = 0, 0.0, 0
            return piece
        except (Cut, TookTooLong) as error:
            self._drop()
            if self._closed:
                raise FetchFailed(f"{self._place} is not read any more") from None
            if self._taken and self._version.validator is None:
                raise FetchFailed(
                    f"{self._place} was cut off, and cannot be resumed: its server gives neither an ETag nor a "
                    "Last-Modified; it has to be begun anew"
                ) from None
            await self._wait(type(error).__name__)
            return None

    async def _try(self) -> None:
        """Ask for it, or for the rest of it; without a body at the end it is to be tried again."""
        try:
            response = await self._followed().addTimeout(self._patience.silence, self._clock)
        except (NgpuError, CancelledError):  # of redirects, and of the way to a host
            raise
        except Exception as error:
            if _is_untrusted(error):
                raise FetchRefused(
                    f"the host of {self._place} cannot be trusted: its certificate is not valid there, or nobody that "
                    "this machine trusts vouches for it"
                ) from None
            await self._wait(_told(error))
            return
        field = _fields(response)
        if response.code != 200 and not (response.code == 206 and self._taken):
            after = retry_after(field("Retry-After") or "", self._clock.seconds())
            _abandon(response)
            answer = refused(response.code, self._place)
            if isinstance(answer, FetchRefused):
                raise answer
            await self._wait(str(answer), after or 0.0)
            return
        if not self._taken:
            self._version = version(field)
        else:
            self._check_continued(response, field)
        self._came, self._waited = 0, 0.0
        self._body = PacedBody()
        response.deliverBody(self._body)

    def _check_continued(self, response: Any, field: Field) -> None:
        try:
            check_continued(response.code, field, self._taken, self._version, self._place)
        except FetchFailed:
            _abandon(response)
            raise

    def _followed(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._follow())

    async def _follow(self) -> Any:
        """The reply at the end of the redirects, which may lead elsewhere each time."""
        url, hops = self._url, 0
        while True:
            headers = Headers({"User-Agent": ["ngpu"], "Accept-Encoding": ["identity"]})
            if self._taken and self._version.validator:
                headers.setRawHeaders("Range", [f"bytes={self._taken}-"])
                headers.setRawHeaders("If-Range", [self._version.validator])
            response = await self._exchange().get(url, headers)
            if response.code not in (301, 302, 303, 307, 308):
                return response
            _abandon(response)
            url, hops = redirected(url, _fields(response)("Location"), hops), hops + 1

    async def _wait(self, why: str, least: float = 0.0) -> None:
        """Before another try.

        :raises FetchFailed: there were enough.
        """
        tries, first, longest, _ = self._patience
        self._failures += 1
        if self._failures >= tries:
            raise FetchFailed(f"{self._place} cannot be fetched after {tries} tries: {why}")
        backoff = min(first * 2 ** (self._failures - 1), longest) * (1 + self._rng.random() / 2)
        wait = min(max(backoff, least), longest)
        self.log.info(
            "the archive at {place} is asked for again in {seconds:.1f} s, from byte {at} on: {why}",
            place=self._place, seconds=wait, at=self._taken, why=why,
        )  # fmt: skip
        await deferLater(self._clock, wait)


def _abandon(response: Any) -> None:
    """Close a reply's connection without reading its body."""
    body = PacedBody()
    response.deliverBody(body)
    body.stop()


def _fields(response: Any) -> Field:
    def field(name: str) -> str | None:
        values = response.headers.getRawHeaders(name)
        return str(values[-1]) if values else None

    return field


def _reasons(error: BaseException) -> list[BaseException]:
    """What Twisted's client wraps in its own errors, else the error itself."""
    reasons = [reason.value for reason in getattr(error, "reasons", ()) if isinstance(reason, Failure)]
    return [reason for reason in reasons if reason is not None] or [error]


def _is_untrusted(error: BaseException) -> bool:
    """Whether it is the certificate. A TLS connection that breaks otherwise has no reasons of its own to tell."""
    for reason in _reasons(error):
        if isinstance(reason, VerificationError):
            return True
        if isinstance(reason, SSL.Error) and "certificate verify failed" in str(reason):
            return True
    return False


def _told(error: BaseException) -> str:
    """What went wrong, without a byte of the other side's."""
    if any(isinstance(reason, DNSLookupError) for reason in _reasons(error)):
        return "its host cannot be found"
    if isinstance(error, NgpuError):
        return str(error)
    return ", ".join(type(reason).__name__ for reason in _reasons(error))
