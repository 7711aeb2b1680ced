"""The ports of ngpu: what a plugin implements and what the rooms expect of each other.

The contract of a method stands here, once; implementations do not repeat it. Methods that are ``async`` return
coroutines that await Deferreds only; any of them may be cancelled at an ``await``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from zope.interface import Attribute, Interface

from ngpu.limits import ILimits, Quota
from ngpu.listing import TaskPage, TaskQuery
from ngpu.model import (
    Body,
    Candidate,
    Holdings,
    Outcome,
    Placement,
    ReplyHead,
    SelectionRequest,
    Task,
    TaskStatus,
    UpstreamRequest,
)
from ngpu.outbox import IOutbox
from ngpu.passing import Stream
from ngpu.queue import IQueue


class PluginContext(NamedTuple):
    """What a plugin's instance may use of the process around it.

    ``clock`` is a ``twisted.internet.interfaces.IReactorTime``, and in a gateway the reactor itself; ``rng`` a
    ``random.Random``, ``folder`` the folder that relative paths of its options are taken from, ``fetcher`` an
    `IFetcher`. ``make(family, name, options)`` makes an instance of another plugin, for those that are built out of
    others; it raises ConfigError with the path ``()`` when there is no such plugin, else one that begins with
    ``"options"``. A test needs to give only what it uses.
    """

    clock: Any
    rng: Any
    folder: str
    fetcher: Any = None
    make: Callable[[str, str, Mapping[str, Any]], Any] | None = None


class Option(NamedTuple):
    """One option of a plugin, for ``ngpu plugins`` and for the check of a block's keys.

    ``unit`` says what a number counts ("blocks"), or what a text is ("URL", "duration", "file").
    """

    name: str
    meaning: str
    default: Any = None
    unit: str = ""


class IPluginFactory(Interface):
    """A named, stateless maker of instances; one instance is made for each configuration block that names it."""

    family: str = Attribute("Which family it belongs to; `ngpu.families` lists them.")
    name: str = Attribute("The name that configuration blocks use, snake_case.")
    summary: str = Attribute("One line for `ngpu plugins`.")
    options: Sequence[Option] = Attribute("Every option it takes; a block with another one is refused.")

    def from_options(options: Mapping[str, Any], context: PluginContext) -> Any:
        """Make an instance.

        :param options: the block's options, with known names only.
        :raises ConfigError: with the path of the option that is wrong.
        """


class FetchRequest(NamedTuple):
    """A request to a service outside the fleet.

    ``url`` is absolute and percent-encoded, its scheme http or https; ``headers`` come beside Host, Content-Length,
    Accept-Encoding and User-Agent.
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Fetched(NamedTuple):
    """A reply, whole. ``retry_after`` is its Retry-After (RFC 9110 §10.2.3) in seconds, ``None`` where it has none."""

    status: int
    body: bytes
    retry_after: float | None = None


class IFetcher(Interface):
    """Small requests to services outside the fleet."""

    async def fetch(request: FetchRequest, timeout: float, limit: int = 1 << 20) -> Fetched:
        """Send it and return the reply, whatever its status is.

        Certificates are verified. No redirect is followed, no cookie kept, nothing unpacked. Cancelling aborts the call
        and closes its connection.

        :param timeout: seconds for the whole of it.
        :param limit: the longest body in bytes, by default 1 MiB.
        :raises PayloadTooLarge: the body is longer.
        :raises FetchFailed: there was no whole reply.
        """


