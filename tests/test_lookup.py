"""Looking hosts up: as the system does, and without harm to anything else that needs a thread."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from ngpu.lookup import MOST, make_resolver


@pytest_twisted.ensureDeferred
async def test_what_the_system_knows() -> None:
    from twisted.internet import reactor

    resolve = make_resolver(reactor)
    assert (await resolve("localhost")).count("127.0.0.1") == 1, "each address once: only so many are tried"
    for nowhere in ("nowhere.invalid", "a" * 70 + ".example", "\udcff"):
        with pytest.raises(OSError):
            await resolve(nowhere)


@pytest_twisted.ensureDeferred
async def test_names_that_take_for_ever_hold_up_nothing_but_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver stands still here, as it does for a name whose server says nothing."""
    from twisted.internet import reactor

    pool: Any = reactor
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def stands_still(*args: Any) -> list[Any]:
        begun.release()
        go_on.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", stands_still)
    resolve = make_resolver(reactor)
    waiting = [Deferred.fromCoroutine(resolve(f"slow-{number}.example")) for number in range(MOST + 8)]
    try:
        assert all(begun.acquire(timeout=10) for _ in range(MOST))
        assert not begun.acquire(timeout=0.05), "no more than may be at once"
        working = deferToThreadPool(reactor, pool.getThreadPool(), lambda: "done").addTimeout(5, pool)
        assert await working == "done"
    finally:
        go_on.set()
        for each in waiting:
            each.addErrback(lambda failure: None)
            each.cancel()
