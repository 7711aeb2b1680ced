"""What a test leaves behind on Twisted's reactor, which pytest-twisted itself does not look for.

Three kinds: calls that are still to come, sockets and pipes that are still watched, and failures that nobody handled
(logged with `Logger.failure`, and Deferreds that were collected with one inside). The reactor may need a few turns to
finish closing what a test has closed, so it gets up to SETTLE seconds before anything counts as left behind. Things
of fixtures with a wider scope count as theirs as long as they stay the same objects.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

SETTLE = 1.0
FAILED = pytest.StashKey[bool]()


class LeakWatch:
    """Watches one test."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._before = _on_reactor(reactor)
        self._logged: list[LogEvent] = []
        self._expected: list[type[BaseException]] = []
        globalLogPublisher.addObserver(self._observe)

    def expect(self, *kinds: type[BaseException]) -> None:
        """For a test that provokes it: failures of these kinds may be logged."""
        self._expected.extend(kinds)

    def end(self) -> list[str]:
        """Stop watching.

        :returns: what the test left behind, a line each.
        """
        left = self._settled()
        gc.collect()
        globalLogPublisher.removeObserver(self._observe)
        return [*map(_described, left), *(_told(event) for event in self._logged if not self._is_expected(event))]

    def clear(self) -> None:
        """Take away what a failed test has left behind, lest each test after it be blamed for that."""
        for thing in self._left():
            if hasattr(thing, "getTime"):
                thing.cancel()
            else:
                self._reactor.removeReader(thing)
                self._reactor.removeWriter(thing)

    def _left(self) -> list[Any]:
        known = {id(thing) for thing in self._before}
        return [thing for thing in _on_reactor(self._reactor) if id(thing) not in known]

    def _settled(self) -> list[Any]:
        deadline = time.monotonic() + SETTLE
        while (left := self._left()) and time.monotonic() < deadline:
            turned: Deferred[None] = Deferred()
            self._reactor.callLater(0.005, turned.callback, None)
            pytest_twisted.blockon(turned)
        return left

    def _observe(self, event: LogEvent) -> None:
        # a Deferred's end is told in two events, of which the second has the failure
        if event["log_level"] >= LogLevel.critical and _failure_of(event) is not None:
            self._logged.append(event)

    def _is_expected(self, event: LogEvent) -> bool:
        return _failure_of(event).check(*self._expected) is not None


def _failure_of(event: LogEvent) -> Any:
    return event.get("log_failure") or event.get("failure")  # that of twisted.python.log.err


def _on_reactor(reactor: Any) -> list[Any]:
    # the wakers of thread pools, signals and child processes are the reactor's own
    watched = {*reactor.getReaders(), *reactor.getWriters()} - set(reactor._internalReaders)
    return [*reactor.getDelayedCalls(), *watched]


def _described(thing: Any) -> str:
    return f"{'a delayed call' if hasattr(thing, 'getTime') else 'still open'}: {thing!r}"


def _told(event: LogEvent) -> str:
    failure = _failure_of(event)
    where = formatEvent(event) or "unhandled in a Deferred"
    return f"a logged failure: {where}: {failure.type.__name__}: {failure.getErrorMessage()}"


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[LeakWatch]:
    """Makes a test fail that leaves something behind; one that failed anyway is not blamed twice."""
    from twisted.internet import reactor

    watch = LeakWatch(reactor)
    yield watch
    leaks = watch.end()
    if request.node.stash.get(FAILED, False):
        watch.clear()
    elif leaks:
        pytest.fail("the test left behind:\n" + "\n".join(f"  {leak}" for leak in leaks), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Lets fixtures know how their test went."""
    report = yield
    if call.when == "call":
        item.stash[FAILED] = report.failed
    return report
