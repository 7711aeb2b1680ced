"""What the placement policy ``example`` promises."""

from __future__ import annotations

from pathlib import Path

from ngpu.testing import demand, load_plugin, make_plugin, offer, verify_plugin

PLUGIN = load_plugin(Path(__file__).parents[1] / "example.py")


def test_it_keeps_the_contract() -> None:
    """A price for every offer, and the same one whenever it is asked."""
    verify_plugin(PLUGIN, options={"reserve": 2})


def test_a_node_that_keeps_its_reserve_is_cheaper() -> None:
    """Even one that has copies already."""
    small, large = offer("small", gpus_free=2), offer("large", copies=3, gpus_free=8)
    policy = make_plugin(PLUGIN, {"reserve": 2})
    assert policy.cost(large, demand(1)) < policy.cost(small, demand(1))
