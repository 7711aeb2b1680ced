"""Slots that the line has chosen: leases of them, and the consent of the other gateways that they need where shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ngpu.errors import NoReplica
from ngpu.member import CallResult, Member
from ngpu.model import Replica, SelectionRequest
from ngpu.pool import Pool
from ngpu.sharing import ISlots

LOOK_AGAIN = 0.5
"""Seconds after which the store is asked again though nothing was heard: news may be lost."""

SHORTEST_ALARM = 0.001
"""Seconds: a sum of floats may fall short of the rest's end, and must not come due again within the same moment."""

Rested = Callable[[Member, float], None]
"""Told of a replica that calls have made rest, and of the seconds that are left."""


def unsaid(member: Member, seconds: float) -> None:
    """Nobody is there who would rest it, too."""


class ILine(Protocol):
    """What a lease needs of its line."""

    pool: Pool
    clock: IReactorTime
    grants: Grants
    rested: Rested

    def serve(self) -> None:
        """See `ngpu.line.Line.serve`."""

    def look_whether_drained(self, member: Member) -> None:
        """See `ngpu.line.Line.look_whether_drained`."""


class Lease:
    """A slot of a replica, until it is released; releasing it again does nothing."""

    def __init__(self, line: ILine, member: Member) -> None:
        self._line = line
        self._member = member
        self._since = line.clock.seconds()
        self._held = True

    @property
    def replica(self) -> Replica:
        """Whose slot this is."""
        return self._member.replica

    def release(self, result: CallResult) -> None:
        """Give the slot back, with what the call says about the replica."""
        if self._held:
            self._held = False
            line, member, now = self._line, self._member, self._line.clock.seconds()
            before = member.resting_until
            line.pool.give_back(member, result, now - self._since, now)
            if member.resting_until != before:
                line.rested(member, member.resting_until - now)
            line.grants.free(member)
            line.serve()
            line.look_whether_drained(member)


@dataclass(eq=False)
class Waiter:
    """Somebody in the line."""

    request: SelectionRequest
    granted: Deferred[Lease]
    timers: list[IDelayedCall] = field(default_factory=list)

    def end(self) -> None:
        """Stop its timers."""
        for timer in self.timers:
            if timer.active():
                timer.cancel()


