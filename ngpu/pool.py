"""Which replica of a workspace is available: health, slots in use, standing, and rest after failures.

Nothing here waits or does I/O, and every method that depends on the time takes ``now``. A replica is *available* when
its health checks pass, it has a free slot, it neither rests nor is drained, and its node is one that the workspace's
``require`` takes. Suspect ones are shown to the policy only while no other is available. Waiting for one is the line's
business. Replicas come and go while calls run; slots of one that was removed may be given back at any time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import replace
from itertools import count

from ngpu.chooser import Chooser
from ngpu.interfaces import ISelectionPolicy
from ngpu.member import CallResult, Choice, Health, Member, Tier
from ngpu.model import Replica, Requirement, SelectionRequest
from ngpu.standing import REST_ABOVE, SUSPECT_ABOVE, Median

FAILURES_BEFORE_REST = 3
"""How many calls in a row must fail after they were sent before a replica is rested; a failed dial rests it at once."""

ANY = Requirement()
NOT_REQUIRED = "its node is none that selection.require of the workspace takes"
LEAVING = "it is being taken out of service"


class Pool:
    """The replicas of one workspace behind one selection policy.

    :param require: what a node must have for its replicas to be chosen.
    :param label: what the log calls the workspace.
    """

    def __init__(
        self,
        replicas: Iterable[Replica],
        policy: ISelectionPolicy,
        require: Requirement = ANY,
        label: str = "a workspace",
    ) -> None:
        self.members: dict[str, Member] = {replica.id: Member(replica) for replica in replicas}
        self._label = label
        self.chooser = Chooser(policy, label)
        self._require, self._anywhere = require, require == ANY
        self._trusted, self._suspects = Tier(), Tier()
        self._typical = Median()
        self._resting: list[tuple[float, str]] = []
        self._suspected: list[tuple[float, int, Member]] = []
        self._numbers = count()

    @property
    def any_up(self) -> bool:
        """Whether health checks pass for at least one replica that can be chosen, busy or not."""
        return any(self.serves(member) for member in self.members.values())

    @property
    def any_may_be_up(self) -> bool:
        """Whether that is so, or not known yet of one that was not checked so far."""
        return any(
            member.health is not Health.DOWN and not member.draining and self._takes(member)
            for member in self.members.values()
        )

    @property
    def slots(self) -> int:
        """How many calls the replicas that are up, and can be chosen, work on at once."""
        return sum(member.replica.slots for member in self.members.values() if self.serves(member))

    def trouble(self) -> str:
        """Why nothing is up, a clause per replica, for an error message."""
        reasons = ((member, self._reason(member)) for member in self.members.values())
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
            self._typical.replace(member.standing.latency, None)
            self.chooser.removed(member, now)
        return member

    def use(self, policy: ISelectionPolicy, require: Requirement, now: float) -> None:
        """Choose by another policy, and of other nodes, from now on."""
        self.chooser = Chooser(policy, self._label)
        self._require, self._anywhere = require, require == ANY
        for member in self.members.values():
            if member.tier is not None:
                member.tier.drop(member)
            self._place(member, now)

    def take(self, request: SelectionRequest, now: float) -> Member | None:
        """Choose an available replica and occupy one of its slots; ``None`` when there is none to choose.

        :raises PolicyFailed: the policy raised, or chose something else.
        """
        self._wake(now)
        choice = self._trusted.choice or self._suspects.choice
        member = self._choose(choice, request, now) if choice else None
        if member is not None:
            member.in_flight += 1
            self._place(member, now)
        return member

    def take_from(self, replica_id: str, now: float) -> Member | None:
        """Occupy a slot of this very replica, whether it rests or not; ``None`` while it has none free or is not up."""
        member = self.members[replica_id]
        if member.health is not Health.UP or member.refused or member.in_flight >= member.replica.slots:
            return None
        member.in_flight += 1
        self._place(member, now)
        return member

    def _choose(self, choice: Choice, request: SelectionRequest, now: float) -> Member | None:
        """What the policy says, as long as it is one of those that it was shown."""
        chosen = self.chooser.choose(choice, request, now)
        if chosen is None or (isinstance(chosen, Member) and chosen.tier is not None and chosen.tier.choice is choice):
            return chosen
        raise self.chooser.refuse(chosen)

    def give_back(self, member: Member, result: CallResult, seconds: float, now: float) -> None:
        """Free the slot of a call that took ``seconds``, and let its result count."""
        member.in_flight -= 1
        if result not in (CallResult.ABANDONED, CallResult.SWITCHED):
            self._count(member, seconds, result is not CallResult.ANSWERED, now)
        if result in (CallResult.ANSWERED, CallResult.SWITCHED):
            member.failures = member.rests = 0
            member.last_used = now
        elif result is CallResult.UNREACHED:
            self._rest(member, now)
        elif result is not CallResult.ABANDONED:
            member.failures += 1
            # A server error may be the request's fault: it rests a replica only while another one is there to serve.
            tired = member.failures >= FAILURES_BEFORE_REST
            if (tired and (result is CallResult.BROKE or self._others_serve(member, now))) or (
                member.standing.errors > REST_ABOVE and self._others_serve(member, now, SUSPECT_ABOVE)
            ):
                self._rest(member, now)
        self._place(member, now)

    def share(self, member: Member, elsewhere: int, refused: bool, now: float) -> None:
        """Take in how many of its slots other gateways hold, and whether one was just refused to this gateway."""
        member.in_flight += elsewhere - member.elsewhere
        member.elsewhere, member.refused = elsewhere, refused
        self._place(member, now)

    def rest_too(self, member: Member, seconds: float, rests: int, now: float) -> None:
        """Rest a replica because another gateway does, for as long as that one still will."""
        if member.resting_until < now + seconds:
            member.resting_until, member.rests, member.failures = now + seconds, max(member.rests, rests), 0
            heapq.heappush(self._resting, (member.resting_until, member.replica.id))
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

    def _count(self, member: Member, seconds: float, failed: bool, now: float) -> None:
        """Let a call count in its replica's standing, unless it was removed meanwhile."""
        if self.members.get(member.replica.id) is not member:
            return
        standing, before, until = member.standing, member.standing.latency, member.standing.suspect_until
        counted = standing.count(seconds, failed, member.latency, self._typical.value, now)
        self._typical.replace(before, standing.latency)
        member.latency = standing.latency
        if standing.suspect_until > until:
            heapq.heappush(self._suspected, (standing.suspect_until, next(self._numbers), member))
        self.chooser.finished(member, counted, now)

    def _still_rests(self, until: float, replica_id: str) -> bool:
        member = self.members.get(replica_id)
        return member is not None and member.resting_until == until

    def _takes(self, member: Member) -> bool:
        return self._anywhere or self._require.met_by(member.replica.node)

    def serves(self, member: Member) -> bool:
        """Whether a replica takes new calls, busy or not."""
        return member.health is Health.UP and not member.draining and self._takes(member)

    def _reason(self, member: Member) -> str:
        if member.draining:
            return LEAVING
        return member.reason if self._takes(member) else NOT_REQUIRED

    def _others_serve(self, member: Member, now: float, errors: float = 1.0) -> bool:
        """Whether there is another one, with such a share of failed calls at most."""
        return any(
            other is not member
            and other.resting_until <= now
            and other.standing.errors <= errors
            and self.serves(other)
            for other in self.members.values()
        )

    def _rest(self, member: Member, now: float) -> None:
        """Rest a member that does not rest yet: calls that fail side by side tell of one failure."""
        if member.resting_until <= now:
            member.rest(now)
            heapq.heappush(self._resting, (member.resting_until, member.replica.id))

    def _wake(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            resting = self.members.get(heapq.heappop(self._resting)[1])
            if resting is not None:
                self._place(resting, now)
        while self._suspected and self._suspected[0][0] <= now:
            member = heapq.heappop(self._suspected)[2]
            if self.members.get(member.replica.id) is member:
                self._place(member, now)

    def _place(self, member: Member, now: float) -> None:
        """Put the member among those that it belongs to now, and let the policy know; in constant time."""
        busy = member.in_flight >= member.replica.slots or member.resting_until > now or member.refused
        fits = not busy and self.serves(member)
        member.suspect = member.standing.suspect_until > now
        before = member.tier
        tier = (self._suspects if member.suspect else self._trusted) if fits else None
        if fits and member.latency is None:
            member.latency = self._typical.value  # a new one starts as what is usual
        if tier is not before:
            if before is not None:
                before.drop(member)
            if tier is not None:
                tier.put(member)
        if fits or before is not None:
            self.chooser.show(member, fits, now)