class ISelectionPolicy(Interface):
    """Chooses the replica for a request."""

    def select(replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """Choose one of ``replicas``, which are all healthy and have a free slot; ``None`` lets the request wait.

        Synchronous and without I/O. ``replicas`` is never empty, its order means nothing and changes between calls,
        and it must not be changed. Replicas that failed often of late are among them only while there are no others.
        A choice that raises, or is none of ``replicas``, costs this request: PolicyFailed.
        """


class IInscriptionChecker(Interface):
    """Asks a source what a Bitcoin address holds."""

    async def holdings(address: str, tickers: Sequence[str]) -> Holdings:
        """The overall balances (available and transferable) of ``tickers`` at ``address``, those above zero.

        A gate gives up after 10 seconds, and asks once however many callers wait for the same address.

        :param address: valid; those that compare in any case (BIP-173) in lower case.
        :param tickers: as the gate spells them, no two the same; they compare in lower case.
        :raises CheckerUnavailable: when the source cannot tell. Never a guess.
        """


class IBodySink(Interface):
    """Where the body of a replica's reply goes while it arrives."""

    def start(head: ReplyHead) -> Any:
        """A reply begins; whatever an earlier attempt had written is dropped. Returns as `write` does."""

    def write(data: bytes) -> Any:
        """Take some bytes.

        :returns: ``None``, or a Deferred: no more is written until it has fired.
        :raises NgpuError: the call is aborted and fails with this.
        """


class IForwarder(Interface):
    """One call to one replica; it neither chooses nor retries."""

    async def send(
        host: str, port: int, request: UpstreamRequest, body: Stream, sink: Any, timeout: float
    ) -> ReplyHead:
        """Send the request, stream the reply's body into ``sink``, and return once the whole of it was taken.

        Cancelling aborts the call and closes its connection.

        :param timeout: seconds for the whole call, connecting included.
        :raises DialFailed: no byte was sent.
        :raises CallCut: the connection broke after that.
        :raises BadReply: the reply breaks RFC 9112 or a limit.
        :raises CallTimeout: it took too long.
        """


Last = tuple[int, bytes] | None
"""Index and bytes of a body's last piece, not yet written."""


class ITaskStore(IQueue, IOutbox, ILimits):
    """Where task records live. Every method is durable when its Deferred fires, and atomic.

    :raises StoreUnavailable: from each of them, when the store cannot read or write, or is closed.
    """

    def add(
        task: Task,
        request: Body,
        queue_limit: int | None = None,
        quota: Quota | None = None,
        result: bytes = b"",
    ) -> Awaitable[Task]:
        """Store a new task, in the status it has (QUEUED: it waits to be claimed), with its request's bytes.

        QUEUED tasks wait in the order of ``place``, of two alike the one that was added first; but never before one of
        their workspace and priority that came before and has not ended, whose ``place`` they get where it is higher.

        :param queue_limit: refuse when the workspace already has that many QUEUED tasks.
        :param quota: count the task; refuse when so many were counted in its window already.
        :param result: of a task that has ended already; no more than CHUNK bytes.
        :returns: the task with its ``number`` and ``place``; or, with nothing stored, counted or refused, the one that
            the workspace has of its ``idempotency_key`` already.
        :raises QueueFull, OverLimit: at a limit; nothing was stored.
        :raises Conflict: there is a task of that id.
        """

    async def add_ended(tasks: Sequence[Task]) -> None:
        """Store ended tasks, without bodies; one that is there ends so where it is RUNNING in the same attempt."""

    async def claim(workspace: str, placement: Placement, now: float) -> Task | None:
        """Take the first of the workspace's unexpired QUEUED tasks, if any: RUNNING, ``attempt`` one higher, placed."""

    async def reattempt(task_id: str, attempt: int, placement: Placement) -> int | None:
        """Begin another attempt of a RUNNING task on another replica, whose chunks so far are dropped.

        :returns: the new fencing number, or ``None`` when ``attempt`` is no longer the current one.
        """

    async def save_checkpoint(task_id: str, attempt: int, checkpoint: str) -> bool:
        """Keep where a RUNNING task's conversation stands; another attempt and the queue forget it again.

        :returns: false, and nothing kept, when it is not RUNNING or ``attempt`` is not the current one.
        """

    async def requeue(task_id: str, attempt: int) -> bool:
        """Put a RUNNING task back where it was in the queue; false when ``attempt`` is no longer the current one."""

    async def write_result(task_id: str, attempt: int, index: int, data: bytes) -> None:
        """Keep piece ``index`` (from 0, all but the last of CHUNK bytes) of a result on its way; seen after finish."""

    def finish(
        task_id: str, attempt: int, outcome: Outcome, now: float, last: Last, hurry: bool = True
    ) -> Awaitable[bool]:
        """End a RUNNING task.

        :param last: of the result; ``None`` where there is no result.
        :param hurry: false where nobody waits for it, so that it may stand back for others for a moment.
        :returns: false, and nothing changed, when it is not RUNNING or ``attempt`` is not the current one.
        :raises ResultLost: pieces of it are not there any more; nothing changed.
        """

    async def cancel(task_id: str, now: float) -> TaskStatus | None:
        """Cancel a QUEUED or RUNNING task (its attempt is fenced off). It has no outcome but its status.

        :returns: the status it had before: one that has ended stays as it is. ``None``: there is no such task.
        """

    async def expire(now: float) -> Sequence[tuple[str, str]]:
        """End QUEUED tasks whose ``expires_at`` has come as EXPIRED; (workspace, task id) of a bounded number."""

    async def orphans() -> Sequence[Task]:
        """Take over some RUNNING tasks whose gateway is gone, each in a new attempt; first before any claim."""

    async def running() -> Sequence[tuple[str, int]]:
        """Id and attempt of each RUNNING task that is this gateway's own."""

    async def purge(ended_before: Mapping[str, float], otherwise: float) -> int:
        """Forget ended tasks, with their bodies, a bounded number at a time.

        :param ended_before: for each workspace, the time before which its tasks must have ended.
        :param otherwise: the same for tasks of workspaces that are not named there.
        :returns: how many; 0 when none is left.
        """

    async def get(task_id: str) -> Task | None:
        """The record, without its bodies."""

    async def list(query: TaskQuery) -> TaskPage:
        """Tasks by workspace, node, address and time of submission, oldest first unless ``newest`` says otherwise.

        :raises BadRequest: a cursor that this store never gave.
        """

    async def queued(workspace: str) -> int:
        """How many tasks are QUEUED."""

    def request_body(task: Task) -> Body:
        """The request's bytes; reading them raises NotFound once the task was purged."""

    def result_body(task: Task) -> Body:
        """The result's bytes of a task that has an outcome."""

    async def close() -> None:
        """Finish what was begun and let go of files and threads."""


class IDocuments(Interface):
    """Small JSON documents that outlive the process: what is wanted of the fleet, and where its copies are.

    Each call is durable when its Deferred fires, and atomic.

    :raises StoreUnavailable: from each of them, when the store cannot read or write, or is closed.
    """

    async def put(collection: str, key: str, document: Mapping[str, Any]) -> None:
        """Keep a document; one of that key is replaced."""

    async def delete(collection: str, key: str) -> bool:
        """Forget a document; false when there is none."""

    async def documents(collection: str) -> Mapping[str, Mapping[str, Any]]:
        """All documents of a collection, by key and in the order of their keys."""
