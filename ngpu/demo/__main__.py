"""``python -m ngpu.demo``: run the demo worker."""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from ngpu.demo.img2img import MAX_DELAY
from ngpu.demo.journal import Journal
from ngpu.demo.worker import Worker, make_site


def duration(text: str) -> float:
    """Seconds out of ``2``, ``0.5s`` or ``500ms``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|)", text)
    seconds = float(match[1]) * (0.001 if match[2] == "ms" else 1) if match else -1.0
    if not 0 <= seconds <= MAX_DELAY:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration between 0s and {MAX_DELAY:.0f}s, such as 2s or 500ms"
        )
    return seconds


def slots(text: str) -> int:
    """A number of jobs from 1 to 64."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 64")
    return int(text)


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser("python -m ngpu.demo", description="A worker to try ngpu with; it needs no GPU.")
    parser.add_argument("--port", type=int, default=18080, help="where to listen on 127.0.0.1 (18080; 0: any)")
    parser.add_argument(
        "--delay", type=duration, default=0.0, help="make each job take longer by this (0s, at most 60s)"
    )
    parser.add_argument("--slots", type=slots, default=1, help="jobs worked on at once; others wait (1)")
    parser.add_argument("--journal", metavar="FILE", help="append a line for each start and end of a call")
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends; ignore Ctrl-C")
    return parser.parse_args(arguments)


def say(line: str) -> None:
    """One line to standard output, with the time."""
    print(time.strftime("%H:%M:%S"), "demo worker:", line, flush=True)


def stop_at_end_of_stdin(reactor: Any) -> None:
    """Stop when whoever holds the other end of standard input is gone, however it went.

    Ctrl-C reaches the whole group, this process too; the holder may still wait for a job here, so its end decides.
    """

    def wait() -> None:
        while os.read(0, 4096):
            pass
        reactor.callFromThread(stop)

    def stop() -> None:
        with suppress(ReactorNotRunning):
            reactor.stop()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=wait, name="stdin", daemon=True).start()


def main() -> int:
    """Run until a signal; the exit code is 1 when the port cannot be had."""
    from twisted.internet import reactor

    any_reactor: Any = reactor
    arguments = options()
    problems = FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(LogLevel.warn)])
    globalLogBeginner.beginLoggingTo([problems], redirectStandardIO=False, discardBuffer=True)
    journal = Journal(arguments.journal) if arguments.journal else None
    worker = Worker(any_reactor, arguments.slots, arguments.delay, say, journal)
    try:
        port = any_reactor.listenTCP(arguments.port, make_site(worker), interface="127.0.0.1")
    except CannotListenError as error:
        taken = getattr(error.socketError, "errno", None) == errno.EADDRINUSE
        hint = "another process listens there: stop it, or give another --port" if taken else str(error.socketError)
        say(f"cannot listen on 127.0.0.1:{arguments.port}: {hint}")
        return 1
    worker.start()
    any_reactor.addSystemEventTrigger("during", "shutdown", worker.stop)
    if arguments.exit_with_stdin:
        stop_at_end_of_stdin(any_reactor)
    say(f"listening on http://127.0.0.1:{port.getHost().port}, {arguments.slots} at once")
    any_reactor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
