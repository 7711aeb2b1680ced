"""What one gateway finds out about a replica, another one takes into account."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from roster_rig import Hall

from ngpu.errors import DialFailed
from ngpu.member import Health, Member
from ngpu.sharing import HEALTH, RESTS
from ngpu.testing.forwarder import FakeReply
from ngpu.testing.sharing import Hall as Gateways
from ngpu.testing.sharing import SharedGateway

ID = "w1"
OK = FakeReply(pieces=(b"ok",))


class Pair:
    """Two gateways with one workspace that has two replicas."""

    def __init__(self) -> None:
        gateways = Gateways()
        self.news: list[SharedGateway] = [gateways.join(), gateways.join()]
        self.halls = [Hall({18080: OK, 18081: OK}, news=news) for news in self.news]
        for hall in self.halls:
            hall.start()
            hall.put(ID, 18080, 18081, health={"interval": "30s"})
            assert [member.health for member in self.members(hall)] == [Health.UP] * 2

    def members(self, hall: Hall) -> list[Member]:
        return list(hall.roster.lines[ID].pool.members.values())

    def resting(self, hall: Hall) -> list[float]:
        now = hall.clock.seconds()
        return [max(0.0, member.resting_until - now) for member in self.members(hall)]


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    for hall in pair.halls:
        hall.stop()


def test_a_replica_that_one_could_not_reach_rests_at_the_other_too(pair: Pair) -> None:
    here, there = pair.halls
    here.forwarder.answers[18080] = DialFailed("refused")
    while not any(pair.resting(here)):  # until it was its turn
        assert here.call().over
    assert pair.resting(here) == pair.resting(there) == [1.0, 0.0]
    there.pass_time(1.5)
    assert pair.resting(there) == [0.0, 0.0]
    assert there.call().over


def test_a_rest_is_taken_over_as_a_duration_and_within_bounds(pair: Pair) -> None:
    there = pair.halls[1]
    there.pass_time(5000, 500)  # its clock is another one
    pair.news[1].told(RESTS, f'{{"workspace": "{ID}", "replica": "nobody", "seconds": 5, "rests": 1}}')
    assert pair.resting(there) == [0.0, 0.0]
    replica = pair.members(there)[1].replica.id
    pair.news[1].told(RESTS, f'{{"workspace": "{ID}", "replica": "{replica}", "seconds": 1e9, "rests": 3}}')
    assert pair.resting(there) == [0.0, 60.0]


def test_a_replica_that_one_finds_down_is_looked_at_by_the_other_at_once(pair: Pair) -> None:
    here, there = pair.halls
    for hall in pair.halls:
        hall.forwarder.answers[18080] = DialFailed("refused")
    assert pair.members(there)[0].health is Health.UP
    here.pass_time(30.0)
    assert pair.members(here)[0].health is Health.DOWN
    assert pair.members(there)[0].health is Health.DOWN, "long before its own next check"


def test_what_is_down_for_one_only_stays_up_for_the_other(pair: Pair) -> None:
    here = pair.halls[0]
    here.forwarder.answers[18080] = DialFailed("no route from here")
    here.pass_time(30.0)
    assert [pair.members(hall)[0].health for hall in pair.halls] == [Health.DOWN, Health.UP]


def test_hints_make_no_storm_of_checks(pair: Pair) -> None:
    there = pair.halls[1]
    replica = pair.members(there)[0].replica.id
    checks = 0

    def count(*_: object) -> FakeReply:
        nonlocal checks
        checks += 1
        return OK

    there.forwarder.answers[18080] = count
    for _ in range(100):
        pair.news[1].told(HEALTH, f'{{"workspace": "{ID}", "replica": "{replica}", "up": false}}')
    assert checks == 1
    there.pass_time(2.0)
    pair.news[1].told(HEALTH, f'{{"workspace": "{ID}", "replica": "{replica}", "up": false}}')
    assert checks == 2
    pair.news[1].told(HEALTH, f'{{"workspace": "{ID}", "replica": "{replica}", "up": true}}')
    assert checks == 2, "it knows that already"


def test_one_that_may_be_gone_is_checked_now_and_no_other(pair: Pair) -> None:
    here = pair.halls[0]
    gone, other = here.roster.lines[ID].pool.members
    for port in (18080, 18081):
        here.forwarder.answers[port] = DialFailed("refused")
    for workspace, replica in (("another", gone), (ID, "another")):
        here.serving.check(workspace, replica)
    assert [member.health for member in pair.members(here)] == [Health.UP] * 2
    here.serving.check(ID, gone)
    here.serving.check(ID, gone)
    assert {each.replica.id: each.health for each in pair.members(here)} == {gone: Health.DOWN, other: Health.UP}
    here.forwarder.answers[18080] = OK
    here.serving.trust(ID, gone)
    assert [member.health for member in pair.members(here)] == [Health.UP] * 2
