"""Which replica of a workspace is available: health, slots in use, latency, and rest after failures.

Nothing here waits or does I/O, and every method that depends on the time takes ``now``. A replica is *available* when
its health checks pass, it has a free slot, it is not resting, and it is not being drained. Waiting for one is the
line's business. Replicas come and go while calls run; slots of one that was removed may be given back at any time.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import PolicyFailed
from ngpu.interfaces import ISelectionPolicy
from ngpu.model import Replica, SelectionRequest

LATENCY_WEIGHT = 0.2
"""Weight of the newest call in a replica's average latency."""

FAILURES_BEFORE_REST = 3
"""How many calls in a row must fail after they were sent before a replica is rested; a failed dial rests it at once."""

FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds of the first rest, which doubles with each one that follows without a success between, up to the longest."""


LEAVING = "it is being taken out of service"
"""The reason of a replica that is being drained."""

TRACEBACK_EVERY = 10.0
"""Seconds between two tracebacks of a selection policy that raises."""


class Health(enum.Enum):
    """What the active checks say; UNKNOWN before the first."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


class CallResult(enum.Enum):
    """How a call ended, as far as the replica's standing goes.

    ANSWERED: it works. ERRED: it answered with a server error. BROKE: the transport failed or it took too long.
    UNREACHED: no connection. ABANDONED: we gave up, which says nothing about it.
    """

    ANSWERED = "answered"
    ERRED = "erred"
    BROKE = "broke"
    UNREACHED = "unreached"
    ABANDONED = "abandoned"


@dataclass(eq=False, slots=True)
class Member:
    """A replica and its live figures; what a policy sees as a `ngpu.model.Candidate`."""

    replica: Replica
    in_flight: int = 0
    latency: float | None = None
    last_used: float | None = None
    health: Health = Health.UNKNOWN
    reason: str = "not checked yet"
    failures: int = 0
    rests: int = 0
    resting_until: float = 0.0
    draining: bool = False  # from then on, and when it was removed, it is never chosen
    place: int = -1  # its index among the available ones, -1 when it is not

    @property
    def serves(self) -> bool:
        """Whether its health checks pass and it takes new calls, busy or not."""
        return self.health is Health.UP and not self.draining

    def rest(self, now: float) -> None:
        """Keep it out of the choice for a while, longer each time."""
        self.resting_until = now + min(FIRST_REST * 2**self.rests, LONGEST_REST)
        self.rests = min(self.rests + 1, 16)
        self.failures = 0


class Choice(Sequence[Member]):
    """The available replicas, live and read-only: a policy that sorts or empties what it is given harms nobody."""

    __slots__ = ("_members",)

    def __init__(self, members: list[Member]) -> None:
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: Any) -> Any:
        return self._members[index]

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members)


