"""Whether a folder is fit to keep tasks in: room, rights, kind of file system, and how quickly a write is safe."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from ngpu.examining import Finding, Level

LITTLE, TOO_LITTLE = 2 << 30, 200 << 20
"""Free bytes below which there is a warning, and a problem."""

SLOW = 0.025
"""Seconds that a write may take to be safe."""

TRIES = 9
_PASSING = ("tmpfs", "ramfs")
_DISTANT = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p")


def examine_folder(folder: Path) -> Iterator[Finding]:
    """Look at a folder, or at the nearest one above it that there is; a file is written there and removed."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    later = "" if there == folder else f", where {folder} will be made"
    if not there.is_dir():
        yield Finding(Level.PROBLEM, "folder", f"{there} is no folder", "name another one, or move that file away")
        return
    free = shutil.disk_usage(there).free
    level = Level.PROBLEM if free < TOO_LITTLE else Level.WARNING if free < LITTLE else Level.OK
    advice = (
        ""
        if level is Level.OK
        else "make room: requests and results of tasks are kept there until their retention is over"
    )
    yield Finding(level, "disk", f"{free / (1 << 30):.1f} GiB are free at {there}{later}", advice)
    kind = file_system(
        there, Path("/proc/self/mountinfo").read_text() if os.path.exists("/proc/self/mountinfo") else ""
    )
    if kind in _PASSING:
        yield Finding(
            Level.WARNING,
            "file system",
            f"{there} is in memory ({kind}): a reboot loses it",
            "choose a folder on a disk",
        )
    elif kind in _DISTANT:
        advice = "choose a folder on a disk of this machine"
        yield Finding(
            Level.WARNING, "file system", f"{there} is on another machine ({kind}); locks may not hold", advice
        )
    yield from _written(there)


def file_system(folder: Path, mounts: str) -> str:
    """The kind of file system that a folder is on; "" where nobody knows.

    :param mounts: as in /proc/self/mountinfo.
    """
    found = {line.split()[4]: line.partition(" - ")[2].split(" ")[0] for line in mounts.splitlines() if " - " in line}
    for each in (folder.resolve(), *folder.resolve().parents):
        kind = found.get(str(each).replace(" ", "\\040"))
        if kind is not None:
            return kind
    return ""


def _written(folder: Path) -> Iterator[Finding]:
    try:
        seconds = _fsync(folder)
    except OSError as error:
        advice = "run the check as the gateway's user, or give that user the folder"
        yield Finding(Level.PROBLEM, "folder", f"{folder} cannot be written: {error.strerror}", advice)
        return
    slow = seconds > SLOW
    advice = "each task waits for one at least: choose a faster disk" if slow else ""
    level = Level.WARNING if slow else Level.OK
    yield Finding(level, "writes", f"a write at {folder} is safe after {seconds * 1000:.1f} ms (fsync)", advice)


def _fsync(folder: Path) -> float:
    """The median of a few."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(TRIES):
            file.write(b"\0" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return median(times)
