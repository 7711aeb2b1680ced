"""A gateway without sockets: the real rooms over a store, a forwarder and a clock that do as a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ngpu.backlog import Backlog
from ngpu.calls import Caller
from ngpu.direct import DirectCalls, Spool
from ngpu.discovery import discover
from ngpu.errors import StoreUnavailable
from ngpu.gates import Gate
from ngpu.gateway import Gateway, Submission
from ngpu.interfaces import PluginContext
from ngpu.line import Line
from ngpu.metrics import Metrics
from ngpu.model import Body, BytesBody, DataForm, Node, Replica, Task, UpstreamRequest
from ngpu.pool import Pool
from ngpu.settings import Workspace
from ngpu.tasks.dispatcher import Dispatcher
from ngpu.tasks.runs import Runs
from ngpu.tenancy import Access
from ngpu.testing.forwarder import Answer, FakeForwarder
from ngpu.testing.store import MemoryTaskStore, Shelf
from ngpu.waiting import Handle, shielded

T = TypeVar("T")

NODE = Node("0xAB01", "10.0.0.1")
WORKSPACE = "367614711220405248"
STARTED = 1_700_000_000.0
NO_SPOOL = Spool(Path())  # not opened: nothing is kept


class ScriptedStore:
    """A store in memory whose operations a test can hold or have refused.

    As in the embedded store, a caller that is cancelled stops waiting, and its write is made nevertheless.

    :ivar refusing: names of operations that raise StoreUnavailable.
    :ivar holding: names of operations that wait for `release`.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.inner = MemoryTaskStore(shelf)
        self.refusing: set[str] = set()
        self.holding: set[str] = set()
        self.asked: list[str] = []
        self._held: list[Deferred[None]] = []

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.inner, name)
        if name == "result_body":
            return operation
        if name == "request_body":
            return lambda task: _RefusableBody(self, operation(task))

        async def scripted(*args: Any, **kwargs: Any) -> Any:
            self.asked.append(name)
            if name in self.refusing:
                raise StoreUnavailable("the disk is full")
            if name not in self.holding:
                return await operation(*args, **kwargs)
            held: Deferred[None] = Deferred()
            self._held.append(held)

            async def later() -> Any:
                await held
                if name in self.refusing:
                    raise StoreUnavailable("the disk is full")
                return await operation(*args, **kwargs)

            return await shielded(Deferred.fromCoroutine(later()))

        return scripted

    def release(self) -> None:
        """Let everything go on that is held, and hold nothing more."""
        self.holding.clear()
        while self._held:
            self._held.pop(0).callback(None)


@dataclass(frozen=True)
class _RefusableBody:
    """Raises StoreUnavailable before each piece while "request_body" is refused."""

    store: ScriptedStore
    body: Body

    @property
    def length(self) -> int:
        return self.body.length

    async def chunks(self) -> AsyncIterator[bytes]:
        async for data in self.body.chunks():
            if "request_body" in self.store.refusing:
                raise StoreUnavailable("the store is away")
            yield data


@dataclass
class Watched:
    """What a coroutine has come to, if it has."""

    deferred: Deferred[Any]
    results: list[Any]

    @property
    def over(self) -> bool:
        return bool(self.results)

    @property
    def value(self) -> Any:
        """Its result; raises what it raised."""
        assert self.results, "it still waits"
        if isinstance(self.results[0], Failure):
            self.results[0].raiseException()
        return self.results[0]

    @property
    def error(self) -> BaseException:
        assert self.results and isinstance(self.results[0], Failure), f"no failure: {self.results}"
        return self.results[0].value


def begun(work: Awaitable[Any]) -> Watched:
    """Start a coroutine."""
    deferred = Deferred.fromCoroutine(work) if not isinstance(work, Deferred) else work
    watched = Watched(deferred, [])
    deferred.addBoth(lambda result: watched.results.append(result))
    return watched


