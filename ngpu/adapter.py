"""Apps' adapters: the port between an app and the workers behind it, and what a plugin of the family builds on.

An adapter knows a dialect of workers: how a job is submitted, asked about and cancelled. It never sees a socket; it
gets an `IConversation`, which holds a slot of a replica from its beginning to its end, and is what the gateway keeps of
the job: its checkpoint, its deadline, its record.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeVar

from zope.interface import Attribute, Interface

from ngpu.errors import JobFailed
from ngpu.model import Task

T = TypeVar("T")
Headers = tuple[tuple[bytes, bytes], ...]
JSON: Headers = ((b"Content-Type", b"application/json"),)

DEEPEST = 200
"""How deep a worker's JSON may be nested; what is deeper could be read here, and then be too deep for a customer."""

MOST_VALUES = 1_000_000
"""How many values a JSON document may have here: to read more holds everybody up for seconds."""

# Up to the next mark outside strings, or the end. It never fails, or each byte would be tried as another beginning.
_UP_TO_MARK = re.compile(rb'(?:[^"\[{,]++|"(?:[^"\\]++|\\.)*+"?)*+[\[{,]?', re.DOTALL)

DEADLINE = 1800.0
"""Seconds that a conversation may take unless its adapter says otherwise: half an hour."""


@dataclass(frozen=True, slots=True)
class WorkerReply:
    """What a worker answered, whole."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    @property
    def content_type(self) -> str:
        """Its Content-Type, "" where it has none."""
        return next((value.decode("latin-1") for name, value in self.headers if name.lower() == b"content-type"), "")

    def object(self) -> Mapping[str, Any]:
        """The body as a JSON object; an empty one where it is something else, or nested too deep.

        :raises JobFailed: it has more than `MOST_VALUES` values.
        """
        try:
            value = read_json(self.body)
        except TooManyValues:
            raise JobFailed(f"answered with more than {MOST_VALUES} JSON values") from None
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class TooManyValues(ValueError):
    """A JSON document has more than `MOST_VALUES` values."""


def read_json(data: bytes, constant: Callable[[str], Any] = lambda name: None) -> Any:
    """A JSON document, as a worker writes it.

    :param constant: what stands for NaN and Infinity, which workers write and JSON does not have; ``None`` does.
    :raises ValueError: it is none, or nested more than `DEEPEST` deep; `TooManyValues`.
    """
    marks = data.count(b",") + data.count(b"[") + data.count(b"{")
    if marks > MOST_VALUES:  # some of them may stand in strings
        marks = sum(1 for _ in islice(_UP_TO_MARK.finditer(data), MOST_VALUES + 1))
    if marks > MOST_VALUES:
        raise TooManyValues(f"more than {MOST_VALUES} values")

    def number(digits: str) -> Any:
        value = float(digits)
        return value if math.isfinite(value) else constant(digits)

    try:
        document = json.loads(data, parse_constant=constant, parse_float=number)
    except RecursionError:
        raise ValueError("nested too deep") from None
    level, depth = [document] if data.count(b"[") + data.count(b"{") > DEEPEST else [], 0
    while level:
        level = [inner for each in level for inner in _members(each) if isinstance(inner, dict | list)]
        depth += 1
        if depth > DEEPEST:
            raise ValueError("nested too deep")
    return document


def _members(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


class Peer(NamedTuple):
    """Another workspace that an adapter calls; ``port`` is a declared one, ``None`` the first.

    ``path`` leads from the adapter's options to the block that has ``workspace`` and ``port``, for the configuration's
    report.
    """

    workspace: str
    port: int | None
    path: tuple[str, ...]


class IUrlCheck(Interface):
    """Where URLs that customers send may lead (``egress``)."""

    async def check(url: Any, name: str) -> None:
        """See that a worker may be told to fetch this.

        :param name: of the field that it came in.
        :raises BadRequest: it is no http(s) URL, or leads, by its host or what that resolves to, to a private,
            loopback, link-local or otherwise special address outside ``egress.allow``.
        """


class IConversation(Interface):
    """One job: what its adapter may do, and what is known of it."""

    task: Task = Attribute("The record, as of when the conversation began, or went on after a restart.")
    request: bytes = Attribute("What the customer sent for the worker.")
    checkpoint: Mapping[str, Any] | None = Attribute("What was saved last; None: nothing was yet.")

    async def call(
        method: str,
        target: str,
        port: int | None = None,
        headers: Headers = (),
        body: bytes = b"",
        workspace: str | None = None,
        timeout: float | None = None,
    ) -> WorkerReply:
        """Make a call to the conversation's replica, or to any replica of another workspace, in its own line.

        Until the conversation's replica has answered for the first time, a call that fails goes to another one under
        the workspace's ``retry``; from then on it stays where it is. Calls elsewhere follow that workspace's
        ``retry`` and ``timeout``, and pass no gate.

        :param target: path and query, beginning with a slash.
        :param port: a declared port; ``None``: the task's, or the other workspace's first.
        :param timeout: seconds; ``None``: the workspace's.
        :raises UpstreamError: it failed. A reply with an error status is a reply.
        :raises NoReplica: no replica of the other workspace became free.
        """

    async def save(checkpoint: Mapping[str, Any]) -> None:
        """Keep durably that the worker has the job. After a restart ``run`` is called with this checkpoint, on the
        same replica; a task without one ends there as "outcome unknown". In records its state is 4 from now on.
        """

    async def sleep(seconds: float) -> None:
        """Wait, on the gateway's clock."""

    async def poll_until(ask: Callable[[], Awaitable[T | None]], interval: float) -> T:
        """Ask, every ``interval`` seconds, until there is an answer that is not ``None``.

        A worker that cannot be reached for a while may come back: only what ``ask`` raises of UpstreamError for longer
        than a minute is raised here.
        """

    def progress(text: str) -> None:
        """Say how far it is; queryTask tells it as ``progress``."""

    def part(name: str) -> AbstractContextManager[None]:
        """``with`` this, whatever fails is named in the record: "text to speech: …"."""

    async def publish(data: bytes, content_type: str) -> str:
        """A URL under which a worker can fetch these bytes for a while.

        :raises Unavailable: the configuration has no ``media.url``.
        """


