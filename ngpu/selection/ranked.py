"""Policies that choose the replica with the least rank."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from zope.interface import implementer

from ngpu.model import Candidate, SelectionRequest
from ngpu.policy import IObservingPolicy
from ngpu.selection.ranking import Ranking


@implementer(IObservingPolicy)
class Ranked:
    """A policy by ``rank``, which is all that a subclass has to write.

    It is computed when a replica's figures change, not when one is chosen, so it must depend on nothing else: not on
    the time, and not on the request. A choice costs O(1), a change O(log n), and ties are broken at random.
    """

    def __init__(self, rng: Random) -> None:
        self._ranking: Ranking[Candidate] = Ranking(rng)
        self._told = False

    def rank(self, candidate: Candidate) -> Any:
        """What it is chosen by, the least first: a number, or a tuple that compares."""
        raise NotImplementedError

    def changed(self, candidate: Candidate) -> None:
        """See `IObservingPolicy.changed`."""
        self._told = True
        self._ranking.put(candidate.replica.id, (candidate.suspect, self.rank(candidate)), candidate)

    def unavailable(self, candidate: Candidate) -> None:
        """See `IObservingPolicy.unavailable`."""
        self._ranking.drop(candidate.replica.id)

    def finished(self, candidate: Candidate, seconds: float) -> None:
        """See `IObservingPolicy.finished`."""

    def removed(self, candidate: Candidate) -> None:
        """See `IObservingPolicy.removed`."""

    def select(self, replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """See `ISelectionPolicy.select`. One that is told of nothing, as in a small test, looks at all of them."""
        if not self._told:
            for candidate in replicas:
                self.changed(candidate)
            chosen = self._ranking.first()
            for candidate in replicas:
                self.unavailable(candidate)
            self._told = False
            return chosen
        return self._ranking.first()