def done(work: Awaitable[T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    return begun(work).value


def called(gateway: Gateway, submission: Submission) -> Watched:
    """Start a call whose client waits."""
    work = Handle()
    watched = begun(gateway.call(submission, work))
    work.work = watched.deferred
    return watched


def workspace(**fields: Any) -> Workspace:
    given = {"id": WORKSPACE, "ports": {8080: 7860, 9090: 9090}, "name": "w", "timeout": "60s", **fields}
    return Workspace.model_validate(given)


_houses: list[House] = []


def closed_houses() -> Iterator[None]:
    """For a fixture: every house of a test stops at its end, with nothing left under way."""
    yield
    while _houses:
        house = _houses.pop()
        house.store.refusing.clear()
        house.store.release()
        house.stop(1.0)


class House:
    """One workspace, its replicas r0, r1, … that listen on 18080, 18081, … (and 19090, … for port 9090)."""

    def __init__(
        self,
        answers: Mapping[int, Answer] | None = None,
        replicas: int = 1,
        slots: int = 1,
        shelf: Shelf | None = None,
        up: bool = True,
        policy: Any = None,
        shared: Any = None,
        **fields: Any,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(STARTED)
        self.shelf = shelf or Shelf()
        self.store = ScriptedStore(self.shelf)
        self.forwarder = FakeForwarder(self.clock, answers)
        self.workspace = workspace(**fields)
        self.replicas = [
            Replica(f"r{index}", WORKSPACE, NODE, {8080: 18080 + index, 9090: 19090 + index}, slots)
            for index in range(replicas)
        ]
        context = PluginContext(self.clock, Random(1), ".")
        chosen = policy or discover(()).make("selection", "round_robin", {}, context)
        self.pool = Pool(self.replicas, chosen, label=self.workspace.label)
        self.line = Line(self.pool, self.clock, 10.0, shared)
        self.metrics = Metrics({WORKSPACE: self.workspace.label})
        self.runs = Runs(self.store, Caller(self.forwarder, self.clock, self.metrics), self.clock, self.metrics)
        lines, workspaces = {WORKSPACE: self.line}, {WORKSPACE: self.workspace}
        self.dispatcher = Dispatcher(self.store, self.runs, lines, workspaces, self.clock)
        self.gates: dict[str, Gate] = {}
        self.gateway = Gateway(
            store=self.store,
            runs=self.runs,
            direct=DirectCalls(self.store, self.runs, self.clock, self.metrics, NO_SPOOL),
            dispatcher=self.dispatcher,
            lines=lines,
            gates=self.gates,
            zone=ZoneInfo("UTC"),
            clock=self.clock,
            metrics=self.metrics,
        )
        self.backlog = Backlog(
            self.gateway,
            store=self.store,
            runs=self.runs,
            dispatcher=self.dispatcher,
            gates=self.gates,
            zone=ZoneInfo("UTC"),
            clock=self.clock,
            metrics=self.metrics,
        )
        _houses.append(self)
        for replica in self.replicas if up else ():
            self.health(replica.id, True)

    def health(self, replica: str, up: bool) -> None:
        """What a health check would say."""
        self.pool.checked(replica, up, "" if up else "refused", self.clock.seconds())
        self.line.serve()

    def submission(self, data: bytes = b"{}", port: int = 8080, **fields: Any) -> Submission:
        given: dict[str, Any] = {
            "access": Access(self.workspace, "key"),
            "method": "schedulingTask",
            "request": UpstreamRequest("POST", "/run", port),
            "body": BytesBody(data),
            "form": DataForm.STRING,
            "text": True,
            "btc_address": "",
            "client_ip": "192.0.2.1",
            "request_url": "/user/schedulingTask",
        }
        return Submission(**{**given, **fields})

    def submit(self, **fields: Any) -> str:
        """A task in the queue; its id."""
        task: Task = done(self.gateway.submit(self.submission(**fields)))
        return task.id

    async def submit_and_wait(self, seconds: float, **fields: Any) -> Task:
        task = await self.backlog.submit(self.submission(**fields))
        return await self.backlog.wait(task, seconds)

    def call(self, **fields: Any) -> Watched:
        return called(self.gateway, self.submission(**fields))

    def task(self, task_id: str) -> Task:
        task = done(self.store.inner.get(task_id))
        assert task is not None
        return task

    @property
    def tasks(self) -> list[Task]:
        return [record.task for record in self.shelf.records.values()]

    @property
    def in_flight(self) -> int:
        return sum(member.in_flight for member in self.pool.members.values())

    @property
    def sent(self) -> int:
        return len(self.forwarder.calls)

    def pass_time(self, seconds: float, step: float = 0.5) -> None:
        """Let the clock run, a little at a time."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def stop(self, grace: float = 5.0) -> None:
        """As the service stops: the line first, then what runs."""
        self.line.close()
        stopping = begun(self.dispatcher.stop(grace))
        self.pass_time(grace + 1)
        assert stopping.over, "it does not stop"
        assert stopping.value is None

    def assert_at_rest(self) -> None:
        """Every slot is back, nobody waits, and every task has ended."""
        assert self.in_flight == 0
        assert self.line.waiting == 0
        assert [task.id for task in self.tasks if not task.status.ended] == []


def once(*answers: Any) -> Callable[[Any], Any]:
    """Answers in turn, the last of them ever after."""
    left = list(answers)
    return lambda call: left.pop(0) if len(left) > 1 else left[0]
