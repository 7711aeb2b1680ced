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


@pytest.fixture(scope="session")
def image(bed: Bed) -> Callable[[str, int], str]:
    """Pushes an image that serves, of any size beside busybox, and gives its reference."""
    pushed: set[str] = set()

    def push(name: str = "app:1", size: int = 0) -> str:
        if name not in pushed:
            layers = [busybox_layer(), tar_of({"www/cgi-bin/slow": SLOW})]
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
