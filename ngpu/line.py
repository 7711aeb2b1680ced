"""The line in front of a workspace's replicas: a call waits here for a slot, never on a busy replica.

First come, first served. The dispatcher of queued tasks stands in it like any other caller, so that calls that a
client waits for and tasks that wait in the store take turns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from ngpu.draining import Draining, Expected
from ngpu.errors import NoReplica, PolicyFailed, ReplicaRemoved
from ngpu.interfaces import ISelectionPolicy
from ngpu.leases import Alarm, Grants, Lease, Rested, Waiter, all_busy, none_up, stopping, unsaid
from ngpu.member import Member
from ngpu.model import Replica, Requirement, SelectionRequest
from ngpu.pool import Pool
from ngpu.sharing import ISlots


class Line:
    """Waiting calls of one workspace.

    :param grace: seconds that callers wait at most while each replica is known to be down, before they are told so.
    :param slots: those that gateways share; ``None`` where there is but this one.
    :param rested: told of each rest that calls of this gateway begin.
    """

    def __init__(
        self, pool: Pool, clock: IReactorTime, grace: float, slots: ISlots | None = None, rested: Rested = unsaid
    ) -> None:
        self.pool = pool
        self.clock = clock
        self.grace = grace
        self.rested = rested
        self.grants = Grants(pool, clock, slots, self.serve, self.look_whether_drained)
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._returning: dict[Deferred[Lease], Member] = {}
        self._expected = Expected()
        self._draining = Draining(pool)
        self._alarm = Alarm(clock, self._come_back)
        self._closed: Callable[[], NoReplica] | None = None

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._waiters)

    def try_slot(self, request: SelectionRequest) -> Lease | None:
        """A slot, if nobody waits and one is free; none where slots are shared, see `slot_now`.

        :raises PolicyFailed: see `Pool.take`.
        """
        if self._waiters or self.grants.shared:
            return None
        member = self.pool.take(request, self.clock.seconds())
        return None if member is None else Lease(self, member)

    async def slot_now(self, request: SelectionRequest) -> Lease | None:
        """A slot, if nobody waits and one is free, over all gateways.

        :raises PolicyFailed: see `Pool.take`.
        :raises StoreUnavailable: nobody can tell.
        """
        if not self.grants.shared:
            return self.try_slot(request)
        while not self._waiters and self._closed is None:
            if (member := self.pool.take(request, self.clock.seconds())) is None:
                break
            try:
                if await self.grants.confirm(member, False):
                    return Lease(self, member)
            except Exception:
                self.serve()  # somebody may have come to wait for this slot
                raise
        return None

    def slot(self, request: SelectionRequest, patience: float | None) -> Deferred[Lease]:
        """A slot as soon as it is this caller's turn; cancelling leaves the line.

        :param patience: seconds to wait at most; ``None`` waits as long as it takes, also while nothing is up.
        :raises NoReplica: patience is over, or no replica is up and the line's grace is over.
        :raises PolicyFailed: it was this caller's turn, and the policy could not choose.
        :raises StoreUnavailable: it was this caller's turn, and nobody can tell what other gateways hold.
        """
        try:
            lease = self.try_slot(request)
        except PolicyFailed as error:
            return fail(error)
        if lease is not None:
            return succeed(lease)
        if self._closed is not None:
            return fail(self._closed())
        granted: Deferred[Lease] = Deferred(lambda _: self._give_up(waiter))
        waiter = Waiter(request, granted)
        self._waiters[waiter] = None
        self._set_alarm()
        if patience is not None:
            busy = partial(all_busy, self.pool, patience)
            waiter.timers.append(self.clock.callLater(patience, self._refuse, waiter, busy))
            if self.grace < patience:
                waiter.timers.append(self.clock.callLater(self.grace, self._refuse_if_down, waiter))
        if self.grants.shared:
            self.serve()
        return granted

    def slot_on(self, replica_id: str) -> Deferred[Lease]:
        """A slot of this very replica as soon as it has one, before anybody else gets it; cancelling leaves the line.

        One that is being drained gives its slots to those who come back to it, too, and is not drained before. One that
        is expected is waited for.

        :raises NoReplica: the gateway stops.
        :raises ReplicaRemoved: the replica was removed meanwhile.
        :raises KeyError: there is no such replica, and none is expected.
        """
        granted: Deferred[Lease] = Deferred(lambda _: self._come_no_more(granted))
        expected = replica_id in self._expected
        now = self.clock.seconds()
        member = None if expected or self.grants.shared else self.pool.take_from(replica_id, now)
        if member is not None:
            granted.callback(Lease(self, member))
        elif self._closed is not None:
            granted.errback(self._closed())
        elif expected:
            self._expected.wait(replica_id, granted)
        else:
            self._returning[granted] = self.pool.members[replica_id]
            self.serve()
        return granted

    def expect(self, replica_id: str) -> None:
        """A replica of an earlier life of this process may be let in again, until it is removed."""
        if replica_id not in self.pool.members:
            self._expected.expect(replica_id)

    def knows(self, replica_id: str) -> bool:
        """Whether a replica is there, or expected."""
        return replica_id in self.pool.members or replica_id in self._expected

    def add(self, replica: Replica) -> None:
        """Let a replica in, which serves once a health check has passed; see `Pool.add`.

        Whoever waits for it to be drained, where it is, is cancelled.
        """
        expecting = self._expected.come(replica.id)
        if not self.pool.holds(replica):
            self.remove(replica.id)
        self.pool.add(replica, self.clock.seconds())
        self.grants.look(self.pool.members[replica.id])
        for granted in expecting:
            self._returning[granted] = self.pool.members[replica.id]
        self._draining.cancel(self.pool.members[replica.id])
        self.serve()

    def drain(self, replica_id: str) -> Deferred[None]:
        """Give no slot of a replica to new calls; fires once no call holds one, and none is to come back to it.

        At once where there is no such replica. Cancelling stops the wait, and nothing else.
        """
        member = self.pool.drain(replica_id, self.clock.seconds())
        if member is None:
            return succeed(None)
        drained = self._draining.wait(member)
        self.look_whether_drained(member)
        self._set_alarm()
        return drained

    def remove(self, replica_id: str) -> None:
        """Forget a replica, and tell those who want to come back to it. Calls that hold a slot of it go on."""
        for granted in self._expected.come(replica_id):
            granted.errback(ReplicaRemoved("the replica that had this job is not there any more"))
        member = self.pool.remove(replica_id, self.clock.seconds())
        if member is not None:
            for granted in [one for one, wanted in self._returning.items() if wanted is member]:
                if self._returning.pop(granted, None) is not None:
                    self.grants.forget(granted)
                    granted.errback(ReplicaRemoved("the replica that has this job was taken out of service"))
            self.look_whether_drained(member)

    def use(self, policy: ISelectionPolicy, require: Requirement) -> None:
        """Choose by another policy, and of other nodes, from now on."""
        self.pool.use(policy, require, self.clock.seconds())
        self.serve()

    def serve(self) -> None:
        """Hand out what is free; to be called whenever a slot or a replica may have become available."""
        if not (self._waiters or self._returning or self._draining.members or self._alarm.rings):
            return
        for granted, wanted in tuple(self._returning.items()):
            # what was granted before it has made others go, or leave
            if granted in self._returning and not self.grants.asks(granted):
                member = self.pool.take_from(wanted.replica.id, self.clock.seconds())
                if member is not None:
                    self.grants.ask(granted, member, True, partial(self._came_back, granted), self)
        while (waiter := self._next()) is not None:
            try:
                member = self.pool.take(waiter.request, self.clock.seconds())
            except PolicyFailed as error:  # its own turn is over; those behind it may fare better
                self._leave(waiter)
                waiter.granted.errback(error)
                continue
            if member is None:
                break
            self.grants.ask(waiter.granted, member, False, partial(self._left, waiter), self)
        self._set_alarm()

    def _next(self) -> Waiter | None:
        """Whose turn it is; those for whom a slot is being asked for keep their place."""
        return next((one for one in self._waiters if not self.grants.asks(one.granted)), None)

    def _left(self, waiter: Waiter) -> bool:
        there = waiter in self._waiters
        if there:
            self._leave(waiter)
        return there

    def _came_back(self, granted: Deferred[Lease]) -> bool:
        return self._returning.pop(granted, None) is not None

    def changed_elsewhere(self, replica_id: str) -> None:
        """Other gateways hold more or fewer slots of a replica than before, or it is this one's turn."""
        member = self.pool.members.get(replica_id)
        if member is not None:
            self.grants.look(member)
            self.serve()
            self.look_whether_drained(member)

    def rest_too(self, replica_id: str, seconds: float, rests: int) -> None:
        """Another gateway rests a replica for so long; see `Pool.rest_too`."""
        member = self.pool.members.get(replica_id)
        if member is not None:
            self.pool.rest_too(member, seconds, rests, self.clock.seconds())
            self._set_alarm()

    def look_whether_drained(self, member: Member) -> None:
        """Tell those who wait for a replica to be drained; to be called whenever it may have become so."""
        self._draining.look(member, self._returning.values())

    def close(self, why: Callable[[], NoReplica] | None = None) -> None:
        """Stop the clock; whoever still waits, or comes to wait, is told why: by default that the gateway stops."""
        self._closed = why = why or stopping
        while self._waiters:
            self._refuse(next(iter(self._waiters)), why)
        while self._returning:
            granted, member = self._returning.popitem()
            self.grants.forget(granted)
            granted.errback(why())
            self.look_whether_drained(member)
        self._expected.close(why)
        self._alarm.set(None)

    def _leave(self, waiter: Waiter) -> None:
        del self._waiters[waiter]
        self.grants.forget(waiter.granted)
        waiter.end()

    def _come_no_more(self, granted: Deferred[Lease]) -> None:
        member = self._returning.pop(granted, None)
        self.grants.forget(granted)
        if member is not None:
            self.serve()
            self.look_whether_drained(member)
            return
        self._expected.leave(granted)

    def _give_up(self, waiter: Waiter) -> None:
        self._leave(waiter)
        self.serve()  # a policy may have had no replica for this one, and have one for the next

    def _refuse(self, waiter: Waiter, why: Callable[[], NoReplica]) -> None:
        self._leave(waiter)
        waiter.granted.errback(why())
        self.serve()

    def _refuse_if_down(self, waiter: Waiter) -> None:
        if self.pool.any_may_be_up:
            waiter.timers.append(self.clock.callLater(self.grace, self._refuse_if_down, waiter))
        else:
            self._refuse(waiter, partial(none_up, self.pool))

    def _set_alarm(self) -> None:
        """Come back when the next resting replica wakes, as long as somebody waits for it."""
        now = self.clock.seconds()
        wake = self.pool.next_wake(now) if self._waiters else None
        if self._waiters or self._returning or self._draining.members:
            wake = self.grants.next_look(now, wake)
        self._alarm.set(wake)

    def _come_back(self) -> None:
        self.grants.look_again()
        self.serve()
        for member in self._draining.members:
            self.look_whether_drained(member)
