"""What goes wrong, and when: a schedule that is the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

KILL, PAUSE, CUT, STALL, JUMP, FULL = "kill -9", "SIGSTOP", "cut", "stall", "clock", "full disk"
FAILOVER = "failover"
GATEWAY, WORKER, REDIS, CLIENTS, TERM = "gateway", "worker", "redis", "clients", "TERM"

SHORTEST, LONGEST = 0.4, 2.2
"""Seconds of quiet between two faults."""

LEASE = 3.0
"""Seconds after which a gateway of the trial counts as gone; some pauses are longer."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    :ivar after: seconds of quiet before it.
    :ivar what: kind and what it happens to, the words of a line in the tally.
    :ivar nth: which of these, where there are several.
    :ivar length: seconds until it is put right; of a jump of the clock the seconds that it jumps by.
    """

    after: float
    what: tuple[str, str]
    nth: int
    length: float


WEIGHTS: Mapping[str, Mapping[tuple[str, str], int]] = {
    "sqlite": {
        (KILL, GATEWAY): 5,
        (TERM, GATEWAY): 1,
        (PAUSE, GATEWAY): 2,
        (CUT, CLIENTS): 3,
        (CUT, WORKER): 3,
        (STALL, WORKER): 2,
        (KILL, WORKER): 2,
        (PAUSE, WORKER): 1,
        (JUMP, GATEWAY): 3,
        (FULL, GATEWAY): 2,
    },
    "redis": {
        (KILL, GATEWAY): 6,
        (TERM, GATEWAY): 2,
        (PAUSE, GATEWAY): 5,
        (CUT, CLIENTS): 2,
        (CUT, WORKER): 3,
        (STALL, WORKER): 1,
        (KILL, WORKER): 2,
        (PAUSE, WORKER): 1,
        (JUMP, GATEWAY): 3,
        (CUT, REDIS): 5,
        (STALL, REDIS): 4,
        (KILL, REDIS): 3,
        (TERM, REDIS): 1,
        (PAUSE, REDIS): 3,
        (FULL, REDIS): 2,
    },
    "sentinel": {
        (KILL, GATEWAY): 2,
        (PAUSE, GATEWAY): 2,
        (CUT, WORKER): 2,
        (CUT, CLIENTS): 2,
        (FAILOVER, REDIS): 3,
    },
}
"""How often each fault comes, by mode."""


def schedule(seed: int, seconds: float, mode: str, targets: Mapping[str, int]) -> list[Fault]:
    """Faults whose own times add up to so many seconds.

    :param targets: how many gateways, workers and so on there are.
    """
    rng = random.Random(f"{seed} {mode}")
    kinds, weights = zip(*WEIGHTS[mode].items(), strict=True)
    faults: list[Fault] = []
    spent = 0.0
    while spent < seconds:
        what = rng.choices(kinds, weights)[0]
        after, length = rng.uniform(SHORTEST, LONGEST), _length(what, rng)
        faults.append(Fault(round(after, 3), what, rng.randrange(targets.get(what[1], 1)), round(length, 3)))
        spent += after + (0 if what[0] == JUMP else length)
    return faults


def _length(what: tuple[str, str], rng: random.Random) -> float:
    kind, target = what
    if kind == JUMP:
        return rng.choice([-1, 1]) * rng.choice([5.0, 90.0, 3600.0])
    if kind == PAUSE and target == GATEWAY:
        return rng.choice([rng.uniform(0.2, 1.5), rng.uniform(LEASE + 1, LEASE + 3)])
    if kind == STALL and target == REDIS:
        return rng.choice([rng.uniform(0.2, 1.5), rng.uniform(LEASE, LEASE + 2)])
    if kind == FULL:
        return rng.uniform(0.5, 2.0)
    return rng.uniform(0.0, 2.0)
