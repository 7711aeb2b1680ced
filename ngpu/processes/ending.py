"""How this process ends: with a status of ours, or by becoming its own successor."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import NgpuError
from ngpu.processes.handed import Handed, Role, kept
from ngpu.systemd import Systemd


class Ending:
    """Stops the reactor, and does what twistd has no way for.

    :param systemd: is not told that the service stops where a successor goes on.
    :param pid_file: of twistd; "" where there is none.
    """

    log = Logger("ngpu")

    def __init__(self, reactor: Any, systemd: Systemd, pid_file: str = "") -> None:
        self._reactor = reactor
        self._systemd = systemd
        self._pid_file = pid_file
        self._unwanted = False

    def failed(self, failure: Failure) -> None:
        """The start failed: say why, and end with 1."""
        if failure.check(CancelledError):
            return
        if failure.check(NgpuError):
            print(f"ngpu: {failure.getErrorMessage()}", file=sys.stderr)
        else:
            self.log.failure("the gateway could not start", failure=failure)
        self.leave(1)

    def leave(self, status: int) -> None:
        """End with that status, once everything is stopped."""
        self._reactor.addSystemEventTrigger("after", "shutdown", self._exit, status)
        self._reactor.callWhenRunning(self._reactor.stop)  # a start may fail before it runs

    def become_successor(self, sockets: Mapping[str, int], text: str, generation: int, due: Callable[[], bool]) -> None:
        """Once everything is stopped, run the same command anew, in this very process, with these listening sockets.

        Who tells the process to end meanwhile means the one to come, too: then there is none.

        :param text: of its configuration, as it was checked: what stands in the file by then is for the next reload.
        :param generation: which one it is.
        :param due: whether one more reload was asked for meanwhile, which is then its work.
        """
        self._systemd.handed_over()
        its = {description: os.dup(each) for description, each in sockets.items()}
        handed = Handed(Role.SUCCESSOR, its, configuration=kept(text), generation=generation)
        self._reactor.addSystemEventTrigger("after", "shutdown", self._execute, handed, due)
        _take_ends(self._told_to_end)  # the reactor, which stops already, would only say that it does
        self._reactor.stop()

    def _told_to_end(self, *_: object) -> None:
        self._unwanted = True

    def _exit(self, status: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def _execute(self, handed: Handed, due: Callable[[], bool]) -> None:
        for descriptor in (*handed.sockets.values(), handed.configuration):
            os.set_inheritable(descriptor, True)
        if self._pid_file:
            with suppress(OSError):
                os.unlink(self._pid_file)  # else twistd finds that it runs already
        _take_ends(signal.SIG_DFL)  # from here on it ends at once
        if self._unwanted:
            self._exit(0)
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))  # waits until somebody is there again to take it
        if due():
            signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], handed.environment())
        except OSError as error:
            print(f"ngpu: {sys.executable} cannot be started anew: {error.strerror}", file=sys.stderr)
            self._exit(1)


def _take_ends(handler: Any) -> None:
    """Have the signals that tell a process to end do this; not those that whoever started it has it ignore."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)
