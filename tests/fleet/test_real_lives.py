"""A gateway that is killed again and again while it deploys: never a second copy, and the last one finishes.

NGPU_LIVES says how often it is killed (20 by default); the fleet was built with 50 and more. A slow machine takes more
lives, and longer ones, until the killings have found the fleet in different states.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from docker_images import SERVES
from fleet_rig import WORKSPACE, FleetRig, eventually
from processes import ROOT, Gateway

Push = Callable[..., str]
Make = Callable[..., FleetRig]
LIVES = int(os.environ.get("NGPU_LIVES", "20"))
MOST = 3
CRASHED_WITHIN = 1.5
"""Seconds that each of the first lives lasts at most; the others may last longer and longer, up to LONGEST_LIFE."""

LONGEST_LIFE = 20.0
MORE_LIVES = 60
STATES = 3
"""In so many different numbers of copies the fleet has to be found."""


def copies(rig: FleetRig) -> list[tuple[str, str, str]]:
    """Node, copy and revision of each container there is."""
    found = []
    for index, engine in enumerate(rig.bed.engines[:3]):
        labels = [each["Labels"] for each in engine.containers(f"ngpu.fleet={rig.fleet}")]
        found += [(str(index), each["ngpu.copy"], each["ngpu.revision"]) for each in labels]
    return found


def is_renewed(there: list[tuple[str, str, str]], before: set[str]) -> bool:
    revisions = {revision for _, _, revision in there}
    return len(there) == 3 and len(revisions) == 1 and not revisions & before


def test_killed_at_random_moments_of_deploying(fleet: Make, image: Push, tmp_path: Path) -> None:
    """Each life finds another image, command or number of copies wanted than the one before, and dies over it."""
    rig = fleet(3, node_grace="30s")
    references = [image(f"life:{number}", 1 << 20) for number in range(4)]
    with ThreadPoolExecutor(3) as pool:  # but for one of them, which takes a life that is long enough
        for reference in references[:3]:
            list(pool.map(lambda engine, name=reference: engine.docker("pull", name), rig.bed.engines[:3]))  # type: ignore[misc]
    rng = Random(20261125)
    rig.want(references[0], replicas=2)
    gateway = Gateway(rig.configuration(), tmp_path / "lives")
    command = [sys.executable, str(Path(__file__).parent / "fleet_lives.py"), str(gateway.config_file)]
    seen: Counter[int] = Counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as lives:
        try:
            for life in range(LIVES + MORE_LIVES):
                if life >= LIVES and len(seen) >= STATES:
                    break
                if life % 3 == 0:
                    version = {"VERSION": str(rng.randrange(3))}
                    rig.want(rng.choice(references), replicas=rng.randrange(1, MOST + 1), env=version)
                    gateway.write_config(rig.configuration())
                assert lives.stdin is not None and lives.stdout is not None
                longest = min(LONGEST_LIFE, CRASHED_WITHIN * 1.1 ** max(0, life - LIVES + 1))
                print(json.dumps({"seconds": rng.uniform(0.15, longest)}), file=lives.stdin, flush=True)
                assert json.loads(lives.stdout.readline())["lived"], (tmp_path / "lives/lives.log").read_text()[-4000:]
                there = copies(rig)
                seen[len(there)] += 1
                assert len({copy for _, copy, _ in there}) == len(there), f"two containers of a copy: {there}"
                assert len(there) <= MOST + 1, there
        finally:
            lives.kill()
    assert len(seen) >= STATES, f"the lives were too short to do anything, or too long to be cut: {seen}"
    rig.want(references[1], replicas=3, command=list(SERVES), env={"VERSION": "last"})
    gateway.write_config(rig.configuration())
    rig.gateway = gateway
    before = {revision for _, _, revision in copies(rig)}
    try:
        gateway.start()
        eventually(lambda: is_renewed(copies(rig), before), "three copies of the new version alone", 60)
        rig.serving(3)
        assert all("VERSION=last" in rig.inspect(name, "{{.Config.Env}}") for name in rig.containers())
        assert rig.call("x").json()["data"] == "x"
        log = (tmp_path / "lives/lives.log").read_text()
        assert WORKSPACE not in log
        assert "Traceback" not in log
    finally:
        gateway.kill9()
