"""Large bodies in both directions, through a gateway whose machine can splice, and through one whose cannot."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from raw_rig import ID, OTHER, WITHIN, Head, Rig, Wire, configuration, eventually, rig_of, workspace

MIB = 1 << 20
DATA = random.Random(7).randbytes(4 * MIB)
HUGE = 256 * MIB
"""What a body has of which not all is ever sent."""

WAYS = ["spliced", "copied"]
IDLE = 1.0
"""Seconds in which something has to move on a call of `OTHER`."""

WRITE_TIMEOUT = 1.6
BODY_WINDOW = 1.2
HERE = Path(__file__).parent


class RelayRig(Rig):
    """A rig that tells which way a body goes."""

    spliced = True

    def relays(self) -> int:
        """How many bodies pass by within the kernel: each has a pipe."""
        folder = Path(f"/proc/{self.gateway.pid}/fd")
        pipes = set()
        for entry in folder.iterdir():
            with suppress(OSError):
                target = os.readlink(entry)
                pipes |= {target} if target.startswith("pipe:") else set()
        return len(pipes) - self.others

    others = 0

    def passes(self) -> None:
        """See that a body goes the way that this rig is about."""
        if self.spliced:
            eventually(lambda: self.relays() == 1, "a body that passes by")
        else:
            assert self.relays() == 0

    def passed(self) -> None:
        """See that nothing of it is left."""
        eventually(lambda: self.relays() == 0, "no pipe that is left")
        eventually(lambda: self.in_flight() == 0, "a free slot")

    def line(self, head: Head) -> dict[str, Any]:
        """What the access log says of a call."""
        task = head.field("Ngpu-Task")
        return eventually(lambda: next((one for one in self.log_lines() if one.get("task_id") == task), None), "a line")


@contextmanager
def relay_rig(folder: Path, way: str) -> Iterator[RelayRig]:
    def make(ports: list[int]) -> dict[str, Any]:
        health = {"path": "/healthz", "interval": "60s", "timeout": "2s"}  # else its connections mix with the calls'
        quick = workspace(OTHER, *ports, raw={"idle_timeout": f"{IDLE:g}s"}, timeout=f"{IDLE:g}s", health=health)
        again = workspace(ID, *ports, retry="idempotent", raw={"body_limit": "256MiB"}, health=health)
        limits = {"body_rate": "64KiB", "body_window": f"{BODY_WINDOW:g}s", "write_timeout": f"{WRITE_TIMEOUT:g}s"}
        return configuration(again, quick, limits=limits)

    path = f"{HERE / 'splice_off'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with rig_of(folder, 1, make, {} if way == "spliced" else {"PYTHONPATH": path}) as one:
        rig = RelayRig(one.gateway, one.workers)
        rig.others = rig.relays()
        rig.spliced = way == "spliced"
        yield rig


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Do this meanwhile; connections that break end it."""

    def run() -> None:
        with suppress(OSError):
            work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def fill(wire: Wire, patience: float = 0.2) -> int:
    """Send DATA's first MiB again and again until everything on the way is full; how many bytes that took."""
    wire.sock.settimeout(patience)
    sent = 0
    with suppress(TimeoutError):
        while sent < HUGE:
            sent += wire.sock.send(memoryview(DATA)[sent % MIB : MIB])
    wire.sock.settimeout(WITHIN)
    assert sent < HUGE - MIB, "all of it went somewhere, and nobody reads"
    return sent


def drain(wire: Wire, count: int) -> None:
    """See that exactly this comes, of what `fill` has sent."""
    buffer = memoryview(bytearray(MIB))
    got = 0
    while got < count:
        read = wire.sock.recv_into(buffer[: count - got])
        assert read, f"closed after {got} of {count}"
        at = got % MIB
        assert bytes(buffer[:read]) == (DATA[at:MIB] + DATA[:at])[:read]
        got += read
