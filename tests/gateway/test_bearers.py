"""The admin token in ``Authorization`` with a clock that a test turns: who may guess, and whom that costs nothing."""

from __future__ import annotations

import pytest

from ngpu.errors import TooManyTries, Unauthorized
from ngpu.http.bearer import REMEMBERED, Bearers
from ngpu.http.session import BY_ADDRESS
from ngpu.tenancy import credential_of

TOKEN = "the admin token"
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"


class Door:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.bearers = Bearers(TOKEN, lambda: self.now)

    def show(self, token: str = TOKEN, address: str = HERE) -> None:
        self.bearers.look(token, address)

    def guess(self, times: int, address: str = HERE) -> None:
        """So many different wrong ones, each of which is looked at."""
        for number in range(times):
            with pytest.raises(Unauthorized):
                self.show(f"{address} {self.now} {number}", address)


@pytest.fixture
def door() -> Door:
    return Door()


def test_whoever_guesses_has_to_wait_and_is_not_told_which_was_right(door: Door) -> None:
    door.guess(BY_ADDRESS.burst)
    for token in ("one more", TOKEN):
        with pytest.raises(TooManyTries) as caught:
            door.show(token)
        assert 0 < caught.value.retry_after <= BY_ADDRESS.seconds
    door.now += BY_ADDRESS.seconds
    door.guess(1)
    door.now += BY_ADDRESS.seconds
    door.show()


def test_the_right_token_is_let_in_where_it_was_shown_before_whoever_guesses_there(door: Door) -> None:
    door.show()
    door.guess(BY_ADDRESS.burst)
    with pytest.raises(TooManyTries):
        door.show("one more")
    for _ in range(100):
        door.show()


def test_the_right_token_costs_nothing_and_neither_do_guesses_from_elsewhere(door: Door) -> None:
    for number in range(100):
        door.guess(1, f"203.0.113.{number}")
    for number in range(100):
        door.show(address=f"192.0.2.{number}")


def test_an_old_token_that_is_sent_again_and_again_is_one_guess(door: Door) -> None:
    for _ in range(1000):
        with pytest.raises(Unauthorized):
            door.show("the token of last week")
    door.show()
    door.guess(1, ELSEWHERE)


def test_a_token_that_begins_as_keys_may_opens_all_the_same() -> None:
    """``ngpu_`` is taken off what callers show before it comes here."""
    Bearers("ngpu_secret", lambda: 0.0).look(credential_of("Bearer ngpu_secret"), HERE)


def test_only_so_many_wrong_ones_are_remembered(door: Door) -> None:
    for number in range(REMEMBERED + 10):
        door.now += BY_ADDRESS.seconds
        with pytest.raises(Unauthorized):
            door.show(str(number))
    assert len(door.bearers._wrong) == REMEMBERED


def test_what_is_no_text_at_all_is_a_wrong_one(door: Door) -> None:
    for token in ("", "\ud800", "é\x00", "x" * 100_000):
        with pytest.raises(Unauthorized):
            door.show(token)
