"""The one file, made of this checkout."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT

RUNNING = "{}.{}".format(*sys.version_info[:2])


def make(out: Path, umask: int = 0o022) -> Path:
    """``ngpu`` in a folder, for the version of Python that runs this; that others are added, a test of its own sees."""
    command = [sys.executable, str(ROOT / "tools/dist.py"), f"--out={out}", f"--python={RUNNING}"]
    done = subprocess.run(
        command, cwd=out.parent, umask=umask, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "ngpu"


def made_once(factory: pytest.TempPathFactory) -> Path:
    """``ngpu``, made by whichever process of this run asks first; nobody may change it."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "one-file.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = shared / "one-file/ngpu"
        return made if made.exists() else make(made.parent)
