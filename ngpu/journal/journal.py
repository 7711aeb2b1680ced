"""The journal of a gateway.

Whoever logs something that an operator should find later gives the log call a field more, ``journal=`` with one of
`KINDS`, and may name in ``workspace`` (its label), ``node``, ``replica`` and ``task_id`` what it is about, and in
``times`` how many it tells of. So nothing is written twice, and nobody needs to be handed the journal.
"""

from __future__ import annotations

import json
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import ILogObserver, LogEvent, LogLevel, LogPublisher, formatEvent, globalLogPublisher
from zope.interface import implementer

from ngpu.journal.kinds import KINDS, SEVERITIES
from ngpu.sharing import INews

KEPT = 2000
"""Events that are kept; older ones are forgotten. One takes about a kilobyte at most."""

WINDOW = 10.0
"""Seconds for which repeats of an event are counted, before they are told of as one."""

MOST_APART = 50
"""Events of one kind that are told of each by itself within a window; those above are told of as one."""

LONGEST = 500
"""Characters that a message is cut to."""

EVENTS = "events"
"""Topic on which gateways tell each other what they have put into their journals: an `Entry` as JSON."""


_ABOUT = ("workspace", "node", "replica", "task_id")


@dataclass(frozen=True, slots=True)
class Entry:
    """One event.

    :ivar id: grows with each one that is put into this gateway's journal, also over restarts: it is made of the time,
        in microseconds.
    :ivar time: seconds since the epoch at which it, or the last of its repeats, happened.
    :ivar workspace: the label of the workspace that it is about, "" of none; as for node, replica and task.
    :ivar gateway: where it happened: host and process.
    :ivar count: how many there were in the time that this tells of.
    """

    id: int
    time: float
    severity: str
    kind: str
    message: str
    workspace: str = ""
    node: str = ""
    replica: str = ""
    task: str = ""
    gateway: str = ""
    count: int = 1

    @property
    def about(self) -> tuple[str, str, str, str]:
        """What repeats of it have in common."""
        return (self.kind, self.workspace, self.node, self.replica)


@dataclass(slots=True)
class _Window:
    """A time in which repeats are counted: until when, how many, and the last one."""

    until: float
    count: int = 0
    last: Entry | None = None


_FIELDS = frozenset(each.name for each in fields(Entry))


@implementer(ILogObserver)
class Journal:
    """Of one gateway, in memory.

    An event is told at once. Repeats of it within `WINDOW` are counted and told of as one when that is over, so a storm
    fills the journal no faster than with an entry for each thing that it is about every `WINDOW` seconds.

    :param gateway: what to call this one.
    :param counted: told of each event that happens here, repeats too: its kind, its severity, how many; and at
        first of 0 of each kind of trouble, so that one is seen as one more.
    """

    def __init__(
        self,
        gateway: str,
        clock: IReactorTime,
        news: INews,
        publisher: LogPublisher = globalLogPublisher,
        counted: Callable[[str, str, int], None] = lambda kind, severity, times: None,
    ) -> None:
        self._counted = counted
        self._gateway = gateway
        self._clock = clock
        self._news = news
        self._publisher = publisher
        self._kept: deque[Entry] = deque(maxlen=KEPT)
        self._windows: dict[tuple[str, ...], _Window] = {}
        self._apart: Counter[str] = Counter()
        self._timer: IDelayedCall | None = None
        self._watchers: list[Callable[[], None]] = []
        self._deaf: Callable[[], None] = lambda: None
        self.last = 0
        for kind in KINDS:
            for severity in SEVERITIES[1:]:
                counted(kind, severity, 0)

    def start(self) -> None:
        """Begin to read the log, and to hear the others."""
        self._publisher.addObserver(self)
        self._deaf = self._news.hear(EVENTS, self._hear)

    def stop(self) -> None:
        """Read, and hear, no more."""
        self._publisher.removeObserver(self)
        self._deaf()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def watch(self, changed: Callable[[], None]) -> None:
        """Call this after each new entry; it must not raise."""
        self._watchers.append(changed)

    def after(self, id: int) -> Iterator[Entry]:
        """The entries that came after the one of that id, the oldest first; nothing may be added meanwhile."""
        newer = []
        for entry in reversed(self._kept):
            if entry.id <= id:
                break
            newer.append(entry)
        return reversed(newer)

    def __call__(self, event: LogEvent) -> None:
        """See `twisted.logger.ILogObserver`."""
        kind = event.get("journal")
        if kind is not None:
            self._happened(kind, event)

    def _happened(self, kind: str, event: LogEvent) -> None:
        now, level = self._clock.seconds(), event.get("log_level", LogLevel.info)
        workspace, node, replica, task = (str(event.get(name) or "") for name in _ABOUT)
        severity = SEVERITIES[(level >= LogLevel.warn) + (level >= LogLevel.error)]
        message = formatEvent(event)[:LONGEST]
        times = event.get("times", 1)
        self._count(Entry(0, now, severity, kind, message, workspace, node, replica, task, self._gateway, times), now)

    def _count(self, entry: Entry, now: float) -> None:
        self._counted(entry.kind, entry.severity, entry.count)
        about: tuple[str, ...] = entry.about
        if about not in self._windows and self._apart[entry.kind] >= MOST_APART:
            about = (entry.kind,)
        window = self._windows.get(about)
        if window is not None:
            window.count += entry.count
            window.last = entry
            return
        self._open(about, now)
        self._tell(entry)

    def _open(self, about: tuple[str, ...], now: float) -> None:
        self._windows[about] = _Window(now + WINDOW)
        self._apart[about[0]] += 1
        if self._timer is None:
            self._timer = self._clock.callLater(WINDOW, self._close)

    def _close(self) -> None:
        """End the windows that are over, and tell what they have counted; they stand in the order of their ends."""
        self._timer, now = None, self._clock.seconds()
        while self._windows:
            about, window = next(iter(self._windows.items()))
            if window.until > now:
                self._timer = self._timer or self._clock.callLater(window.until - now, self._close)
                return
            del self._windows[about]
            self._apart[about[0]] -= 1
            if window.last is not None:
                told = replace(window.last, count=window.count)
                if len(about) == 1:
                    told = replace(told, workspace="", node="", replica="", task="")
                self._open(about, now)  # so that what goes on is told of once in a while
                self._tell(told)

    def _tell(self, entry: Entry) -> None:
        entry = self._put(entry)
        self._news.say(EVENTS, json.dumps(asdict(entry)))

    def pass_on(self, words: str) -> None:
        """Put in, and tell the others, what somebody's journal says that they cannot hear."""
        self._hear(words)
        self._news.say(EVENTS, words)

    def _hear(self, words: str | None) -> None:
        if words is not None:
            said = json.loads(words)  # by another version, it may be, that says more
            self._put(Entry(**{name: said[name] for name in _FIELDS if name in said}))

    def _put(self, entry: Entry) -> Entry:
        self.last = max(self.last + 1, int(self._clock.seconds() * 1e6))
        entry = replace(entry, id=self.last)
        self._kept.append(entry)
        for changed in self._watchers:
            changed()
        return entry


def this_process() -> str:
    """What to call this gateway: its host and its process."""
    return f"{socket.gethostname()}:{os.getpid()}"
