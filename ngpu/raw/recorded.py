"""The reply of a raw call on its way to its client, which gets no part of it whose record could be lost."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ngpu.direct import DirectCalls, LateRecord
from ngpu.interfaces import IBodySink
from ngpu.model import Outcome, ReplyHead, Task, TaskStatus
from ngpu.passing import PassedHead
from ngpu.relay import Over, Relay

NOT_KEPT = "passed through; the bodies were not kept"
"""What the record of a raw call says, where another one has bodies."""


class PassedReply(Protocol):
    """Where the reply goes: an `ngpu.interfaces.IBodySink` that cannot take back what it was given."""

    @property
    def begun(self) -> bool:
        """Whether the client has the head of a reply."""

    def started(self, task: Task) -> None:
        """The call has its record, and a replica; called again for each attempt."""

    def start(self, head: ReplyHead) -> Any:
        """See `ngpu.interfaces.IBodySink.start`."""

    def write(self, data: bytes) -> Any:
        """See `ngpu.interfaces.IBodySink.write`."""

    def relay(self, source: Any, count: int, over: Over) -> Relay | None:
        """Let the next bytes of the body pass by; see `ngpu.relay.relay_between`."""


@implementer(IBodySink)
class RecordedSink:
    """Lets no part of a reply out whose call has no record yet: its head tells the client the record's id.

    A reply that is there whole is an end, and has its record with that. What the end is to be is kept before the last
    byte goes out; where no length says which that is, that is what ends the reply, and comes after the call.

    :ivar over: nobody waits for the reply any more.
    :ivar outcome: of a reply that is there whole.
    """

    def __init__(self, reply: PassedReply, record: LateRecord, direct: DirectCalls) -> None:
        self.over = False
        self.outcome: Outcome | None = None
        self._direct = direct
        self._reply = reply
        self._record = record
        self._head = ReplyHead(0)
        self._left = 0

    def start(self, head: ReplyHead) -> Any:
        """See `IBodySink.start`."""
        if isinstance(head, PassedHead):
            if head.whole:
                self._foretell(head)
                return self._reply.start(head)
            self._head, self._left = head, head.length or 0
        return Deferred.fromCoroutine(self._start(head))

    def write(self, data: bytes) -> Any:
        """See `IBodySink.write`."""
        if self._left:
            self._left -= len(data)
            if not self._left:
                self._foretell(self._head)
        return self._reply.write(data)

    def relay(self, source: Any, count: int, over: Over) -> Relay | None:
        """See `PassedReply.relay`. The last byte does not pass by."""

        def passed(relay: Relay) -> None:
            self._left -= relay.taken
            over(relay)

        return self._reply.relay(source, count - 1, passed)

    def _foretell(self, head: ReplyHead) -> None:
        self.outcome = outcome_of(head)
        self._direct.foretell(self._record, self.outcome)

    async def _start(self, head: ReplyHead) -> None:
        await self._record.begin()
        if not self.over and (gate := self._reply.start(head)) is not None:
            await gate


def outcome_of(head: ReplyHead) -> Outcome:
    """How a call ends that has a whole reply."""
    content_type = (head.header(b"content-type") or b"").decode("latin-1")
    if head.status >= 400:
        reason = f"the worker answered HTTP {head.status} ({NOT_KEPT})"
        return Outcome(TaskStatus.FAILED, head.status, reason, head.status, content_type)
    return Outcome(TaskStatus.FINISHED, 200, NOT_KEPT, head.status, content_type)
