"""bench/selection.py: it simulates what it says, with the real pools, and comes to the same figures each time."""

from __future__ import annotations

import statistics
import subprocess
import sys
from itertools import islice
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest
from crowd import PLUGINS
from processes import ROOT
from simulation import MEAN_JOB, UNEVEN, Failing, Kind, job_sizes, policy, simulate


def test_jobs_have_the_mean_and_a_heavy_tail() -> None:
    sizes = sorted(islice(job_sizes(Random(1)), 200_000))
    assert statistics.fmean(sizes) == pytest.approx(MEAN_JOB, rel=0.03)
    assert sizes[-2000] > 8 * statistics.median(sizes)


def test_one_machine_at_full_speed_takes_as_long_as_the_job() -> None:
    result = simulate(policy(PLUGINS, "random"), 0.001, 1, 500, kinds=(Kind(1, 2.0, 1),))
    sizes = list(islice(job_sizes(Random(2)), 10_000))
    assert result.failed == 0 and result.percentile(0.5) == pytest.approx(statistics.median(sizes) / 2, rel=0.1)


def test_a_line_forms_where_there_is_too_much_to_do() -> None:
    kinds = (Kind(2, 1.0, 1),)
    calm, busy = (simulate(policy(PLUGINS, "least_loaded"), load, 1, 2000, kinds=kinds) for load in (0.2, 1.2))
    assert busy.percentile(0.5) > 10 * calm.percentile(0.5)


def test_the_same_seed_gives_the_same_figures_and_the_failing_machine_is_held_off() -> None:
    first, again = (simulate(policy(PLUGINS, "least_loaded"), 0.5, 3, 2000, failing=Failing()) for _ in range(2))
    assert first == again
    assert 0 < first.failed < 0.05
    assert sum(kind.count for kind in UNEVEN) == 20


def test_what_the_page_says_of_the_default_is_so() -> None:
    """A small simulation of the kind that the page's figures are of."""
    for more in ({"failing": Failing()}, {}, {"gateways": 8}):
        found = {
            name: statistics.median(
                simulate(policy(PLUGINS, name), 0.4, seed, 3000, **more).percentile(0.99) for seed in range(3)
            )
            for name in ("fastest", "least_loaded", "round_robin")
        }
        assert min(found, key=found.__getitem__) == "fastest", (more, found)


def test_the_command_prints_its_tables_and_draws(tmp_path: Path) -> None:
    command = [sys.executable, "bench/selection.py", "--jobs", "300", "--seeds", "2", "--policy", "random"]
    command += ["--policy", "fastest", "--plot", str(tmp_path / "p.svg")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fastest ") == 4 and done.stdout.count("random ") == 4
    texts = [each.text for each in ElementTree.parse(tmp_path / "p.svg").iter() if each.tag.endswith("text")]
    assert texts.count("fastest") == 4 and texts.count("load 30%") == 4
    shown = ElementTree.parse(ROOT / "docs/selection.svg")
    assert "fastest" in [each.text for each in shown.iter() if each.tag.endswith("text")]
