"""A replica as its workspace's pool keeps it: its live figures, and the available ones in the order of their places."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ngpu.model import Replica
from ngpu.standing import Standing

FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds of the first rest, which doubles with each one that follows without a success between, up to the longest."""


class Health(enum.Enum):
    """What the active checks say; UNKNOWN before the first."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


class CallResult(enum.Enum):
    """How a call ended, as far as the replica's standing goes.

    ANSWERED: it works. ERRED: it answered with a server error. BROKE: the transport failed or it took too long.
    UNREACHED: no connection. ABANDONED: we gave up, which says nothing about it. SWITCHED: it works, and how long that
    took is its client's business.
    """

    ANSWERED = "answered"
    ERRED = "erred"
    BROKE = "broke"
    UNREACHED = "unreached"
    ABANDONED = "abandoned"
    SWITCHED = "switched"


@dataclass(eq=False, slots=True)
class Member:
    """A replica and its live figures; what a policy sees as a `ngpu.model.Candidate`."""

    replica: Replica
    in_flight: int = 0  # over all gateways
    elsewhere: int = 0  # of these, those of other gateways
    refused: bool = False  # the store had no slot of it for us, and nothing was heard since
    latency: float | None = None
    last_used: float | None = None
    health: Health = Health.UNKNOWN
    reason: str = "not checked yet"
    failures: int = 0
    rests: int = 0
    resting_until: float = 0.0
    suspect: bool = False
    draining: bool = False  # from then on, and when it was removed, it is never chosen
    standing: Standing = field(default_factory=Standing)
    tier: Tier | None = None  # the available ones that it is among
    place: int = -1  # its index there, -1 when it is not available

    @property
    def own(self) -> int:
        """Calls of this gateway that it works on."""
        return self.in_flight - self.elsewhere

    def rest(self, now: float) -> None:
        """Keep it out of the choice for a while, longer each time."""
        self.resting_until = now + min(FIRST_REST * 2**self.rests, LONGEST_REST)
        self.rests = min(self.rests + 1, 16)
        self.failures = 0


class Choice(Sequence[Member]):
    """The available replicas, live and read-only: a policy that sorts or empties what it is given harms nobody."""

    __slots__ = ("_members",)

    def __init__(self, members: list[Member]) -> None:
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: Any) -> Any:
        return self._members[index]

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members)


class Tier:
    """Available replicas that a policy is shown together."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self.choice = Choice(self._members)

    def put(self, member: Member) -> None:
        """Take it in, in constant time."""
        member.tier, member.place = self, len(self._members)
        self._members.append(member)

    def drop(self, member: Member) -> None:
        """Leave it out, in constant time: the last one fills its gap."""
        last = self._members.pop()
        if last is not member:
            self._members[member.place] = last
            last.place = member.place
        member.tier, member.place = None, -1
