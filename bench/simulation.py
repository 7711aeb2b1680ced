"""A fleet and its gateways in simulated time: the real pools with the real policies, and jobs of random length.

A gateway gives a job to its pool; where that has nothing to give, the job waits in the gateway's line, first come,
first served, as `ngpu.line` does it. A machine works on as many jobs as it has slots, and keeps what else it gets in a
queue of its own, which only happens where several gateways use it without knowing of each other.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, NamedTuple

from ngpu.discovery import Plugins
from ngpu.interfaces import PluginContext
from ngpu.member import CallResult, Member
from ngpu.model import Node, Replica, SelectionRequest
from ngpu.pool import Pool

MEAN_JOB = 10.0
"""Seconds of the mean job on a machine of speed 1."""

TAIL, LONGEST = 1.5, 100.0
"""Job times have a Pareto tail of this exponent, cut at so many times their scale."""

WARM_UP = 0.1
"""The share of jobs at the beginning that is not measured."""

SESSIONS = 500


class Kind(NamedTuple):
    """Machines of one kind: how many, how fast, slots of each."""

    count: int
    speed: float
    slots: int


UNEVEN = (Kind(6, 1.0, 1), Kind(6, 0.5, 1), Kind(4, 0.25, 1), Kind(2, 1.0, 4), Kind(2, 0.5, 4))
"""New and old machines, some with one slot, some with four."""


class Failing(NamedTuple):
    """What the failing machine does: it fails so many of its calls, after so many seconds; its health checks pass."""

    share: float = 0.9
    seconds: float = 0.05


@dataclass
class Clock:
    """The time, for policies that ask."""

    now: float = 0.0

    def seconds(self) -> float:
        """What it is now."""
        return self.now


@dataclass(eq=False)
class Machine:
    """A replica's real state."""

    replica: Replica
    speed: float
    failing: Failing | None = None
    busy: int = 0
    waiting: deque[Running] = field(default_factory=deque)


@dataclass(eq=False)
class Running:
    """A job that a gateway has sent to a machine."""

    job: Job
    gateway: Gateway
    member: Member
    sent: float


class Job(NamedTuple):
    """When it comes, how long it takes on a machine of speed 1, and whose it is."""

    at: float
    size: float
    session: str


@dataclass(eq=False)
class Gateway:
    """A pool and the line in front of it."""

    pool: Pool
    line: deque[Job] = field(default_factory=deque)


