"""Workers with a queue of their own (wire contract §5): they take a job, give an id, and are asked until it ends.

Their codes stand in replies that are mostly HTTP 200, and mean what the worker's table says: in most of them 100 is
success and 200 an error. A code that is in no list counts as a failure, so that a job never hangs on a new one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ngpu.adapter import DEEPEST, JSON, MOST_VALUES, IConversation, WorkerReply, read_json
from ngpu.dialects.settings import member
from ngpu.errors import BadRequest, JobFailed, UpstreamError

LONGEST_SAID = 300
"""Characters of a worker's own words that go into a record's reason."""

LONGEST_ID = 500
"""Characters of a worker's id of a job at most: it goes into URLs and into the record."""

LONGEST_URL = 8192
"""Characters of a URL at most; no server takes a longer one."""

_URL = re.compile(r"(?i)https?://[^\s/]\S*")

_UNSURE = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of a poll's reply that say nothing about the job: it is asked again."""


@dataclass(frozen=True, slots=True)
class Submit:
    """How a job is handed over. ``path`` "": the task's own target. ``accepted``: codes that mean that it was taken."""

    method: str
    path: str
    ids: tuple[str, ...]
    accepted: frozenset[int]


@dataclass(frozen=True, slots=True)
class Poll:
    """How it is asked about: its id goes into the query as ``param``, or into a JSON body as ``field``; seconds."""

    method: str
    path: str
    param: str
    field: str
    interval: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """How it is taken back, where the worker can: ``{id}`` in the path stands for its id."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class QueueDialect:
    """One worker's way.

    :ivar name: in the reasons of records: "SadTalker".
    :ivar code, said: the fields of a reply that hold its code, and what the worker says about it.
    :ivar result: the field of the last reply that is the task's result, "" for all of it.
    :ivar url: the field of the last reply without whose URL it is no result, "" for none.
    """

    name: str
    submit: Submit
    poll: Poll
    done: frozenset[int]
    pending: frozenset[int]
    code: str = "result_code"
    said: str = "msg"
    result: str = ""
    cancel: Cancel | None = None
    url: str = ""

    async def run(self, work: IConversation, body: bytes) -> WorkerReply:
        """Hand the job over, unless the worker has it already, and follow it to its end.

        :raises JobFailed: the worker says so, or would not take it.
        :raises UpstreamError: the worker cannot be reached, or gave no id.
        """
        with work.part(self.name):
            if work.checkpoint is None:
                job = await self._hand_over(work, body)
                await work.save({"job": job})
            else:
                job = str(work.checkpoint["job"])
            reply = await work.poll_until(lambda: self._ask(work, job), self.poll.interval)
            return self._result(reply)

    async def withdraw(self, work: IConversation) -> None:
        """Take the job back, where it is known and the worker can."""
        if self.cancel is not None and work.checkpoint is not None:
            path = self.cancel.path.replace("{id}", quote(str(work.checkpoint["job"]), safe=""))
            await work.call(self.cancel.method, path, headers=JSON, body=b"{}")

    async def _hand_over(self, work: IConversation, body: bytes) -> str:
        target = self.submit.path or work.task.request.target
        reply = await work.call(self.submit.method, target, headers=JSON, body=body)
        document = reply.object()
        code = member(document, self.code)
        if reply.status >= 300 or (code is not None and not _among(code, self.submit.accepted)):
            raise JobFailed(f"would not take the job: {self.words(reply)}", reply)
        job = next((found for name in self.submit.ids if (found := member(document, name)) not in (None, "")), None)
        if not isinstance(job, str | int) or isinstance(job, bool):
            raise JobFailed(f"gave no task id: {self.words(reply)}", reply)
        if not is_text(str(job)) or len(str(job)) > LONGEST_ID:
            raise JobFailed("gave a task id that cannot be asked for: too long, or no text", reply)
        return str(job)

    async def _ask(self, work: IConversation, job: str) -> WorkerReply | None:
        """The reply once the job is done; ``None`` while it is not."""
        target, body = self.poll.path, b""
        if self.poll.param:
            target = f"{target}?{quote(self.poll.param)}={quote(job, safe='')}"
        if self.poll.field:
            body = json.dumps({self.poll.field: job}).encode()
        reply = await work.call(self.poll.method, target, headers=JSON if body else (), body=body)
        if reply.status in _UNSURE:
            raise UpstreamError(f"does not tell how the job stands: {self.words(reply)}")
        document = reply.object()
        code = member(document, self.code)
        if reply.status >= 300 or code is None:
            raise JobFailed(f"does not know the job any more: {self.words(reply)}", reply)
        if _among(code, self.done):
            return reply
        if not _among(code, self.pending):
            raise JobFailed(f"the job failed: {self.words(reply)}", reply)
        work.progress(f"{self.name}: {member(document, self.said) or 'at work'}"[:LONGEST_SAID])
        return None

    def _result(self, reply: WorkerReply) -> WorkerReply:
        """What of the last reply is the result.

        :raises JobFailed: the worker says that it is done, and what it should have made is not there.
        """
        document = reply.object()
        if self.url and url_in(document, self.url) is None:
            raise JobFailed(f"says that the job is done, and gives no {self.url}: {self.words(reply)}", reply)
        if not self.result:
            return reply
        value = member(document, self.result)
        if value is None:
            raise JobFailed(f"says that the job is done, and gives no {self.result}: {self.words(reply)}", reply)
        if isinstance(value, str):
            return WorkerReply(
                200, ((b"Content-Type", b"text/plain; charset=utf-8"),), value.encode("utf-8", "replace")
            )
        return WorkerReply(200, JSON, json.dumps(value).encode())

    def words(self, reply: WorkerReply) -> str:
        """A worker's reply in a few words, for people."""
        document = reply.object()
        code, said = member(document, self.code), member(document, self.said) or document.get("detail")
        told = said if isinstance(said, str) else json.dumps(said) if said else reply.body.decode("utf-8", "replace")
        where = f"HTTP {reply.status}" if reply.status != 200 else f"code {code}" if code is not None else "no code"
        return f"{where}: {told}"[:LONGEST_SAID]


def _among(code: Any, table: frozenset[int]) -> bool:
    """Whether a worker's code, which may be anything, is one of these numbers."""
    return type(code) is int and code in table


def is_text(value: str) -> bool:
    """Whether it can be written as UTF-8; JSON may hold halves of surrogate pairs, which cannot."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def url_in(document: Mapping[str, Any], name: str) -> str | None:
    """The http(s) URL under that name; ``None`` where something else stands there, or nothing."""
    value = member(document, name)
    if not isinstance(value, str) or len(value) > LONGEST_URL:
        return None
    return value if _URL.fullmatch(value) and is_text(value) else None


def object_of(request: bytes, what: str) -> dict[str, Any]:
    """A request that must be a JSON object.

    :raises BadRequest: it is none.
    """
    try:
        value = read_json(request, _refuse)
    except ValueError:
        value = None
    if not isinstance(value, Mapping):
        size = f"of at most {MOST_VALUES} values, nested no more than {DEEPEST} deep"
        raise BadRequest(f"{what} takes a JSON object {size}, without NaN")
    return dict(value)


async def check_urls(fields: Mapping[str, Any], names: Iterable[str], urls: Any) -> None:
    """See that what stands under these names may be fetched by a worker, where anything does; dots lead into objects.

    :raises BadRequest: it may not.
    """
    for name in names:
        for value in (fields.get(name), member(fields, name) if "." in name else None):
            if value not in (None, ""):
                await urls.check(value, name)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
