"""A result while it arrives: small ones stay in memory, large ones go to the store piece by piece."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ngpu.errors import ResultTooLarge
from ngpu.interfaces import IBodySink
from ngpu.model import CHUNK, DataForm, Outcome, ReplyHead, Task, TaskStatus
from ngpu.tasks.records import Records
from ngpu.wire.grammar import TextCheck

_NONE = ReplyHead(0)


@implementer(IBodySink)
class ResultSink:
    """Takes the body of a worker's reply for one task, whose record is `task`: its attempt and place may change.

    :param limit: bytes that a result may have; a larger one fails the call.
    """

    def __init__(self, store: Records, task: Task, limit: int) -> None:
        self.task = task
        self.head = _NONE
        self.size = 0
        self._store = store
        self._limit = limit
        self._pieces = 0
        self._buffer = bytearray()
        self._check: TextCheck | None = None

    def start(self, head: ReplyHead) -> None:
        """See `IBodySink.start`."""
        self.head = head
        self.size = 0
        self._pieces = 0
        self._buffer = bytearray()
        self._check = None

    def write(self, data: bytes) -> Any:
        """See `IBodySink.write`."""
        self.size += len(data)
        if self.size > self._limit:
            raise ResultTooLarge(
                f"the worker's reply is larger than the workspace's result_limit of {self._limit} bytes"
            )
        if self._check is None:
            self._check = TextCheck(json=self.task.form is DataForm.OBJECT)
        self._check.feed(data)
        self._buffer += data
        return Deferred.fromCoroutine(self._flush()) if len(self._buffer) > CHUNK else None

    async def _flush(self) -> None:
        """Write all whole pieces but the last, which `finish` of the store takes."""
        buffer = self._buffer
        while len(buffer) > CHUNK and buffer is self._buffer:  # a later attempt's bytes are not this write's to keep
            piece = bytes(buffer[:CHUNK])
            del buffer[:CHUNK]
            index, self._pieces = self._pieces, self._pieces + 1
            await self._store.write_result(self.task.id, self.task.attempt, index, piece)

    @property
    def last(self) -> tuple[int, bytes]:
        """Index and bytes of the piece that is not written yet."""
        return self._pieces, bytes(self._buffer)

    def outcome(self) -> Outcome:
        """What the reply makes of the task; to be asked for once, after the last byte."""
        text, json = (True, False) if self._check is None else self._check.finish()
        status, code, reason = _verdict(self.head)
        return Outcome(
            status,
            code,
            reason,
            self.head.status,
            (self.head.header(b"content-type") or b"").decode("latin-1"),
            self.size,
            text,
            json,
        )


def _verdict(head: ReplyHead) -> tuple[TaskStatus, int, str]:
    if head.status < 300:
        return TaskStatus.FINISHED, 200, ""
    if head.status < 400:
        where = (head.header(b"location") or b"elsewhere").decode("latin-1")[:200]
        reason = f"the worker answered {head.status}, a redirect to {where}, and redirects are not followed"
        return TaskStatus.FAILED, 502, reason
    return TaskStatus.FAILED, head.status, f"the worker answered HTTP {head.status}"
