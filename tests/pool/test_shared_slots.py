"""Lines of several gateways over the same replicas: one call a slot over all of them, and nobody forgotten."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from gateway_rig import Watched, begun
from test_pool import NODE, REQUEST, First
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ngpu.errors import StoreUnavailable
from ngpu.leases import Lease
from ngpu.line import Line
from ngpu.member import CallResult
from ngpu.model import Replica
from ngpu.pool import Pool
from ngpu.testing.sharing import Hall


class Slow:
    """Slots of one gateway whose store answers later, and whose news may be lost."""

    def __init__(self, hall: Hall, clock: Clock, rng: Random | None) -> None:
        self.near, self.clock, self.rng = hall.join(), clock, rng
        self.free, self.elsewhere = self.near.free, self.near.elsewhere

    def take(self, replica: str, slots: int) -> Deferred[bool]:
        if self.rng is None:
            return self.near.take(replica, slots)
        answered: Deferred[bool] = Deferred(lambda _: call.cancel())
        call = self.clock.callLater(self.rng.random() / 10, self.answer, replica, slots, answered)
        return answered

    def answer(self, replica: str, slots: int, answered: Deferred[bool]) -> None:
        self.near.take(replica, slots).addCallbacks(answered.callback, answered.errback)

    def watch(self, changed: Any) -> None:
        self.near.watch(lambda replica: None if self.rng and self.rng.random() < 0.5 else changed(replica))


class Gateways:
    """Three of them over one-slot replicas."""

    def __init__(self, rng: Random | None = None, count: int = 2) -> None:
        self.hall, self.clock = Hall(), Clock()
        self.slots = [Slow(self.hall, self.clock, rng) for _ in range(3)]
        self.replicas = [Replica(f"r{number}", "w", NODE, {}, 1) for number in range(count)]
        self.lines = [Line(Pool(self.replicas, First()), self.clock, 10.0, slots) for slots in self.slots]
        for line, slots in zip(self.lines, self.slots, strict=True):
            slots.watch(line.changed_elsewhere)
            for replica in self.replicas:
                line.pool.checked(replica.id, True, "", 0.0)

    def held(self) -> int:
        return sum(counter.total() for counter in self.hall.held.values())


def test_a_slot_is_held_once_and_goes_to_the_other_gateway() -> None:
    gateways = Gateways(count=1)
    first = begun(gateways.lines[0].slot(REQUEST, None))
    second = begun(gateways.lines[1].slot(REQUEST, None))
    assert (
        first.over
        and not second.over
        and begun(Deferred.fromCoroutine(gateways.lines[2].slot_now(REQUEST))).value is None
    )
    first.value.release(CallResult.ANSWERED)
    assert second.value.replica.id == "r0" and gateways.held() == 1


def test_draining_waits_for_the_calls_of_other_gateways() -> None:
    gateways = Gateways(count=1)
    holder = begun(gateways.lines[0].slot(REQUEST, None))
    drained = begun(gateways.lines[1].drain("r0"))
    assert not drained.over
    holder.value.release(CallResult.ANSWERED)
    assert drained.over


def test_a_caller_is_told_that_the_store_is_away() -> None:
    gateways = Gateways(count=1)
    gateways.slots[0].near.away = True
    refused = begun(gateways.lines[0].slot(REQUEST, None))
    with pytest.raises(StoreUnavailable):
        refused.value  # noqa: B018
    assert gateways.lines[0].pool.members["r0"].in_flight == 0 and gateways.lines[0].waiting == 0


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_nobody_is_forgotten_and_no_slot_is_lost(seed: int) -> None:
    rng = Random(seed)
    gateways = Gateways(rng)
    calls: list[tuple[Deferred[Any], Watched]] = []
    for _ in range(120):
        line, drawn = rng.choice(gateways.lines), rng.random()
        if drawn < 0.4:
            back = rng.random() < 0.2 and "r0" in line.pool.members
            granted = line.slot_on("r0") if back else line.slot(REQUEST, None)
            calls.append((granted, begun(granted)))
        elif drawn < 0.5 and calls:
            waiting = rng.choice(calls)
            if not waiting[1].over:
                waiting[0].cancel()
        elif drawn < 0.55:
            line.remove("r0")
            line.add(gateways.replicas[0])
            line.pool.checked("r0", True, "", gateways.clock.seconds())
        elif drawn < 0.6:
            near = rng.choice(gateways.slots).near
            near.away = not near.away
        elif drawn < 0.8:
            release_one(calls, rng)
        gateways.clock.advance(rng.random() / 10)
        for counter in gateways.hall.held.values():
            assert counter.total() <= 1
        for replica in gateways.replicas:
            assert sum(lease.replica.id == replica.id for lease in running(calls)) <= 1
    for slots in gateways.slots:
        slots.near.away = False
    for _ in range(4 * len(calls) + 20):
        release_one(calls, rng)
        for _ in range(8):
            gateways.clock.advance(0.1)
    assert all(watched.over for _, watched in calls)
    assert gateways.held() == 0
    for line in gateways.lines:
        assert line.waiting == 0 and all(member.own == 0 for member in line.pool.members.values())


def running(calls: list[tuple[Deferred[Any], Watched]]) -> list[Any]:
    results = (watched for _, watched in calls if watched.over)
    leases = [watched.results[0] for watched in results]
    return [lease for lease in leases if isinstance(lease, Lease) and lease._held]


def release_one(calls: list[tuple[Deferred[Any], Watched]], rng: Random) -> None:
    held = running(calls)
    if held:
        rng.choice(held).release(CallResult.ANSWERED)
