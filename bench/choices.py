"""How long one choice takes among 10, 1,000 and 10,000 replicas: the policy, and the pool's share of a call around it.

python bench/choices.py
"""

from __future__ import annotations

import argparse
import time
from random import Random

from simulation import Clock, policy

from ngpu.discovery import discover
from ngpu.interfaces import PluginContext
from ngpu.member import CallResult
from ngpu.model import Node, Replica, SelectionRequest
from ngpu.pool import Pool

COUNTS = (10, 1_000, 10_000)
REPEATS = 3
"""The best of so many counts: what else the machine does only makes it slower."""


def measure(name: str, count: int, choices: int, slots: int = 4) -> float:
    """Microseconds of ``take`` and ``give_back`` together, while half of all slots are in use."""
    rng, clock = Random(1), Clock()
    replicas = [Replica(f"r{number}", "w", Node(f"0x{number}", "h"), {}, slots) for number in range(count)]
    pool = Pool(replicas, policy(discover([]), name)(PluginContext(clock, rng, ".")))
    for replica in replicas:
        pool.checked(replica.id, True, "", 0.0)
    requests = [SelectionRequest("w", 8080, "/", (), f"s{number}") for number in range(1000)]
    running = [pool.take(requests[number % 1000], 0.0) for number in range(count * slots // 2)]
    ends = [(rng.randrange(len(running)), rng.lognormvariate(0, 1)) for _ in range(choices)]
    begun = time.perf_counter()
    for turn, (index, seconds) in enumerate(ends):
        clock.now += 0.01
        member = running[index]
        assert member is not None
        pool.give_back(member, CallResult.ANSWERED, seconds, clock.now)
        running[index] = pool.take(requests[turn % 1000], clock.now)
    return (time.perf_counter() - begun) / choices * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--choices", type=int, default=20_000, help="calls to average over (default: 20000)")
    options = parser.parse_args()
    print(f"{'policy':<14}" + "".join(f"{count:>10,}" for count in COUNTS) + "   replicas; µs a call")
    for name in discover([]).names("selection"):
        cells = (min(measure(name, count, options.choices) for _ in range(REPEATS)) for count in COUNTS)
        print(f"{name:<14}" + "".join(f"{cell:>10.1f}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
