"""A gateway whose machine's clock is set while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_rig import configuration, eventually, rig_of, workspace
from chaos_clock import FakeClock
from processes import find_free_port
from scripted_worker import script


def test_a_gateway_whose_clock_is_set(tmp_path: Path) -> None:
    """Its timers go on: what waits for longer than its ttl expires in time, neither later nor before."""
    clock = FakeClock(tmp_path / "clock")
    if not FakeClock.is_installed():
        pytest.skip("libfaketime is not installed: see tests/chaos")

    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(workspace("up", *ports), workspace("down", find_free_port()))

    with rig_of(tmp_path, 1, make, clock.env) as rig:
        up, down = rig.client("up"), rig.client("down")
        for jump in (-3600, 7200):
            clock.jump(jump)
            long = down.submit(script(), params={"taskTtl": "10m"})
            brief = down.submit(script(), params={"taskTtl": "1s"})
            eventually(lambda brief=brief: down.status(brief) == "expired", "it expires")
            assert down.status(long) == "queued"
            assert up.ended(up.submit(script(body=b"1", delay=0.1)))["data"] == "1"
