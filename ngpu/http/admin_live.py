"""The admin API's stream of what happens: nodes and workspaces as they change, and events (WHATWG HTML §9.2)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import StoreUnavailable, Unavailable
from ngpu.http.admin import AdminRoute, parameter
from ngpu.http.admin_events import Telling, event_id
from ngpu.http.admin_fleet import AdminFleet
from ngpu.http.admin_workspaces import AdminWorkspaces
from ngpu.http.reply import Reply
from ngpu.http.server import NgpuRequest
from ngpu.http.streaming import COME_BACK, FIELDS, HEARTBEAT
from ngpu.journal import Journal
from ngpu.sharing import Alone
from ngpu.tasks.watches import Watches
from ngpu.wire.stream import dump

LOOK_EVERY = 1.0
"""Seconds between looks at nodes and workspaces, while somebody listens."""

MOST = 32
"""Streams at once."""

State = Callable[[], Awaitable[Mapping[str, Any]]]
"""Gives what is told of as it changes; may raise StoreUnavailable."""


class AdminLive:
    """The route, and what its streams share.

    A stream holds back nothing: it goes on with the state of the moment, and with the events that the journal has, once
    its client has taken what came before. One whose client takes nothing for ``write_timeout`` is cut.

    """

    log = Logger("ngpu.http")

    def __init__(self, state: State, journal: Journal, telling: Telling, clock: IReactorTime) -> None:
        self._state = state
        self._journal = journal
        self._telling = telling
        self._clock = clock
        self._watches = Watches(clock, Alone.news)
        self._seen: bytes | None = None
        self._open = 0
        self._closed = False
        self._looks: LoopingCall | None = None  # while somebody listens
        journal.watch(self._wake)

    @property
    def routes(self) -> Sequence[AdminRoute]:
        """All of them."""
        return (("GET", "/live", self.live),)

    async def live(self, request: NgpuRequest) -> Reply:
        """``Last-Event-ID``, or ``?after=`` where nothing can set it, is that of the last event that is known there."""
        shown = request.getHeader("last-event-id")
        after = event_id(parameter(request, "after"), "after")  # read in any case: what is wrong is refused
        after = event_id(shown, "Last-Event-ID") if shown else after
        if request.method == b"HEAD":
            return Reply(b"", headers=FIELDS)
        if self._closed or self._open >= MOST:
            raise Unavailable("as many streams are open as may be at once; ask for /nodes and /events instead", 30)
        return Reply(self._stream(self._journal.last if after is None else after), headers=FIELDS)

    def close(self) -> None:
        """End all streams: their clients come back to the next process."""
        self._closed = True
        self._wake()

    async def _stream(self, after: int) -> AsyncGenerator[bytes, None]:
        self._open += 1
        if self._looks is None:
            self._seen = None
            # a new one each time: one that is stopped in the middle of a look does not take being started again
            self._looks = LoopingCall(self._look)
            self._looks.clock = self._clock
            self._looks.start(LOOK_EVERY)
        told: bytes | None = None
        try:
            yield b"retry: %d\n\n" % COME_BACK
            quiet_since = self._clock.seconds()
            while not self._closed:
                # the watch begins before the look, so that nothing happens unseen between them
                change = self._watches.watch("", HEARTBEAT)
                try:
                    now = self._clock.seconds()
                    pieces, after = self._events(after)
                    if self._seen is not None and self._seen is not told:
                        told = self._seen
                        pieces.append(_state_event(told))
                    if pieces:
                        yield b"".join(pieces)
                        quiet_since = now
                    elif now - quiet_since >= HEARTBEAT:
                        # pages see no comments: one that hears nothing for longer says that what it shows may be old
                        yield b": still there\n\n" if told is None or self._seen is None else _state_event(told)
                        quiet_since = now
                    await change
                finally:
                    change.addErrback(lambda failure: failure.trap(CancelledError))
                    change.cancel()
        finally:
            self._open -= 1
            if not self._open and self._looks is not None:
                self._looks.stop()
                self._looks = None

    def _events(self, after: int) -> tuple[list[bytes], int]:
        entries = list(self._journal.after(after))
        pieces = [
            b"event: event\nid: %d\ndata: %b\n\n" % (each["id"], dump(each)) for each in self._telling.shown(entries)
        ]
        return pieces, entries[-1].id if entries else after

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._look_now()).addErrback(self._stumbled)

    async def _look_now(self) -> None:
        seen = dump(await self._state())
        if seen != self._seen:
            self._seen = seen
            self._wake()

    def _stumbled(self, failure: Failure) -> None:
        self._seen = None  # nobody knows any more
        if not failure.check(CancelledError, StoreUnavailable):
            self.log.failure("a look for those who watch stumbled", failure=failure)

    def _wake(self) -> None:
        self._watches.wake_all()


def _state_event(state: bytes) -> bytes:
    return b"event: state\ndata: " + state + b"\n\n"


def state_of(fleet: AdminFleet, workspaces: AdminWorkspaces) -> State:
    """What `AdminLive` tells of: as ``GET /nodes`` and ``GET /workspaces`` do."""

    async def state() -> Mapping[str, Any]:
        return {"nodes": fleet.all_nodes(), "workspaces": await workspaces.all_workspaces()}

    return state
