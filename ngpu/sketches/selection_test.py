"""What the selection policy ``example`` promises."""

from __future__ import annotations

from pathlib import Path

from ngpu.testing import candidate, load_plugin, make_plugin, request, verify_plugin

PLUGIN = load_plugin(Path(__file__).parents[1] / "example.py")


def test_it_keeps_the_contract() -> None:
    """Of the replicas that it is given, one or none; the same for the same seed."""
    verify_plugin(PLUGIN, options={"sample": 3})


def test_it_takes_the_least_busy_of_those_that_it_draws() -> None:
    """What is counted is the share of a replica's slots, not the calls."""
    busy, idle = candidate("busy", in_flight=1, slots=2), candidate("idle", in_flight=2, slots=8)
    policy = make_plugin(PLUGIN, {"sample": 2})
    assert policy.select([busy, idle], request()) is idle