class Alarm:
    """Calls at one time at most, the one that was set last."""

    def __init__(self, clock: IReactorTime, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._call: IDelayedCall | None = None

    @property
    def rings(self) -> bool:
        """Whether it is set."""
        return self._call is not None

    def set(self, when: float | None) -> None:
        """Ring then, and not when it was set to before; ``None``: not at all."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        if when is not None:
            self._call = self._clock.callLater(max(when - self._clock.seconds(), SHORTEST_ALARM), self._ring)


class Grants:
    """Asks for the shared slot of each member that the pool has occupied; without shared ones, grants at once."""

    def __init__(
        self,
        pool: Pool,
        clock: IReactorTime,
        slots: ISlots | None,
        serve: Callable[[], None],
        freed: Callable[[Member], None],
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._slots = slots
        self._serve = serve
        self._freed = freed
        self._asking: dict[Deferred[Lease], Deferred[None] | None] = {}
        self._look_at: float | None = None
        self.shared: Final = slots is not None

    def asks(self, granted: Deferred[Lease]) -> bool:
        """Whether a slot for this one is being asked for."""
        return granted in self._asking

    def forget(self, granted: Deferred[Lease]) -> None:
        """It wants none any more; what is on its way is given back."""
        asked = self._asking.pop(granted, None)
        if asked is not None:
            asked.cancel()

    def ask(
        self, granted: Deferred[Lease], member: Member, returning: bool, leave: Callable[[], bool], line: ILine
    ) -> None:
        """Grant a lease of the member once its slot is sure; where it is not, whoever waits keeps the place.

        :param returning: whether it is for one that comes back, who waits until the store can tell.
        :param leave: takes it out of the line; false where it is not there any more.
        """
        if self._slots is None:
            leave()
            granted.callback(Lease(line, member))
            return
        self._asking[granted] = None  # taking may make others call us before it returns
        asked = Deferred.fromCoroutine(self._ask(granted, member, returning, leave, line))
        if granted in self._asking and not asked.called:
            self._asking[granted] = asked

    async def _ask(
        self, granted: Deferred[Lease], member: Member, returning: bool, leave: Callable[[], bool], line: ILine
    ) -> None:
        error: Exception | None = None
        sure = False
        try:
            sure = await self.confirm(member, returning)
        except CancelledError:
            return
        except Exception as raised:
            if returning:
                self._pool.share(member, member.elsewhere, True, self._clock.seconds())
            else:
                error = raised
        later = self._asking.pop(granted, None) is not None
        if sure and leave():
            granted.callback(Lease(line, member))
        elif sure:
            self._give_back(member)
            self.free(member)
        elif error is not None and leave():
            granted.errback(error)
        if later:
            self._serve()
        self._freed(member)

    async def confirm(self, member: Member, returning: bool) -> bool:
        """Take the shared slot of a member that the pool has occupied; where that fails, it is occupied no more.

        :param returning: whether one that is being drained is good enough.
        :raises StoreUnavailable: nobody can tell.
        """
        if self._slots is None:
            return True
        try:
            taken = await self._slots.take(member.replica.id, member.replica.slots)
        except BaseException:
            self._give_back(member)
            self._freed(member)
            raise
        if not taken:
            self._refused(member)
        elif not self._there(member) or (member.draining and not returning):
            self._give_back(member)
            self.free(member)
        else:
            return True
        self._freed(member)
        return False

    def free(self, member: Member) -> None:
        """Give the shared slot back."""
        if self._slots is not None:
            self._slots.free(member.replica.id)

    def look(self, member: Member) -> None:
        """Take in what other gateways hold of a member now."""
        if self._slots is not None:
            elsewhere = self._slots.elsewhere(member.replica.id)
            self._pool.share(member, elsewhere, False, self._clock.seconds())

    def next_look(self, now: float, wake: float | None) -> float | None:
        """When to come back, at the latest, while somebody waits; ``wake`` where nothing is held elsewhere."""
        if self._slots is None or not any(one.refused or one.elsewhere for one in self._pool.members.values()):
            self._look_at = None
            return wake
        if self._look_at is None:
            self._look_at = now + LOOK_AGAIN
        return self._look_at if wake is None else min(wake, self._look_at)

    def look_again(self) -> None:
        """Doubt what is known of other gateways, if it is time: the store is asked anew, as far as somebody waits."""
        now = self._clock.seconds()
        if self._slots is None or self._look_at is None or now < self._look_at:
            return
        self._look_at = None
        for member in self._pool.members.values():
            if member.draining:
                self.look(member)
            elif member.refused or member.elsewhere:
                self._pool.share(member, 0, False, now)

    def _refused(self, member: Member) -> None:
        self._give_back(member)
        if self._slots is not None and self._there(member):
            elsewhere = self._slots.elsewhere(member.replica.id)
            self._pool.share(member, elsewhere, True, self._clock.seconds())

    def _give_back(self, member: Member) -> None:
        self._pool.give_back(member, CallResult.ABANDONED, 0.0, self._clock.seconds())

    def _there(self, member: Member) -> bool:
        return self._pool.members.get(member.replica.id) is member


def all_busy(pool: Pool, patience: float) -> NoReplica:
    """What is said to whoever has waited for too long."""
    if not pool.any_up:
        return none_up(pool)
    return NoReplica(
        f"every replica of this workspace was busy, or resting after failures, for {patience:g} s; "
        "try again, or submit with taskMode=Async"
    )


def none_up(pool: Pool) -> NoReplica:
    """What is said while nothing is up."""
    return NoReplica(f"no replica of this workspace is up ({pool.trouble()}); its operator has to look at it", 10)


def stopping() -> NoReplica:
    """What is said from the end on."""
    return NoReplica("the gateway is stopping; try again")
