"""Logging in: what is right, what is not, what it costs, and what a token opens afterwards."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
import yaml
from cloud_rig import Documents, account, cloud_settings, done
from processes import ROOT
from twisted.internet.defer import CancelledError, Deferred

from ngpu.cloud.accounts import AT_ONCE, WAITING, Accounts
from ngpu.cloud.attempts import Attempts, Rate
from ngpu.cloud.passwords import hash_sent, matches, sent_for
from ngpu.cloud.tokens import make_token
from ngpu.errors import TooManyTries, Unauthorized, Unavailable
from ngpu.settings import Cloud, ScryptHash, scrypt_hash

ANN, BOB = account("ann@example.org", "111111"), account("Bob@Example.org", "hunter2")


class House:
    """Accounts with a clock that a test turns."""

    def __init__(self, settings: Cloud | None = None, documents: Documents | None = None) -> None:
        self.now = 1_700_000_000.0
        self.documents = documents or Documents()
        self.checked: list[ScryptHash] = []
        self.held: list[Deferred[None]] | None = None
        self.accounts = Accounts(settings or cloud_settings(ANN, BOB), self.documents, lambda: self.now, self._check)
        done(self.accounts.open())

    async def _check(self, sent: str, kept: ScryptHash) -> bool:
        self.checked.append(kept)
        if self.held is not None:
            self.held.append(Deferred())
            await self.held[-1]
        return matches(sent, kept)

    def login(self, email: str = "ann@example.org", password: str = "111111", address: str = "192.0.2.1") -> str:
        return done(self.accounts.login(email, sent_for(password), address))

    def fail(self, **who: str) -> str:
        with pytest.raises(Unauthorized) as caught:
            self.login(**{"password": "wrong", **who})
        return str(caught.value)


def test_what_the_client_sends_is_the_md5_of_the_password_in_hex() -> None:
    assert sent_for("111111") == hashlib.md5(b"111111").hexdigest() == "96e79218965eb72c92a549dd5a330112"


def test_a_hash_is_read_as_it_is_written() -> None:
    made = hash_sent(sent_for("111111"), b"12345678")
    assert scrypt_hash(str(made)) == made
    assert (made.n, made.r, made.p) == (16384, 8, 1)
    assert matches(sent_for("111111"), made)
    assert not matches(sent_for("111112"), made)
    assert not matches("111111", made)
    assert made.hash.hex() not in repr(made)


def test_the_dearest_hash_that_a_configuration_may_have_can_be_checked() -> None:
    """Memory beyond what the library is told to take would be an error at every login."""
    kept = scrypt_hash(f"scrypt$131072$8$1${'aa' * 8}${'bb' * 32}")
    assert not matches("x", kept)


def test_a_right_password_gives_a_token_that_opens_the_account() -> None:
    house = House()
    assert house.accounts.open_token(house.login()).email == "ann@example.org"
    token = house.login(email=" BOB@example.ORG", password="hunter2")
    assert house.accounts.open_token(token).email == "Bob@Example.org"


def test_nobody_learns_which_email_addresses_there_are() -> None:
    """The same words, and as dear a check: of the hash that a real account has."""
    house = House()
    assert house.fail() == house.fail(email="nobody@example.org") == house.fail(email="")
    assert len(house.checked) == 3
    assert {(each.n, each.r, each.p) for each in house.checked} == {(1024, 8, 1)}


def test_the_right_password_of_another_account_opens_nothing() -> None:
    house = House()
    house.fail(password="hunter2")
    house.fail(email="nobody@example.org", password="111111")


def test_a_token_ends_with_its_time() -> None:
    house = House(cloud_settings(ANN, token_ttl="10m"))
    token = house.login()
    house.now += 599
    assert house.accounts.open_token(token)
    house.now += 2
    with pytest.raises(Unauthorized, match="log in again"):
        house.accounts.open_token(token)


def test_a_token_outlives_a_restart_and_not_the_store() -> None:
    house = House()
    token = house.login()
    assert House(documents=house.documents).accounts.open_token(token)
    with pytest.raises(Unauthorized):
        House().accounts.open_token(token)


def test_a_token_ends_when_the_account_or_its_password_leaves_the_configuration() -> None:
    house = House()
    token = house.login()
    changed = account("ann@example.org", "222222")
    for settings in (cloud_settings(BOB), cloud_settings(changed, BOB)):
        with pytest.raises(Unauthorized):
            House(settings, house.documents).accounts.open_token(token)


def test_the_store_alone_makes_no_token() -> None:
    """Its secret is half of the key; the other half is the hash of the password."""
    house = House()
    secret = bytes.fromhex(json.loads(house.documents.kept["cloud_secrets"]["tokens"])["secret"])
    forged = make_token(secret, account("ann@example.org", "guessed"), house.now + 60)
    with pytest.raises(Unauthorized):
        house.accounts.open_token(forged)


@pytest.mark.parametrize("change", ["cut", "time", "account", "mark", "tail", "more"])
def test_a_token_that_was_changed_opens_nothing(change: str) -> None:
    house = House()
    mine, other = house.login(), house.login(email="bob@example.org", password="hunter2")
    parts = mine.split(".")
    changed = {
        "cut": mine[:-1],
        "time": ".".join([*parts[:2], str(int(parts[2]) + 9), parts[3]]),
        "account": ".".join([parts[0], other.split(".")[1], *parts[2:]]),
        "mark": "ngpu2" + mine[5:],
        "tail": mine + "é",
        "more": mine + ".x",
    }[change]
    for token in (changed, "", "x", "a.b.c.d", "." * 4, mine + "\n"):
        with pytest.raises(Unauthorized):
            house.accounts.open_token(token)


def test_before_the_store_has_answered_nothing_is_open() -> None:
    house = House()
    token = house.login()
    closed = Accounts(cloud_settings(ANN, BOB), Documents(), lambda: house.now, house._check)
    with pytest.raises(Unauthorized):
        closed.open_token(token)


def test_wrong_passwords_of_an_account_are_limited_from_wherever_they_come() -> None:
    house = House()
    for number in range(10):
        house.fail(address=f"198.51.100.{number}")
    with pytest.raises(TooManyTries) as caught:
        house.login(address="203.0.113.1")
    assert caught.value.retry_after == 30
    assert len(house.checked) == 10, "and cost nothing any more"
    house.login(email="bob@example.org", password="hunter2", address="203.0.113.1")
    house.now += 30
    house.login(address="203.0.113.1")


def test_an_owner_is_not_locked_out_by_strangers() -> None:
    house = House()
    house.login(address="203.0.113.1")
    for number in range(10):
        house.fail(address=f"198.51.100.{number}")
    for _ in range(30):
        house.login(address="203.0.113.1")


def test_wrong_passwords_from_an_address_are_limited_whatever_account_they_are_for() -> None:
    house = House()
    for number in range(20):
        house.fail(email=f"{number}@example.org")
    with pytest.raises(TooManyTries):
        house.login()
    house.login(address="192.0.2.2")
    house.now += 15
    house.login()


def test_an_address_of_ipv6_is_as_good_as_its_neighbours() -> None:
    house = House()
    for number in range(20):
        house.fail(email=f"{number}@example.org", address=f"2001:db8::{number:x}")
    with pytest.raises(TooManyTries):
        house.login(address="2001:db8::ffff")
    house.login(address="2001:db8:1::1")


def test_right_logins_cost_nothing() -> None:
    """The published client logs in anew for each of its commands."""
    house = House()
    for _ in range(50):
        house.login()


def at_once(house: House, password: str, count: int, address: str = "192.0.2.1") -> list[Deferred[str]]:
    """Logins that have all begun before the first of their passwords was looked at."""
    house.held = []
    return [
        Deferred.fromCoroutine(house.accounts.login("ann@example.org", sent_for(password), address))
        for _ in range(count)
    ]


def test_right_logins_at_once_cost_nothing_either() -> None:
    """Several commands of the published client side by side, or one more where all tries but one are wrong."""
    house = House()
    for _ in range(9):
        house.fail()
    logins = at_once(house, "111111", 30)
    left = logins.pop()
    left.addErrback(lambda failure: failure.trap(CancelledError) and None)
    left.cancel()
    assert len(house.checked) == 10
    while house.held:
        house.held.pop(0).callback(None)
    assert all(house.accounts.open_token(each.result) for each in logins)  # type: ignore[attr-defined]
    assert not house.accounts._undecided and not house.accounts._waiting


def test_a_right_login_whose_client_has_left_costs_nothing() -> None:
    house = House()
    for _ in range(12):
        (login,) = at_once(house, "111111", 1)
        login.addErrback(lambda failure: failure.trap(CancelledError) and None)
        login.cancel()
        assert house.held is not None
        house.held.pop().callback(None)
    assert len(house.checked) == 12


def test_wrong_logins_at_once_are_limited_as_one_by_one() -> None:
    house = House()
    ends: list[object] = []
    for each in at_once(house, "wrong", 30 + WAITING):
        each.addErrback(lambda failure: ends.append(failure.check(Unauthorized, TooManyTries)))
    assert ends == [TooManyTries] * 20, "who would wait to see how others end, beyond as many as may"
    while house.held:
        house.held.pop(0).callback(None)
    assert len(house.checked) == ends.count(Unauthorized) == 10
    assert ends.count(TooManyTries) == 20 + WAITING
    assert not house.accounts._undecided and not house.accounts._waiting


def test_buckets_are_kept_for_so_many_only() -> None:
    counted = Attempts(Rate(5, 1.0), Rate(5, 1.0), remembered=10)
    for number in range(100):
        counted.begin(f"192.0.2.{number}", f"{number}@x", 0.0)
        counted.know(f"192.0.2.{number}", f"{number}@x")
    assert len(counted._spent) == len(counted._known) == 10


def test_so_many_passwords_are_checked_at_once_and_so_many_wait() -> None:
    house = House()
    house.held = []
    logins = [Deferred.fromCoroutine(house.accounts.login("bob@example.org", "x", f"10.0.{n}.1")) for n in range(10)]
    logins += [Deferred.fromCoroutine(house.accounts.login(f"{n}@x", "x", f"10.1.{n}.1")) for n in range(WAITING - 8)]
    assert len(house.checked) == AT_ONCE
    with pytest.raises(Unavailable):
        house.login(address="203.0.113.1")
    logins[0].cancel()  # its client has gone, its thread has not
    logins[0].addErrback(lambda _: None)
    assert len(house.checked) == AT_ONCE
    while house.held:
        house.held.pop(0).callback(None)
    for each in logins:
        each.addErrback(lambda failure: failure.trap(Unauthorized) and None)
    assert len(house.checked) == len(logins)
    house.held = None
    house.login(address="203.0.113.1")


def run_account(*arguments: str, typed: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ngpu.cli", "account", *arguments]
    return subprocess.run(command, input=typed, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def test_the_command_prints_an_entry_that_the_configuration_takes() -> None:
    made = run_account("ann@example.org", typed="pass word é\n")
    assert made.returncode == 0
    (entry,) = yaml.safe_load(made.stdout)
    assert entry["email"] == "ann@example.org"
    house = House(Cloud.model_validate({"accounts": (entry,)}))
    assert house.accounts.open_token(house.login(password="pass word é"))
    again = run_account("ann@example.org", typed="pass word é\n")
    assert again.stdout != made.stdout, "each has a salt of its own"


@pytest.mark.parametrize(("email", "typed"), [("ann@example.org", "\n"), ("ann@example.org", ""), ("a b", "x\n")])
def test_the_command_refuses_what_would_be_no_account(email: str, typed: str) -> None:
    refused = run_account(email, typed=typed)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert "Error: " in refused.stderr
