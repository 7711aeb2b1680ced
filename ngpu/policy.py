"""What a selection policy may provide beside `ngpu.interfaces.ISelectionPolicy`: it is told more, or asked more."""

from __future__ import annotations

from collections.abc import Callable

from ngpu.interfaces import ISelectionPolicy
from ngpu.model import Candidate


class IObservingPolicy(ISelectionPolicy):
    """A policy that is told of every change, and so need not look at all replicas to choose one.

    It may keep candidates for as long as they are available. `ngpu.selection.Ranked` has all of this but the rank.
    These are synchronous too; one that raises is called again before the next choice, which fails if it raises again.
    """

    def changed(candidate: Candidate) -> None:
        """The replica became available, or its figures changed while it is. The same object for as long as it is."""

    def unavailable(candidate: Candidate) -> None:
        """It is available no more: all its slots are taken, it rests, is down or is removed."""

    def finished(candidate: Candidate, seconds: float) -> None:
        """A call of it ended, available or not, but for one that was given up, which says nothing.

        :param seconds: that it took; of one that failed, at least several times what is usual.
        """

    def removed(candidate: Candidate) -> None:
        """It will not come back; whatever is kept of it can be forgotten. `unavailable` came before."""


class IAffinePolicy(ISelectionPolicy):
    """A policy that keeps requests together which have something in common."""

    def affinity(header: Callable[[str], str | None], body: bytes) -> str:
        """What this request has in common with those that belong to the same replica; "" for none.

        Asked once for each request, as it comes in; choices for it find the answer in ``request.affinity``. What it
        raises costs the request its affinity, and is logged.

        :param header: the value of a field of the customer's HTTP request; ``None`` where it has none.
        :param body: what goes to the replica; empty where it is longer than 256 KiB.
        """
