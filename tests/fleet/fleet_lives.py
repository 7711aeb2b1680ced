"""Many short lives of a gateway: a process that has imported everything forks one gateway after another, and kills it.

    python fleet_lives.py CONFIG

Reads one line of JSON for each life, ``{"seconds": …}``; after so many seconds, counted from the fork, the gateway is
ended with SIGKILL, and a line is printed. Each life reads the configuration anew.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import docker  # noqa: F401  # what a gateway imports late
from twisted.internet import endpoints  # noqa: F401

import ngpu.engines.daemon
import ngpu.engines.docker
import ngpu.engines.making
import ngpu.tap


def live(config: Path) -> None:
    """A gateway's whole life."""
    from twisted.internet import reactor
    from twisted.logger import globalLogBeginner, textFileLogObserver

    log = os.open(config.parent / "lives.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    print(f"--- a life begins: {os.getpid()}", flush=True)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    ngpu.tap.service_of(config, reactor).startService()
    reactor.run()  # type: ignore[attr-defined]


def main() -> None:
    """Live as often as is asked for."""
    config = Path(sys.argv[1])
    for line in sys.stdin:
        seconds = json.loads(line)["seconds"]
        child = os.fork()
        if child == 0:
            try:
                live(config)
            finally:
                os._exit(1)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps({"lived": died}), flush=True)


if __name__ == "__main__":
    main()
