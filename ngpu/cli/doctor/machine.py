"""The machine: memory, files that may be open at once, the clock."""

from __future__ import annotations

import ctypes
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ngpu.cli.table import bytes_in_words
from ngpu.examining import Finding, Level
from ngpu.settings import Settings

PROGRAM = 300 << 20
"""Bytes that one process takes beside the bodies that it holds."""

FILES = 200
"""Files that a process has open beside connections."""

OLDEST = 1_764_000_000
"""Seconds since the epoch: November 2025, before which this program was not there."""

_UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
_TIMEX = 256  # bytes, at least those of struct timex


def memory(settings: Settings, meminfo: str, limit: int | None) -> Iterator[Finding]:
    """Whether large bodies have room.

    :param meminfo: as in /proc/meminfo.
    :param limit: bytes that this control group may have, where there is a limit.
    """
    lines = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    if "MemAvailable" not in lines:
        return
    free = int(lines["MemAvailable"].split()[0]) * 1024
    free = free if limit is None else min(free, limit)
    need = settings.processes * (settings.limits.body_memory + PROGRAM)
    most = f"{settings.processes} x limits.body_memory and the program take {bytes_in_words(need)} at most"
    words = f"{bytes_in_words(free)} are free; {most}"
    enough = free >= need
    advice = "" if enough else "lower limits.body_memory, or give the machine more: a process without memory is killed"
    yield Finding(Level.OK if enough else Level.WARNING, "memory", words, advice)


def group_limit(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that the control group of this process may have."""
    try:
        text = (folder / "memory.max").read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def open_files(settings: Settings, limit: int) -> Iterator[Finding]:
    """Whether a process may have a connection for each that may come in, and one to a worker."""
    need = 2 * settings.limits.connections + FILES
    words = f"a process may have {limit} files open; limits.connections and as many calls to workers are {need}"
    enough = limit >= need or limit == resource.RLIM_INFINITY
    advice = "" if enough else f"ulimit -n {need}, or LimitNOFILE={need} in the unit (systemd/ngpu.service has 65536)"
    yield Finding(Level.OK if enough else Level.WARNING, "open files", words, advice)


def clock(now: float, synchronised: bool | None) -> Iterator[Finding]:
    """Whether the time can be right, and is kept so.

    :param synchronised: whether the kernel says so; ``None`` where it says nothing.
    """
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now))
    if now < OLDEST:
        advice = "set the clock (timedatectl, chronyd): records, certificates and ends of waiting go by it"
        yield Finding(Level.PROBLEM, "clock", f"it is {shown} UTC here, which cannot be", advice)
    elif synchronised is False:
        advice = "start chrony or systemd-timesyncd, unless whoever runs this machine keeps its clock"
        yield Finding(Level.WARNING, "clock", f"{shown} UTC, and the kernel says that nobody keeps it right", advice)
    else:
        kept = "" if synchronised is None else ", kept right by somebody"
        yield Finding(Level.OK, "clock", f"{shown} UTC{kept}")


def kernel_is_synchronised() -> bool | None:
    """What adjtimex(2) says; ``None`` where it cannot be asked."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else bool(state != _UNSYNCHRONISED)


def look(settings: Settings) -> Iterator[Finding]:
    """All of it."""
    meminfo = Path("/proc/meminfo")
    yield from memory(settings, meminfo.read_text() if meminfo.exists() else "", group_limit())
    yield from open_files(settings, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield from clock(time.time(), kernel_is_synchronised())
