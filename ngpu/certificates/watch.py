"""The certificates in use, and the eye on their files: what is renewed there is used without a restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from OpenSSL import SSL
from twisted.internet.interfaces import IDelayedCall, IOpenSSLServerConnectionCreator, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ngpu.certificates.listening import Files
from ngpu.certificates.pair import CertificateError, load

LOOK_EVERY = 2.0
"""Seconds between two looks at the files, which cost a ``stat`` each."""

_Seen = tuple[tuple[int, ...] | None, ...]


class Standing(NamedTuple):
    """How the certificate in a file stands.

    ``expires`` is when the one in use does, in seconds since 1970; ``refused`` says that what is in the files now is
    not used, and an older one is.
    """

    file: str
    expires: float
    refused: bool


@implementer(IOpenSSLServerConnectionCreator)
class Certificate:
    """Gives every new connection the pair that was the last to be good; those that there are keep theirs.

    :raises CertificateError: the files hold none.
    """

    log = Logger("ngpu")

    def __init__(self, files: Files, now: float) -> None:
        self._files = files
        self._seen = self._look()
        self._pair = load(files)
        self._refusal = ""
        try:
            self._pair.check(now)
        except CertificateError as error:  # there is no better one, and clients can tell
            self.log.warn("{error}", error=str(error))

    @property
    def standing(self) -> Standing:
        """How it stands."""
        return Standing(str(self._files.certificate), self._pair.expires, bool(self._refusal))

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See `IOpenSSLServerConnectionCreator`."""
        return self._pair.options.serverConnectionForTLS(tlsProtocol)

    def look(self, now: float) -> None:
        """Take what is in the files, where that is new and good.

        What was refused is read again each time: it may come right without a change, when its time has come.
        """
        seen = self._look()
        if seen == self._seen and not self._refusal:
            return
        self._seen = seen
        try:
            pair = load(self._files)
            pair.check(now)
        except CertificateError as error:
            if str(error) != self._refusal:
                self._refusal = str(error)
                self.log.error(
                    "{error}: connections still get the certificate from before",
                    error=str(error),
                    journal="certificate_refused",
                )
            return
        self._refusal = ""
        if pair.fingerprint != self._pair.fingerprint or pair.expires != self._pair.expires:
            self.log.info(
                "the certificate {file} is renewed: new connections get SHA-256 {fingerprint}, good for {days} days",
                file=str(self._files.certificate),
                fingerprint=pair.fingerprint,
                days=int((pair.expires - now) // 86400),
                journal="certificate_renewed",
            )
        self._pair = pair

    def _look(self) -> _Seen:
        return tuple(None if file is None else _stat(file) for file in self._files)


def _stat(file: Any) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Certificates:
    """Those of a process's listeners, by their files.

    :param wall: seconds since the epoch as clients have them. The clock that timers go by may be hours behind, of a
        machine that was paused, and would take what was renewed meanwhile for one whose time has not come.
    """

    def __init__(self, clock: IReactorTime, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._all: dict[Files, Certificate] = {}
        self._looking: IDelayedCall | None = None

    def of(self, files: Files) -> Certificate:
        """The one of these files, watched from now on.

        :raises CertificateError: they hold none.
        """
        found = self._all.get(files)
        if found is None:
            found = self._all[files] = Certificate(files, self._wall())
        if self._looking is None:
            self._looking = self._clock.callLater(LOOK_EVERY, self._look)
        return found

    def standings(self) -> Iterator[Standing]:
        """How each of them stands."""
        return (each.standing for each in self._all.values())

    def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _look(self) -> None:
        self._looking = self._clock.callLater(LOOK_EVERY, self._look)
        now = self._wall()
        for each in self._all.values():
            each.look(now)
