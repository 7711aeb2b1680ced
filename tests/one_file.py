"""The one file, made of this checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
