"""The contract of selection policies: `ngpu.interfaces.ISelectionPolicy`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from ngpu.model import Candidate, SelectionRequest
from ngpu.policy import IAffinePolicy, IObservingPolicy
from ngpu.testing.candidates import FakeCandidate, candidate, request
from ngpu.testing.contract import Contract
from ngpu.testing.making import SEED

MANY = 1000
ROUNDS = 50

REQUESTS = (
    request(),
    request("/a?b=%ff", ((b"Host", b"h"), (b"X-User", b"\xff\x00"), (b"x-user", b"twice"))),
    request("/", (), 1, "user-7"),
    request("/", (), 1, "ü" * 256),
)
BODIES = (b"", b"{}", b"[1, {}]", b"\xff", b'{"a": {"b": [1]}}', b"[" * 100_000, b'"\\ud800"')


class Offer(Sequence[Candidate]):
    """Candidates as the gateway shows them: read-only."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = tuple(candidates)

    def __len__(self) -> int:
        return len(self._candidates)

    def __getitem__(self, index: Any) -> Any:
        return self._candidates[index]

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._candidates)


def verify_policy(contract: Contract, replicas: Sequence[Any] | None) -> None:
    """Try every clause.

    :param replicas: to choose from; by default some of every kind.
    """
    some = list(replicas) if replicas is not None else list(_fleet(8))
    _chooses(contract, some)
    for offered in (some, some[:1], some if replicas is not None else list(_fleet(MANY))):
        for asked in REQUESTS:
            _choose(contract, _Watched(contract), offered, asked)
    _knows_affinity(contract)
    _copes_with_change(contract, some)
    if _history(contract, some, SEED) != _history(contract, some, SEED):
        contract.broken("with one seed it chooses now so, now so: all chance must come from context.rng")


class _Watched:
    """A fresh instance that is told of what it is offered, as the gateway does, where it wants to know."""

    def __init__(self, contract: Contract, seed: int = SEED) -> None:
        self.policy = contract.make(contract.context(seed=seed))
        self._contract = contract
        self._observes = IObservingPolicy.providedBy(self.policy)
        self._there: dict[str, Candidate] = {}

    def offer(self, candidates: Sequence[Candidate], suspects: Sequence[Candidate] = ()) -> None:
        """These are available now, and no others; suspects are, too, and are not offered beside those."""
        if not self._observes:
            return
        candidates = [*candidates, *suspects]
        now = {each.replica.id: each for each in candidates}
        gone = [each for name, each in self._there.items() if name not in now]
        for number, each in enumerate(gone):
            self._tell("finished", each, 0.5 * number)
            self._tell("unavailable", each)
            if number % 2:
                self._tell("removed", each)
        for each in candidates:
            if each.replica.id in self._there:
                self._tell("finished", each, 2.5)
            self._tell("changed", each)
        self._there = now

    def _tell(self, what: str, *told: Any) -> None:
        try:
            getattr(self.policy, what)(*told)
        except (Exception, SystemExit) as error:
            self._contract.broken(f"{what} raised; it is told of what has happened already", error)


def _fleet(count: int) -> Iterator[Candidate]:
    """Cold and warm ones, fast and slow, idle and nearly busy, on unequal machines."""
    for number in range(count):
        slots = 1 + number % 4
        warm = number % 3
        yield candidate(
            f"r{number}",
            in_flight=number % slots,
            latency=0.5 * number + 0.1 if warm else None,
            last_used=1_700_000_000.0 + number if warm else None,
            slots=slots,
            weight=1 + number % 5,
            gpu="RTX 3090" if number % 2 else "A100",
            labels={"area": "eu" if number % 2 else "us"},
        )


def _choose(
    contract: Contract,
    watched: _Watched,
    offered: Sequence[Candidate],
    asked: SelectionRequest,
    suspects: Sequence[Candidate] = (),
) -> Candidate | None:
    """One choice, of one of those that were offered."""
    offer = Offer(offered)
    watched.offer(offered, suspects)
    try:
        chosen = watched.policy.select(offer, asked)
    except (Exception, SystemExit) as error:
        contract.broken(
            f"select raised over {_so_many(offered)}; it must return one of them, or None to let the request wait, and "
            "change neither the sequence nor what is in it",
            error,
        )
    if inspect.isawaitable(chosen):
        if inspect.iscoroutine(chosen):
            chosen.close()
        contract.broken("select is asynchronous; it must answer at once, and do no I/O")
    if chosen is not None and not any(chosen is each for each in offered):
        contract.broken(
            f"select returned {chosen!r}, which is none of {_so_many(offered)} that it was given this time: return one "
            "of them as it is, and keep none from one choice to the next"
        )
    return chosen if chosen is None else next(each for each in offered if each is chosen)


def _chooses(contract: Contract, offered: Sequence[Candidate]) -> None:
    policy = _Watched(contract)
    if all(_choose(contract, policy, offered, asked) is None for asked in REQUESTS * 4):
        contract.broken(
            f"select never chose one of {_so_many(offered)}; if it takes certain ones only, hand some of them to "
            "verify_plugin as replicas="
        )


def _copes_with_change(contract: Contract, fleet: Sequence[Candidate]) -> None:
    """Replicas come and go, their figures and their order change; each choice is of those that are there."""
    rng, policy = Random(SEED), _Watched(contract)
    for turn in range(ROUNDS):
        there = [_moved_on(each, turn) for each in rng.sample(fleet, rng.randint(1, len(fleet)))]
        trusted = len(there) if turn % 3 else rng.randint(0, len(there))
        suspects = [_suspect(each) for each in there[trusted:]]
        if trusted:
            _choose(contract, policy, there[:trusted], REQUESTS[turn % len(REQUESTS)], suspects)
        else:
            _choose(contract, policy, suspects, REQUESTS[turn % len(REQUESTS)])


def _suspect(each: Candidate) -> Candidate:
    return replace(each, suspect=True) if isinstance(each, FakeCandidate) else each


def _moved_on(each: Candidate, turn: int) -> Candidate:
    """The same replica a little later, as another object, so that one that was kept is found out."""
    if not isinstance(each, FakeCandidate):
        return each
    latency = None if turn % 7 == 0 else (each.latency or 0.0) + turn
    return replace(each, latency=latency, last_used=None if latency is None else 1_700_000_100.0 + turn)


def _history(contract: Contract, fleet: Sequence[Candidate], seed: int) -> list[str]:
    policy = _Watched(contract, seed)
    chosen = (_choose(contract, policy, fleet, REQUESTS[turn % len(REQUESTS)]) for turn in range(ROUNDS))
    return ["" if each is None else each.replica.id for each in chosen]


def _knows_affinity(contract: Contract) -> None:
    """What it is asked of every request, it says of every request."""
    policy = contract.make()
    if not IAffinePolicy.providedBy(policy):
        return
    for body in BODIES:
        for value in (None, "", "7", "\udcff"):
            try:
                found = policy.affinity(partial(_says, value), body)
            except (Exception, SystemExit) as error:
                contract.broken(f"affinity raised over a body that begins with {body[:20]!r}", error)
            if not isinstance(found, str):
                contract.broken(f"affinity returned {found!r}; it must be a str, empty where there is none")


def _says(value: str | None, name: str) -> str | None:
    """A header's value, whatever the header."""
    return value


def _so_many(offered: Sequence[Candidate]) -> str:
    return "1 replica" if len(offered) == 1 else f"{len(offered)} replicas"
