"""SIGHUP: read the configuration anew."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.systemd import Systemd

_STDIN = 0


class Hangups:
    """Calls ``reload`` for each SIGHUP, one at a time; several that come during one are one more.

    A terminal that was closed sends the same signal; then the process is to end.

    :param reactor: the one that runs.
    :param reload: gives why nothing was changed, "" where it was.
    :param systemd: is told of it.
    :param refused: is told why nothing was changed.
    :ivar due: one was asked for and has not begun yet.
    """

    log = Logger("ngpu")

    def __init__(
        self,
        reactor: Any,
        reload: Callable[[], Coroutine[Deferred[Any], Any, str]],
        systemd: Systemd,
        refused: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._systemd = systemd
        self._reload = reload
        self._refused = refused
        self.due = False
        self._ready = False
        self._reloading: Deferred[str | None] | None = None
        self._terminal = os.isatty(_STDIN)

    def install(self) -> None:
        """Take the signal from now on, and one that came before; reloads begin once the process is `ready`."""
        signal.signal(signal.SIGHUP, self._signalled)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))

    def ready(self) -> None:
        """A reload may begin."""
        self._ready = True
        self._next()

    def retire(self) -> None:
        """Begin no more; whoever takes this process's place may have to."""
        self._ready = False

    def stop(self) -> None:
        """No more reloads; one that has begun is cancelled."""
        self._ready = False
        if self._reloading is not None:
            self._reloading.cancel()

    def _signalled(self, *_: object) -> None:
        self.due = True
        self._reactor.callFromThread(self._hung_up)

    def _hung_up(self) -> None:
        if self._terminal and not os.isatty(_STDIN):
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self._next()

    def _next(self) -> None:
        if self.due and self._ready and self._reloading is None:
            self.due = False
            self._systemd.reloading()
            reloading: Deferred[Any] = Deferred.fromCoroutine(self._reload())
            self._reloading = reloading
            reloading.addCallbacks(self._done, self._failed)
            reloading.addBoth(self._over)

    def _done(self, why: str) -> None:
        if why:
            # whoever found it has printed the rest
            self.log.error("nothing was changed: {why}", journal="reload_refused", why=why.partition("\n")[0])
            self._refused(why)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("the reload failed; everything stays as it was", failure=failure, journal="reload_refused")
            self._refused("the reload failed, which the log tells more of")

    def _over(self, _: object) -> None:
        self._reloading = None
        if self._ready:
            self._systemd.ready()
        self._next()
