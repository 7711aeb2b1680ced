"""Which selection policy serves best: seconds from a job's arrival to its end, in simulated fleets.

    python bench/selection.py                                   # the tables
    python bench/selection.py --plot docs/selection.svg         # and the picture that docs/plugins.md shows

Nothing is measured on the clock, so the figures are the same on every machine. See `bench/simulation.py` for what is
simulated: 20 machines of unequal speed, jobs with a heavy tail, and in one scenario a machine that fails fast.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import Pool as Processes
from pathlib import Path
from typing import Any, NamedTuple

from dot_plot import Panel, draw
from simulation import Failing, Kind, Result, policy, simulate

from ngpu.discovery import discover

LOADS = (0.3, 0.6, 0.9)
SCENARIOS: Mapping[str, Mapping[str, Any]] = {
    "one gateway, one machine fails 9 of 10 calls at once": {"failing": Failing()},
    "one gateway, all machines work": {},
    "8 gateways that know nothing of each other": {"gateways": 8},
    "8 gateways, and all machines alike with 4 slots": {"gateways": 8, "kinds": (Kind(20, 1.0, 4),)},
}


class Run(NamedTuple):
    """One simulation."""

    scenario: str
    name: str
    load: float
    seed: int
    jobs: int


class Figures(NamedTuple):
    """The median over the seeds, and their extremes, of seconds; and the share of calls that failed."""

    p50: float
    p99: float
    least: float
    most: float
    failed: float


def run(asked: Run) -> Result:
    """Simulate it."""
    make = policy(discover([]), asked.name)
    return simulate(make, asked.load, asked.seed, asked.jobs, **SCENARIOS[asked.scenario])


def figures(results: Sequence[Result]) -> Figures:
    """Of several seeds."""
    p99 = [each.percentile(0.99) for each in results]
    return Figures(
        statistics.median(each.percentile(0.5) for each in results),
        statistics.median(p99),
        min(p99),
        max(p99),
        statistics.median(each.failed for each in results),
    )


def measure(names: Sequence[str], seeds: int, jobs: int) -> dict[tuple[str, str, float], Figures]:
    """By scenario, policy and load."""
    keys = [(scenario, name, load) for scenario in SCENARIOS for name in names for load in LOADS]
    runs = [Run(*key, seed, jobs) for key in keys for seed in range(seeds)]
    with Processes() as processes:
        results = processes.map(run, runs, chunksize=4)
    return {key: figures(results[index * seeds : (index + 1) * seeds]) for index, key in enumerate(keys)}


def table(scenario: str, names: Sequence[str], found: Mapping[tuple[str, str, float], Figures]) -> str:
    """A scenario's figures, the policy with the least p99 over all loads first."""
    lines = [f"{scenario}", f"{'':<14}" + "".join(f"|        load {load:<12.0%}" for load in LOADS)]
    lines.append(f"{'policy':<14}" + "|    p50     p99  failed " * len(LOADS))
    for name in sorted(names, key=lambda name: geometric([found[scenario, name, load].p99 for load in LOADS])):
        cells = (found[scenario, name, load] for load in LOADS)
        lines.append(
            f"{name:<14}" + "".join(f"| {each.p50:6.1f} {each.p99:7.1f} {each.failed:7.2%} " for each in cells)
        )
    return "\n".join(lines)


def geometric(values: Sequence[float]) -> float:
    """Their geometric mean, so that no load counts more than another."""
    return statistics.geometric_mean(values)


def plot(names: Sequence[str], found: Mapping[tuple[str, str, float], Figures]) -> str:
    """The p99 of all, as SVG."""
    order: Callable[[str], float] = lambda name: geometric(  # noqa: E731
        [found[scenario, name, load].p99 for scenario in SCENARIOS for load in LOADS]
    )
    rows = sorted(names, key=order)
    panels = [
        Panel(
            scenario,
            f"load {load:.0%}",
            [(found[scenario, name, load].p99, found[scenario, name, load].least, found[scenario, name, load].most)
             for name in rows],
        )
        for scenario in SCENARIOS
        for load in LOADS
    ]  # fmt: skip
    return draw("p99, seconds from arrival to end (log scale); the line spans the seeds", rows, panels, len(LOADS))


def main() -> None:
    """Parse the command line, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs in each simulation (default: 20000)")
    parser.add_argument("--seeds", type=int, default=5, help="simulations of each kind (default: 5)")
    parser.add_argument("--policy", action="append", help="only this one; may be given several times")
    parser.add_argument("--plot", type=Path, help="write a picture (SVG) to this file")
    options = parser.parse_args()
    names = options.policy or discover([]).names("selection")
    found = measure(names, options.seeds, options.jobs)
    print("\n\n".join(table(scenario, names, found) for scenario in SCENARIOS))
    if options.plot is not None:
        options.plot.write_text(plot(names, found))


if __name__ == "__main__":
    main()
