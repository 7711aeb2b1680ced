"""A selection policy as its pool knows it: it may raise or choose nonsense, and costs one request each time it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.errors import BadRequest, PolicyFailed
from ngpu.families import Broken
from ngpu.interfaces import ISelectionPolicy
from ngpu.model import CHUNK, Candidate, SelectionRequest
from ngpu.policy import IAffinePolicy, IObservingPolicy

TRACEBACK_EVERY = 10.0
"""Seconds between two tracebacks of a selection policy that raises."""

LONGEST_AFFINITY = 256
"""Characters of a request's affinity that count: it is kept for as long as a task waits."""


class Chooser:
    """Asks a policy, and tells it what it wants to know.

    :param label: what the log calls its workspace.
    """

    log = Logger("ngpu.pool")

    def __init__(self, policy: ISelectionPolicy, label: str) -> None:
        self._policy = policy
        self._label = label
        self._observer: Any = policy if IObservingPolicy.providedBy(policy) else None
        self._affine: Any = policy if IAffinePolicy.providedBy(policy) else None
        self._owed: dict[str, tuple[str, Candidate]] = {}
        self._next_traceback = 0.0

    def choose(self, replicas: Sequence[Any], request: SelectionRequest, now: float) -> Any:
        """What the policy returns.

        :raises PolicyFailed: it raised, now or when it was told of something before.
        """
        try:
            while self._owed:
                name, (what, candidate) = next(iter(self._owed.items()))
                getattr(self._observer, what)(candidate)
                self._owed.pop(name, None)
            return self._policy.select(replicas, request)
        except Broken:
            self._tell_of(Failure(), now)
            raise PolicyFailed("this workspace's selection policy failed; its operator can see why") from None

    def refuse(self, chosen: object) -> PolicyFailed:
        """The error of a choice that was not there to choose; it is logged."""
        self.log.critical(
            "the selection policy of {workspace} chose something that is not available: a {kind}",
            workspace=self._label,
            kind=type(chosen).__name__,
        )
        return PolicyFailed("this workspace's selection policy chose no available replica; its operator can see why")

    def show(self, candidate: Candidate, available: bool, now: float) -> None:
        """The figures of a candidate changed, or whether it is available."""
        self._tell("changed" if available else "unavailable", candidate, now)

    def removed(self, candidate: Candidate, now: float) -> None:
        """A candidate will not come back."""
        self._tell("removed", candidate, now)

    def finished(self, candidate: Candidate, seconds: float, now: float) -> None:
        """A call ended."""
        if self._observer is not None:
            try:
                self._observer.finished(candidate, seconds)
            except Broken:
                self._tell_of(Failure(), now)

    def affinity(self, header: Callable[[str], str | None], body: bytes, now: float) -> str:
        """What a request has in common with others; "" where the policy does not ask.

        :raises BadRequest: a header field that it asks for was sent twice.
        """
        if self._affine is None:
            return ""
        try:
            found = self._affine.affinity(header, body if len(body) <= CHUNK else b"")
            if not isinstance(found, str):
                raise TypeError(f"affinity must return a str, not a {type(found).__name__}")
        except BadRequest:
            raise
        except Broken:
            self._tell_of(Failure(), now)
            return ""
        return found[:LONGEST_AFFINITY]

    def _tell(self, what: str, candidate: Candidate, now: float) -> None:
        if self._observer is None:
            return
        self._owed.pop(candidate.replica.id, None)
        try:
            getattr(self._observer, what)(candidate)
        except Broken:
            self._owed[candidate.replica.id] = what, candidate
            self._tell_of(Failure(), now)

    def _tell_of(self, failure: Failure, now: float) -> None:
        """Each failure is a line; the whole traceback would be too much for a burst of them."""
        if now >= self._next_traceback:
            self._next_traceback = now + TRACEBACK_EVERY
            self.log.failure("the selection policy of {workspace} raised", failure, workspace=self._label)
        else:
            error = failure.getErrorMessage()
            self.log.critical("the selection policy of {workspace} raised: {error}", workspace=self._label, error=error)
