"""`ngpu bench`: what it counts, and how it ends."""

from __future__ import annotations

import json

from command_rig import JOB, KEY, CommandRig, seen, typed
from processes import find_free_port

from ngpu.cli.load import Tally, percentile


def test_percentiles_are_those_of_the_calls() -> None:
    times = [float(each) for each in range(1, 101)]
    assert [percentile(times, each) for each in (50, 90, 99, 99.9)] == [50, 90, 99, 100]
    assert percentile([7.0], 50) == 7.0
    report = Tally([0.1, 0.3], began=0.0, ended=2.0).report()
    assert report["per_second"] == 1.0 and report["milliseconds"]["p50"] == 100.0
    assert Tally().report()["calls"] == 0


def test_every_kind_of_call_is_measured(rig: CommandRig) -> None:
    data = json.dumps(JOB)
    for mode, number in (("sync", 12), ("task", 4), ("raw", 12)):
        done = rig.customer(
            "bench", rig.gateway.url, "--mode", mode, "-n", str(number), "-c", "3", "-d", data, "--json"
        )
        assert done.code == 0, done
        report = json.loads(done.out)
        assert (report["calls"], report["succeeded"], report["errors"]) == (number, number, {})
        times = report["milliseconds"]
        assert 0 < times["min"] <= times["p50"] <= times["p99"] <= times["max"] and report["per_second"] > 0
    timed = rig.customer("bench", rig.gateway.url, "-t", "500ms", "-d", data)
    assert timed.code == 0 and "a second came about" in timed.out and "p99.9" in timed.out


def test_errors_are_told_by_kind(rig: CommandRig) -> None:
    failing = rig.customer("bench", rig.gateway.url, "-n", "4", "-d", "{}", "--json")
    assert failing.code == 1 and sum(json.loads(failing.out)["errors"].values()) == 4
    stranger = typed("bench", rig.gateway.url, "--key", "wrong", "-n", "2", "-d", "{}")
    assert stranger.code == 1 and "refused (HTTP 401)" in stranger.out
    nobody = typed("bench", f"http://127.0.0.1:{find_free_port()}", "-n", "2")
    assert nobody.code == 3 and nobody.out == ""
    assert typed("bench", "here").code == 2
    assert typed("bench", rig.gateway.url, "-n", "1", "-t", "1s").code == 2


def test_ctrl_c_shows_what_was_measured_until_then(rig: CommandRig) -> None:
    env = {"NGPU_KEY": KEY}
    arguments = ("bench", rig.gateway.url, "-t", "1h", "-d", json.dumps(JOB))
    code, painted = seen(*arguments, interrupted_after="a second", env=env)
    assert code == 130 and "calls over 8 connections" in painted and "p99" in painted
    assert "Traceback" not in painted
