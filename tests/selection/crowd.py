"""Many replicas behind a pool, and candidates that count who looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from twisted.internet.task import Clock

from ngpu.discovery import discover
from ngpu.interfaces import PluginContext
from ngpu.member import CallResult, Member
from ngpu.model import Node, Replica, Requirement, SelectionRequest
from ngpu.pool import Pool

PLUGINS = discover([])
NAMES = PLUGINS.names("selection")
OPTIONS: dict[str, dict[str, Any]] = {"sticky": {"header": "X-Session"}}
NODE = Node("0x1", "h")
REQUEST = SelectionRequest("w", 8080, "/")


def policy(name: str, seed: int = 1, clock: Clock | None = None, **options: Any) -> Any:
    """An instance of a plugin of the house."""
    context = PluginContext(clock or Clock(), Random(seed), ".")
    return PLUGINS.make("selection", name, options or OPTIONS.get(name, {}), context)


def asked_by(session: str) -> SelectionRequest:
    """A request of a session."""
    return SelectionRequest("w", 8080, "/", (), session)


class Crowd:
    """A pool whose replicas are all up."""

    def __init__(
        self, chooser: Any, count: int = 3, slots: int = 1, nodes: Sequence[Node] = (NODE,), **pool: Any
    ) -> None:
        self.now = 0.0
        replicas = [Replica(f"r{number}", "w", nodes[number % len(nodes)], {}, slots) for number in range(count)]
        self.pool = Pool(replicas, chooser, pool.get("require", Requirement()))
        for replica in replicas:
            self.pool.checked(replica.id, True, "", self.now)

    def take(self, request: SelectionRequest = REQUEST) -> Member:
        member = self.pool.take(request, self.now)
        assert member is not None
        return member

    def give(self, member: Member, seconds: float = 1.0, result: CallResult = CallResult.ANSWERED) -> None:
        self.pool.give_back(member, result, seconds, self.now)

    def call(self, seconds: float = 1.0, result: CallResult = CallResult.ANSWERED, session: str = "") -> str:
        """One call, wherever it lands; where that was."""
        member = self.take(asked_by(session))
        self.give(member, seconds, result)
        return member.replica.id

    def calls(self, count: int) -> list[str]:
        return [self.call() for _ in range(count)]


class Watched:
    """A candidate that tells when somebody looks at it."""

    def __init__(self, replica: Replica, looked_at: set[str], in_flight: int, latency: float) -> None:
        self._replica = replica
        self._looked_at = looked_at
        self._figures = {"in_flight": in_flight, "latency": latency, "last_used": 1.0, "suspect": False}

    @property
    def replica(self) -> Replica:
        self._looked_at.add(self._replica.id)
        return self._replica

    def __getattr__(self, name: str) -> Any:
        self._looked_at.add(self._replica.id)
        return self._figures[name]

    def moves_on(self, rng: Random) -> None:
        self._figures |= {"in_flight": rng.randrange(4), "latency": rng.uniform(0.5, 5)}


class Shown(Sequence[Any]):
    """Candidates that one may pick from, and not go through."""

    def __init__(self, candidates: Sequence[Any]) -> None:
        self._candidates = candidates

    def __len__(self) -> int:
        return len(self._candidates)

    def __getitem__(self, index: Any) -> Any:
        assert isinstance(index, int), "a slice is as long as it is wide"
        return self._candidates[index]

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("this goes through all of them")