class Pool:
    """The replicas of one workspace behind one selection policy."""

    log = Logger("ngpu.pool")

    def __init__(self, replicas: Iterable[Replica], policy: ISelectionPolicy) -> None:
        self.members: dict[str, Member] = {replica.id: Member(replica) for replica in replicas}
        self._policy = policy
        self._available: list[Member] = []
        self._choice = Choice(self._available)
        self._next_traceback = 0.0
        self._resting: list[tuple[float, str]] = []

    @property
    def any_up(self) -> bool:
        """Whether at least one replica serves, busy or not."""
        return any(member.serves for member in self.members.values())

    @property
    def slots(self) -> int:
        """How many calls the replicas that serve work on at once."""
        return sum(member.replica.slots for member in self.members.values() if member.serves)

    def trouble(self) -> str:
        """Why nothing is up, a clause per replica, for an error message."""
        reasons = ((member, LEAVING if member.draining else member.reason) for member in self.members.values())
        return "; ".join(f"{m.replica.node.host}: {reason}" for m, reason in reasons if reason) or "it has none"

    def add(self, replica: Replica, now: float) -> bool:
        """Let a replica in, which is chosen once a health check has passed; one that is being drained stays.

        :returns: false where it was there already, see `holds`; it has as many slots as are said now.
        """
        if self.holds(replica):
            member = self.members[replica.id]
            member.replica, member.draining = replica, False
            self._place(member, now)
            return False
        self.remove(replica.id, now)
        self.members[replica.id] = Member(replica)
        return True

    def holds(self, replica: Replica) -> bool:
        """Whether this very replica is there, whatever its slots: one that listens elsewhere is another one."""
        member = self.members.get(replica.id)
        return member is not None and replace(member.replica, slots=replica.slots) == replica

    def drain(self, replica_id: str, now: float) -> Member | None:
        """Choose a replica no more; calls that it works on go on. ``None``: there is no such replica."""
        member = self.members.get(replica_id)
        if member is not None:
            member.draining = True
            self._place(member, now)
        return member

    def remove(self, replica_id: str, now: float) -> Member | None:
        """Forget a replica; slots of it that calls still hold may be given back at any time."""
        member = self.drain(replica_id, now)
        if member is not None:
            del self.members[replica_id]
        return member

    def use(self, policy: ISelectionPolicy) -> None:
        """Choose by another policy from now on."""
        self._policy = policy

    def take(self, request: SelectionRequest, now: float) -> Member | None:
        """Choose an available replica and occupy one of its slots; ``None`` when there is none to choose.

        :raises PolicyFailed: the policy raised, or chose something else.
        """
        self._wake(now)
        member = self._choose(request, now) if self._available else None
        if member is not None:
            member.in_flight += 1
            self._place(member, now)
        return member

    def take_from(self, replica_id: str, now: float) -> Member | None:
        """Occupy a slot of this very replica, whether it rests or not; ``None`` while it has none free or is not up."""
        member = self.members[replica_id]
        if member.health is not Health.UP or member.in_flight >= member.replica.slots:
            return None
        member.in_flight += 1
        self._place(member, now)
        return member

    def _choose(self, request: SelectionRequest, now: float) -> Member | None:
        """What the policy says, as long as it is one of those that it was shown."""
        try:
            chosen = self._policy.select(self._choice, request)
        except (Exception, SystemExit):
            self._tell_of(request.workspace, Failure(), now)
            raise PolicyFailed("this workspace's selection policy failed; its operator can see why") from None
        if chosen is None:
            return None
        if isinstance(chosen, Member) and chosen.place >= 0 and self.members.get(chosen.replica.id) is chosen:
            return chosen
        self.log.critical(
            "the selection policy of {workspace} chose something that is not available: a {kind}",
            workspace=request.workspace,
            kind=type(chosen).__name__,
        )
        raise PolicyFailed("this workspace's selection policy chose no available replica; its operator can see why")

    def _tell_of(self, workspace: str, failure: Failure, now: float) -> None:
        """Each failure is a line; the whole traceback would be too much for a burst of them."""
        if now >= self._next_traceback:
            self._next_traceback = now + TRACEBACK_EVERY
            self.log.failure("the selection policy of {workspace} raised", failure, workspace=workspace)
        else:
            error = failure.getErrorMessage()
            self.log.critical("the selection policy of {workspace} raised: {error}", workspace=workspace, error=error)

    def give_back(self, member: Member, result: CallResult, seconds: float, now: float) -> None:
        """Free the slot of a call that took ``seconds``, and let its result count."""
        member.in_flight -= 1
        if result is CallResult.ANSWERED:
            member.failures = member.rests = 0
            member.last_used = now
            latency = member.latency
            member.latency = seconds if latency is None else latency + LATENCY_WEIGHT * (seconds - latency)
        elif result is CallResult.UNREACHED:
            self._rest(member, now)
        elif result is not CallResult.ABANDONED:
            member.failures += 1
            # A server error may be the request's fault: it rests a replica only while another one is there to serve.
            alone = result is CallResult.ERRED and not self._others_serve(member, now)
            if member.failures >= FAILURES_BEFORE_REST and not alone:
                self._rest(member, now)
        self._place(member, now)

    def checked(self, replica_id: str, up: bool, reason: str, now: float) -> bool:
        """Take in the result of a health check; whether it changed the replica's health. One that is gone has none."""
        member = self.members.get(replica_id)
        if member is None:
            return False
        before, member.health = member.health, Health.UP if up else Health.DOWN
        member.reason = "" if up else reason
        self._place(member, now)
        return before is not member.health

    def next_wake(self, now: float) -> float | None:
        """When the next rest ends; ``None`` when nobody rests."""
        while self._resting and not self._still_rests(*self._resting[0]):
            heapq.heappop(self._resting)
        return max(self._resting[0][0], now) if self._resting else None

    def _still_rests(self, until: float, replica_id: str) -> bool:
        member = self.members.get(replica_id)
        return member is not None and member.resting_until == until

    def _others_serve(self, member: Member, now: float) -> bool:
        return any(
            other is not member and other.serves and other.resting_until <= now for other in self.members.values()
        )

    def _rest(self, member: Member, now: float) -> None:
        """Rest a member that does not rest yet: calls that fail side by side tell of one failure."""
        if member.resting_until <= now:
            member.rest(now)
            heapq.heappush(self._resting, (member.resting_until, member.replica.id))

    def _wake(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            member = self.members.get(heapq.heappop(self._resting)[1])
            if member is not None:
                self._place(member, now)

    def _place(self, member: Member, now: float) -> None:
        """Put the member in or out of the available ones, in constant time: the last one fills a gap."""
        fits = member.serves and member.in_flight < member.replica.slots and member.resting_until <= now
        if fits and member.place < 0:
            member.place = len(self._available)
            self._available.append(member)
        elif not fits and member.place >= 0:
            last = self._available.pop()
            if last is not member:
                self._available[member.place] = last
                last.place = member.place
            member.place = -1
