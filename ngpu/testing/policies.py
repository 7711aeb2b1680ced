"""The contract of selection policies: `ngpu.interfaces.ISelectionPolicy`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from ngpu.model import Candidate, SelectionRequest
from ngpu.testing.candidates import FakeCandidate, candidate, request
from ngpu.testing.contract import Contract
from ngpu.testing.making import SEED

MANY = 1000
ROUNDS = 50

REQUESTS = (
    request(),
    request("/a?b=%ff", ((b"Host", b"h"), (b"X-User", b"\xff\x00"), (b"x-user", b"twice"))),
    request("/", (), 1),
)


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
            _choose(contract, contract.make(), offered, asked)
    _copes_with_change(contract, some)
    if _history(contract, some, SEED) != _history(contract, some, SEED):
        contract.broken("with one seed it chooses now so, now so: all chance must come from context.rng")


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


def _choose(contract: Contract, policy: Any, offered: Sequence[Candidate], asked: SelectionRequest) -> Candidate | None:
    """One choice, of one of those that were offered."""
    offer = Offer(offered)
    try:
        chosen = policy.select(offer, asked)
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
    policy = contract.make()
    if all(_choose(contract, policy, offered, asked) is None for asked in REQUESTS * 4):
        contract.broken(
            f"select never chose one of {_so_many(offered)}; if it takes certain ones only, hand some of them to "
            "verify_plugin as replicas="
        )


def _copes_with_change(contract: Contract, fleet: Sequence[Candidate]) -> None:
    """Replicas come and go, their figures and their order change; each choice is of those that are there."""
    rng, policy = Random(SEED), contract.make()
    for turn in range(ROUNDS):
        there = [_moved_on(each, turn) for each in rng.sample(fleet, rng.randint(1, len(fleet)))]
        _choose(contract, policy, there, REQUESTS[turn % len(REQUESTS)])


def _moved_on(each: Candidate, turn: int) -> Candidate:
    """The same replica a little later, as another object, so that one that was kept is found out."""
    if not isinstance(each, FakeCandidate):
        return each
    latency = None if turn % 7 == 0 else (each.latency or 0.0) + turn
    return replace(each, latency=latency, last_used=None if latency is None else 1_700_000_100.0 + turn)


def _history(contract: Contract, fleet: Sequence[Candidate], seed: int) -> list[str]:
    policy = contract.make(contract.context(seed=seed))
    chosen = (_choose(contract, policy, fleet, REQUESTS[turn % len(REQUESTS)]) for turn in range(ROUNDS))
    return ["" if each is None else each.replica.id for each in chosen]


def _so_many(offered: Sequence[Candidate]) -> str:
    return "1 replica" if len(offered) == 1 else f"{len(offered)} replicas"
