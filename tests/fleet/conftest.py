"""The fleet's tests on real engines share a registry's images; a failed one shows its gateway's log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from docker_bed import Bed
from docker_images import busybox_layer, random_layer, tar_of
from fleet_rig import FleetRig, fleet_rig
from leaks import FAILED

SLOW = b"""#!/bin/busybox sh
body=$(/bin/busybox head -c "$CONTENT_LENGTH")
/bin/busybox sleep 1
printf 'Content-Type: application/octet-stream\\r\\n\\r\\n%s' "$body"
"""
"""A page, /cgi-bin/slow, that gives a POST back after a second."""

WHO = b"""#!/bin/busybox sh
printf 'Content-Type: text/plain\\r\\n\\r\\n%s' "$WHO"
"""
"""A page, /cgi-bin/who, that says what the container's environment says."""

JOB = b"""#!/bin/busybox sh
printf 'Content-Type: application/json\\r\\n\\r\\n'
if [ "$REQUEST_METHOD" = POST ]; then
    /bin/busybox date +%s >/tmp/job-$$
    echo "submitted $$" >/proc/1/fd/1
    printf '{"task_id": "%s", "result_code": 100, "msg": "taken"}' $$
    exit
fi
began=$(/bin/busybox cat /tmp/job-${QUERY_STRING#*taskID=}) || began=0
if [ $(($(/bin/busybox date +%s) - began)) -lt 6 ]; then code=102; else code=100; fi
printf '{"result_code": %s, "msg": "", "result_url": "http://files.test/x"}' $code
"""
"""A page, /cgi-bin/job: a worker that takes a job and has done it six seconds later."""


@pytest.fixture(scope="session")
def image(bed: Bed) -> Callable[[str, int], str]:
    """Pushes an image that serves, of any size beside busybox, and gives its reference."""
    pushed: set[str] = set()

    def push(name: str = "app:1", size: int = 0) -> str:
        if name not in pushed:
            layers = [
                busybox_layer(),
                tar_of({"www/cgi-bin/slow": SLOW, "www/cgi-bin/job": JOB, "www/cgi-bin/who": WHO}),
            ]
            layers += [random_layer(size // 4, hash((name, part)) % 2**32) for part in range(4 if size else 0)]
            bed.registry.push(name, layers)
            pushed.add(name)
        return f"{bed.registry.host}/{name}"

    return push


@pytest.fixture
def fleet(bed: Bed, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., FleetRig]]:
    """Makes rigs, which end with the test."""
    with ExitStack() as stack:
        made: list[FleetRig] = []

        def make(nodes: int = 3, **keys: Any) -> FleetRig:
            made.append(stack.enter_context(fleet_rig(bed, tmp_path / f"rig{len(made)}", nodes, **keys)))
            return made[-1]

        yield make
        if request.node.stash.get(FAILED, False):
            print(*(rig.gateway.tail() for rig in made if rig.gateway is not None), sep="\n")