class IAppAdapter(Interface):
    """How an app's requests become calls to workers. `Adapter` has defaults for all but ``run``."""

    direct: bool = Attribute("Whether requests are passed through in one call: then `run` is never called.")
    flat: bool = Attribute("Whether a body is the request itself, with btc_address in it, and no envelope.")
    mode: Literal["sync", "async"] = Attribute("How a submission answers where neither caller nor app says.")
    deadline: float = Attribute("Seconds that a conversation may take, from its first call on.")
    peers: Sequence[Peer] = Attribute("The other workspaces that it calls.")

    async def check(request: bytes, urls: Any) -> None:
        """Look at a request before it is taken in. Its customer waits for that, half a minute at most.

        :param urls: an `IUrlCheck`.
        :raises BadRequest: no worker could do anything with it.
        """

    async def run(work: Any) -> WorkerReply:
        """Take a job to its end, or, where ``work.checkpoint`` says that a worker has it, go on with it.

        :param work: an `IConversation`.
        :returns: what becomes the task's result; an error status makes it fail.
        :raises JobFailed: the worker says that it failed.
        :raises NgpuError: it failed otherwise. Anything else that is raised costs the task, and is logged.

        Where it is cut off (a CancelledError at an ``await``) it has to end. One that goes on does so without its slot:
        nothing of ``work`` that is awaited comes back any more.
        """

    async def cancel(work: Any) -> None:
        """Tell the worker that nobody wants the result any more, as far as its dialect can.

        Called after ``run`` was cut off: by cancelTask, a client that left, or the deadline; not when the gateway
        stops. The slot is kept meanwhile, for a few seconds at most; what is raised is only logged.
        """

    def status(task: Task | None, result: bytes) -> Mapping[str, Any] | None:
        """The reply of ``GET /user/<app>?taskID=``, always HTTP 200.

        :param task: ``None`` for an unknown id.
        :param result: of a task that has one; empty where it is large.
        :returns: ``None`` to answer as queryTask does.
        """


class Adapter:
    """The defaults of an adapter: an asynchronous conversation that takes envelopes and answers as queryTask does."""

    direct: bool = False
    flat: bool = False
    mode: Literal["sync", "async"] = "async"
    deadline: float = DEADLINE
    peers: Sequence[Peer] = ()

    async def check(self, request: bytes, urls: Any) -> None:
        """See `IAppAdapter.check`."""

    async def cancel(self, work: Any) -> None:
        """See `IAppAdapter.cancel`."""

    def status(self, task: Task | None, result: bytes) -> Mapping[str, Any] | None:
        """See `IAppAdapter.status`."""
        return None


def flaws(adapter: Any) -> Iterator[str]:
    """What is wrong with what an adapter says of itself, a clause each."""
    for name in ("direct", "flat"):
        if not isinstance(getattr(adapter, name), bool):
            yield f"{name} is {getattr(adapter, name)!r}, and neither True nor False"
    if adapter.mode not in ("sync", "async"):
        yield f'mode is {adapter.mode!r}, and neither "sync" nor "async"'
    if not isinstance(adapter.deadline, int | float) or not 0 < adapter.deadline < float("inf"):
        yield f"deadline is {adapter.deadline!r}, and no number of seconds"
    if not isinstance(adapter.peers, Sequence) or not all(isinstance(peer, Peer) for peer in adapter.peers):
        yield f"peers are {adapter.peers!r}, and not each a Peer"
