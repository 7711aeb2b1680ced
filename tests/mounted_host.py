"""This machine as a host to install things on, in a mount namespace: /etc, /usr and /var are overlays in memory.

Everything is real but systemd, which does not run here, and nothing of it stays.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

import pytest

OVERLAYS = """
mount -t tmpfs none /mnt
for folder in etc usr var; do
    mkdir -p /mnt/$folder/new /mnt/$folder/work
    mount -t overlay overlay -o lowerdir=/$folder,upperdir=/mnt/$folder/new,workdir=/mnt/$folder/work /$folder
done
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""


def host_or_skip() -> None:
    """Skip where there can be none; a failure where CI=true."""
    probe = ["unshare", "--mount", "sh", "-ec", OVERLAYS]
    missing = [each for each in ("systemd-sysusers", "systemd-socket-activate", "unshare") if not shutil.which(each)]
    why = f"there is no {missing[0]}" if missing else ""
    if not missing and os.geteuid() != 0:
        why = "only root can make namespaces and users"
    elif not missing and subprocess.run(probe, capture_output=True, check=False).returncode:
        why = "overlays cannot be mounted here"
    if why and os.environ.get("CI") == "true":
        pytest.fail(why)
    if why:
        pytest.skip(why)


def on_host(script: str, environment: Mapping[str, str]) -> dict[str, list[str]]:
    """Run a script there; the lines that it printed, by the lines ``== NAME`` that they follow.

    :raises AssertionError: it failed, or said something of errors.
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-euc", OVERLAYS + script],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return {part.split("\n")[0]: part.split("\n")[1:-1] for part in done.stdout.split("== ")[1:]}
