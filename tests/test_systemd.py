"""The unit files: systemd understands all of them, and they give the service no more than it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from processes import ROOT

UNIT = ROOT / "systemd/ngpu.service"
SOCKET = ROOT / "systemd/ngpu.socket"


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-analyze is missing: install the package systemd")
        pytest.skip("systemd-analyze is not installed (package systemd)")
    return found


def verify(analyze: str, text: str, folder: Path) -> str:
    """What systemd says about a unit's text; its exit code is 0 for unknown keys too, so only silence is good."""
    program = folder / "ngpu"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = folder / "ngpu.service"
    unit.write_text(text.replace("/usr/local/bin/ngpu", str(program)))
    port = folder / SOCKET.name
    port.write_text(SOCKET.read_text())
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(unit), str(port)], capture_output=True, text=True, timeout=60
    )
    said = (done.stdout + done.stderr).splitlines()
    # other units of the machine may have faults of their own
    return "\n".join(line for line in said if "ngpu" in line) + ("" if done.returncode == 0 else f"\n{said}")


def test_systemd_has_nothing_to_say_about_the_units(analyze: str, tmp_path: Path) -> None:
    assert verify(analyze, UNIT.read_text(), tmp_path) == ""


def test_the_check_sees_a_misspelt_key(analyze: str, tmp_path: Path) -> None:
    text = UNIT.read_text()
    assert "ProtectHom'" in verify(analyze, text.replace("ProtectHome=", "ProtectHom="), tmp_path)


def test_exposure_is_low(analyze: str, tmp_path: Path) -> None:
    """systemd's own rating, 0 (locked in) to 10; a unit without hardening is at 9.6."""
    (tmp_path / "ngpu.service").write_text(UNIT.read_text())
    command = [analyze, "security", "--offline=true", "--threshold=15", "--no-pager", str(tmp_path / "ngpu.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-600:] + done.stderr


def test_starts_that_fail_are_tried_again_for_ever() -> None:
    """By default systemd gives up after five in ten seconds, closes the socket with it, and nobody comes back."""
    unit, service = UNIT.read_text().split("[Service]")
    assert "\nStartLimitIntervalSec=0\n" in unit
    assert "\nRestart=on-failure\n" in service


def test_the_configuration_takes_the_socket_by_the_name_that_it_has() -> None:
    """The comment in the unit is what an operator copies; tests/api/test_api_systemd.py runs it."""
    text = SOCKET.read_text()
    assert 'listen: ["systemd:domain=INET:name=public"]' in text
    assert "FileDescriptorName=public\n" in text