class Result(NamedTuple):
    """Seconds from a job's arrival to its end, in order, of those that did not fail; and the share that did."""

    seconds: Sequence[float]
    failed: float

    def percentile(self, share: float) -> float:
        """Seconds within which this share of the jobs was done."""
        return self.seconds[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


def job_sizes(rng: Random) -> Iterator[float]:
    """Seconds, heavy-tailed, with the mean `MEAN_JOB`."""
    cut = LONGEST**-TAIL
    mean = TAIL / (TAIL - 1) * (1 - LONGEST ** (1 - TAIL)) / (1 - cut)
    while True:
        yield MEAN_JOB / mean * (1 - rng.random() * (1 - cut)) ** (-1 / TAIL)


def jobs(rng: Random, number: int, each: float) -> Iterator[Job]:
    """Jobs at random times, ``each`` seconds after one another on average."""
    now = 0.0
    for _, size in zip(range(number), job_sizes(rng), strict=False):
        now += rng.expovariate(1 / each)
        yield Job(now, size, f"s{rng.randrange(SESSIONS)}")


def machines(kinds: Sequence[Kind], failing: Failing | None) -> list[Machine]:
    """A fleet; its first machine is the one that fails."""
    numbers = count()
    fleet = [
        Machine(
            Replica(f"r{number}", "w", Node(f"0x{number}", "h", weight=round(kind.speed * 4)), {}, kind.slots), speed
        )
        for kind in kinds
        for number, speed in ((next(numbers), kind.speed) for _ in range(kind.count))
    ]
    fleet[0].failing = failing
    return fleet


def simulate(
    make_policy: Callable[[PluginContext], Any],
    load: float,
    seed: int,
    number: int,
    gateways: int = 1,
    failing: Failing | None = None,
    kinds: Sequence[Kind] = UNEVEN,
) -> Result:
    """Run so many jobs through the fleet.

    :param load: the share of what its working machines can do at most.
    """
    fleet = machines(kinds, failing)
    capacity = sum(each.speed * each.replica.slots for each in fleet if each.failing is None)
    clock, rng = Clock(), Random(seed)
    world = _World(fleet, clock, rng)
    for index in range(gateways):
        pool = Pool([each.replica for each in fleet], make_policy(PluginContext(clock, Random(seed + index), ".")))
        for each in fleet:
            pool.checked(each.replica.id, True, "", 0.0)
        world.gateways.append(Gateway(pool))
    world.run(jobs(Random(seed), number, MEAN_JOB / (load * capacity)))
    measured = [(seconds, good) for at, seconds, good in sorted(world.ended)[int(WARM_UP * number) :]]
    return Result(
        sorted(seconds for seconds, good in measured if good), 1 - sum(good for _, good in measured) / len(measured)
    )


class _World:
    """What happens, in its order."""

    def __init__(self, fleet: Sequence[Machine], clock: Clock, rng: Random) -> None:
        self.gateways: list[Gateway] = []
        self.ended: list[tuple[float, float, bool]] = []
        self._machines = {each.replica.id: each for each in fleet}
        self._clock = clock
        self._rng = rng
        self._events: list[tuple[float, int, Machine, Running, bool]] = []
        self._numbers = count()

    def run(self, arriving: Iterator[Job]) -> None:
        """Until the last job has ended."""
        coming = next(arriving, None)
        while coming is not None or self._events:
            if coming is not None and (not self._events or coming.at <= self._events[0][0]):
                self._clock.now = coming.at
                gateway = self.gateways[self._rng.randrange(len(self.gateways))]
                gateway.line.append(coming)
                self._serve(gateway)
                coming = next(arriving, None)
            else:
                self._clock.now, _, machine, running, good = heapq.heappop(self._events)
                self._end(machine, running, good)

    def _serve(self, gateway: Gateway) -> None:
        """Hand out slots as long as somebody waits."""
        while gateway.line:
            job = gateway.line[0]
            member = gateway.pool.take(SelectionRequest("w", 8080, "/", (), job.session), self._clock.now)
            if member is None:
                return
            gateway.line.popleft()
            machine = self._machines[member.replica.id]
            running = Running(job, gateway, member, self._clock.now)
            if machine.busy < machine.replica.slots:
                self._begin(machine, running)
            else:
                machine.waiting.append(running)

    def _begin(self, machine: Machine, running: Running) -> None:
        machine.busy += 1
        fails = machine.failing is not None and self._rng.random() < machine.failing.share
        seconds = machine.failing.seconds if machine.failing and fails else running.job.size / machine.speed
        heapq.heappush(self._events, (self._clock.now + seconds, next(self._numbers), machine, running, not fails))

    def _end(self, machine: Machine, running: Running, good: bool) -> None:
        now = self._clock.now
        self.ended.append((running.job.at, now - running.job.at, good))
        machine.busy -= 1
        if machine.waiting:
            self._begin(machine, machine.waiting.popleft())
        result = CallResult.ANSWERED if good else CallResult.ERRED
        running.gateway.pool.give_back(running.member, result, now - running.sent, now)
        self._serve(running.gateway)


OPTIONS = {"sticky": {"header": "X-Session"}}


def policy(plugins: Plugins, name: str) -> Callable[[PluginContext], Any]:
    """Makes instances of a plugin."""
    return lambda context: plugins.make("selection", name, OPTIONS.get(name, {}), context)
