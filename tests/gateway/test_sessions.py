"""Sessions of the dashboard with a clock that a test turns: how long they last, how many there are, who may guess."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred

from ngpu.errors import StoreUnavailable, TooManyTries, Unauthorized
from ngpu.http.session import BY_ADDRESS, MOST, TTL, Session, Sessions
from ngpu.testing.documents import MemoryDocuments

T = TypeVar("T")
TOKEN = "the admin token"


def done(work: Coroutine[Any, Any, T]) -> T:
    """What it gives; it must not wait."""
    found: list[T] = []
    failed: list[BaseException] = []
    Deferred.fromCoroutine(work).addCallbacks(found.append, lambda failure: failed.append(failure.value))
    if failed:
        raise failed[0]
    return found[0]


class House:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.shelf: dict[str, dict[str, str]] = {}
        self.documents = MemoryDocuments(self.shelf)
        self.sessions = self.gateway()

    def gateway(self, token: str = TOKEN) -> Sessions:
        """Another one on the same store."""
        return Sessions(token, self.documents, lambda: self.now)

    def log_in(self, token: str = TOKEN, address: str = "192.0.2.1") -> Session:
        return done(self.sessions.begin(token, address))

    def is_open(self, session: Session) -> bool:
        return done(self.sessions.find(session.name)) is not None


@pytest.fixture
def house() -> House:
    return House()


def test_it_ends_after_its_time_whatever_is_done_in_it(house: House) -> None:
    session = house.log_in()
    assert session.ends == house.now + TTL
    house.now += TTL - 1
    assert house.is_open(session)
    house.now += 1
    assert not house.is_open(session)


def test_a_clock_that_is_set_back_does_not_lengthen_it(house: House) -> None:
    session = house.log_in()
    house.now -= 3600
    assert not house.is_open(session)


def test_every_gateway_on_the_store_knows_it_that_has_the_same_token(house: House) -> None:
    session = house.log_in()
    assert done(house.gateway().find(session.name)) == session
    assert done(house.gateway("another").find(session.name)) is None
    done(house.gateway().end(session))
    assert not house.is_open(session)


def test_the_store_holds_nothing_that_opens_anything(house: House) -> None:
    session = house.log_in()
    kept = str(house.shelf)
    assert session.name not in kept and TOKEN not in kept
    (key,) = house.shelf["admin_sessions"]
    assert done(house.sessions.find(key)) is None


def test_there_are_so_many_at_most_and_the_oldest_goes(house: House) -> None:
    opened = []
    for _ in range(MOST + 3):
        house.now += 1
        opened.append(house.log_in())
    assert [house.is_open(each) for each in opened] == [False] * 3 + [True] * MOST
    assert len(house.shelf["admin_sessions"]) == MOST
    house.now += TTL
    house.log_in()
    assert len(house.shelf["admin_sessions"]) == 1, "those that are over are forgotten"


def test_whoever_guesses_has_to_wait_and_others_do_not(house: House) -> None:
    house.log_in(address="192.0.2.7")
    for number in range(BY_ADDRESS.burst):
        with pytest.raises(Unauthorized):
            house.log_in(f"guess {number}")
    with pytest.raises(TooManyTries) as caught:
        house.log_in()
    assert 0 < caught.value.retry_after <= BY_ADDRESS.seconds
    house.log_in(address="192.0.2.7")
    house.now += BY_ADDRESS.seconds
    house.log_in()
    for _ in range(100):
        house.log_in()


def test_many_who_guess_do_not_lock_out_who_was_here_before(house: House) -> None:
    house.log_in(address="192.0.2.7")
    refused = 0
    for number in range(100):
        with pytest.raises((Unauthorized, TooManyTries)) as caught:
            house.log_in("guess", address=f"198.51.100.{number}")
        refused += caught.type is TooManyTries
    assert refused > 60
    house.log_in(address="192.0.2.7")


def test_while_the_store_is_away_nobody_is_logged_in(house: House) -> None:
    session = house.log_in()
    house.documents.refusing = "the store is away"
    with pytest.raises(StoreUnavailable):
        house.log_in()
    with pytest.raises(StoreUnavailable):
        house.is_open(session)
