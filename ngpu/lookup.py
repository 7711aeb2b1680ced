"""What a host name of a customer's resolves to, as this system sees it, in threads of its own.

Whoever owns a name can have its look-up take as long as he likes, and a thread cannot be called back: in the reactor's
threads, a few such names would hold up all else that is done there.
"""

from __future__ import annotations

import socket
from functools import partial
from threading import Thread
from typing import Any

from twisted.internet import defer
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from ngpu.egress import Resolve

TIMEOUT = 5.0
"""Seconds that a look-up may take."""

MOST = 32
"""Look-ups at once; more of them wait within their time."""


def make_resolver(reactor: Any) -> Resolve:
    """Looks names up in threads that are there once they are needed, and that nobody waits for at the end."""
    threads = ThreadPool(0, MOST, "lookups")
    threads.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
    threads.start()

    async def resolve(host: str) -> list[str]:
        found = deferToThreadPool(reactor, threads, socket.getaddrinfo, host, None)
        try:
            infos = await found.addTimeout(TIMEOUT, reactor)
            return list(dict.fromkeys(str(info[4][0]) for info in infos))  # each comes once for each type of socket
        except (UnicodeError, defer.TimeoutError) as error:
            raise OSError(str(error)) from None

    return resolve
