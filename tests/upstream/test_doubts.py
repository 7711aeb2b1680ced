"""Replicas whose engine gives them other ports when it starts anew: nobody is sent to whoever has theirs by then."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
import pytest_twisted
from raw_worker import answers
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from upstream_rig import Rig

from ngpu.errors import DialFailed
from ngpu.model import Node, Replica
from ngpu.upstream.doubts import Doubts
from ngpu.upstream.origin import Origin
from ngpu.upstream.pool import Pool


def replica(name: str, *ports: int, host: str = "127.0.0.1") -> Replica:
    return Replica(name, "w", Node("n", host), {8080 + index: port for index, port in enumerate(ports)})


@pytest_twisted.ensureDeferred
async def test_an_address_that_was_gone_is_not_dialled_before_it_was_shown_again(rig: Rig) -> None:
    told: list[str] = []
    rig.pool.doubts.told = told.append
    worker = rig.worker(answers)
    rig.pool.doubts.guard(replica("a", worker.port))
    assert (await rig.send(worker)).status == 200
    await worker.stop()
    with pytest.raises(DialFailed, match="refused"):
        await rig.send(worker)
    assert told == ["a"]
    assert rig.pool.doubts.since("a") is not None
    worker = rig.worker(answers, port=worker.port)  # somebody else's by now
    with pytest.raises(DialFailed, match="its engine has not shown since that this port is still its own"):
        await rig.send(worker)
    assert told == ["a"]
    rig.pool.doubts.trust("a")
    assert (await rig.send(worker)).status == 200
    assert rig.pool.doubts.since("a") is None


@pytest_twisted.ensureDeferred
async def test_nobody_guards_replicas_that_no_engine_runs(rig: Rig) -> None:
    worker = rig.worker(answers)
    assert (await rig.send(worker)).status == 200
    await worker.stop()
    with pytest.raises(DialFailed, match="refused"):
        await rig.send(worker)
    worker = rig.worker(answers, port=worker.port)
    assert (await rig.send(worker)).status == 200


def test_one_that_was_never_reached_may_only_not_listen_yet() -> None:
    doubts = Doubts(Clock())
    doubts.guard(replica("a", 1))
    doubts.missed(Origin("127.0.0.1", 1))
    assert doubts.since("a") is None
    assert Origin("127.0.0.1", 1) not in doubts


def test_addresses_that_two_replicas_have_exchanged() -> None:
    doubts, one, two = Doubts(Clock()), Origin("h", 1), Origin("h", 2)
    doubts.guard(replica("a", 1, host="h"))
    doubts.guard(replica("b", 2, host="h"))
    for origin in (one, two):
        doubts.reached(origin)
        doubts.missed(origin)
    doubts.guard(replica("a", 2, host="h"))
    assert (one in doubts, two in doubts) == (False, False), "whose the first is, nobody knows; the second is a's"
    doubts.guard(replica("b", 1, host="h"))
    doubts.reached(two)
    doubts.missed(two)
    assert (doubts.since("a"), doubts.since("b")) == (0.0, None)
    doubts.forget("b")
    doubts.forget("a")
    doubts.forget("a")
    assert two not in doubts


@pytest.mark.parametrize(("host", "port"), [("no name", 1), ("h", 70000), ("h", -1)])
def test_what_nobody_can_dial_is_not_guarded(host: str, port: int) -> None:
    """An engine's plugin may say anything; were this refused, the whole fleet would stand still for one copy."""
    doubts = Doubts(Clock())
    doubts.guard(replica("a", port, host=host))
    doubts.trust("a")
    assert doubts.since("a") is None


class Dialling:
    """A pool, and the attempts that it has under way to port 1 of a replica, as the machine sees them."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.pool = Pool(self.reactor)
        self.told: list[str] = []
        self.pool.doubts.told = self.told.append
        self.pool.doubts.guard(replica("a", 1))
        self.pool.doubts.reached(self.origin)

    origin = Origin("127.0.0.1", 1)

    def dial(self) -> tuple[Deferred[Any], Any]:
        outcome = self.pool.dial(self.origin)
        return outcome, self.reactor.tcpClients[-1][2]

    def fails(self, factory: Any, number: int) -> None:
        error = ConnectError(number, os.strerror(number))
        error.osError = number
        factory.clientConnectionFailed(None, Failure(error))


class Wire(StringTransport):
    """A connection."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It has no packets."""


def test_an_attempt_that_began_before_the_doubt_leads_nowhere_either() -> None:
    """The kernel sends what was lost again, and whoever has the port by then takes it."""
    dialling = Dialling()
    early, early_factory = dialling.dial()
    late, late_factory = dialling.dial()
    failed: list[Failure] = []
    late.addErrback(failed.append)
    dialling.fails(late_factory, errno.ECONNREFUSED)
    assert dialling.told == ["a"]
    wire = Wire()
    early.addErrback(failed.append)
    early_factory.buildProtocol(None).makeConnection(wire)
    assert [type(each.value) for each in failed] == [DialFailed] * 2, "it was connected to whoever is there by now"
    assert wire.disconnected


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM])
def test_a_gateway_that_lacks_something_itself_has_learnt_nothing_of_the_replica(number: int) -> None:
    """Else a moment without descriptors would take all copies of all nodes away."""
    dialling = Dialling()
    outcome, factory = dialling.dial()
    dialling.fails(factory, number)
    failed: list[Failure] = []
    outcome.addErrback(failed.append)
    assert [type(each.value) for each in failed] == [DialFailed]
    assert os.strerror(number).lower() in str(failed[0].value)
    assert (dialling.told, dialling.origin in dialling.pool.doubts) == ([], False)
