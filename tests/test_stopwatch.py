"""The tests' own stopwatch: it goes on for whoever waits or works, and halts with the machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from stopwatch import Stopwatch

CHILD = """
import time
from stopwatch import Stopwatch
watch, began = Stopwatch(), time.monotonic()
print(flush=True)
input()
print(watch.seconds(), time.monotonic() - began, flush=True)
"""


def test_it_goes_on_for_whoever_waits() -> None:
    began, watch = time.monotonic(), Stopwatch()
    time.sleep(0.5)
    assert watch.seconds() <= time.monotonic() - began
    while watch.seconds() < 0.5:
        time.sleep(0.01)


def test_it_goes_on_for_whoever_works() -> None:
    watch = Stopwatch()
    until = time.monotonic() + 30.0
    while watch.seconds() < 0.5:
        assert time.monotonic() < until


def test_it_halts_with_its_process() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    )
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGSTOP)
    time.sleep(2.0)
    child.send_signal(signal.SIGCONT)
    said, _ = child.communicate("\n", timeout=30)
    watched, passed = map(float, said.split())
    assert watched < passed - 1.5
