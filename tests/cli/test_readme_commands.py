"""What the README tells to type from a terminal, and with one's own workers, does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml
from command_rig import KEY, CommandRig
from markdown_page import examples
from processes import ROOT, find_free_port

README = (ROOT / "README.md").read_text()
NGPU = Path(sys.executable).parent / "ngpu"


def block(heading: str) -> str:
    (example,) = examples(README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0])
    return example.commands.replace(".venv/bin/ngpu", str(NGPU))


def pasted(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-e", "-c", text], capture_output=True, text=True, cwd=folder, timeout=120, stdin=subprocess.DEVNULL
    )


def test_a_customer_at_a_terminal(rig: CommandRig, tmp_path: Path) -> None:
    os.symlink(ROOT / "docs", tmp_path / "docs")
    told = block("From a terminal")
    for known, used in (("http://localhost:8080", rig.gateway.url), ("367614711220405248", KEY)):
        assert known in told
        told = told.replace(known, used)
    done = pasted(told, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG")
    assert '"images"' in (tmp_path / "result.json").read_text()
    assert "8 calls over 8 connections" in done.stdout


def test_an_operator_with_workers_of_ones_own(tmp_path: Path) -> None:
    init, doctor, check, run, reload = block("With your own workers").splitlines()
    listen = f"--listen {find_free_port()} --admin {find_free_port()}"
    done = pasted("\n".join([init.replace("init my.yaml", f"init my.yaml -y {listen}"), doctor, check]), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "which is shown this once" in done.stdout and "my.yaml: can be used: 1 workspace" in done.stdout
    assert yaml.safe_load((tmp_path / "my.yaml").read_text())["workspaces"]
    assert f"{NGPU} run -c my.yaml" in run and f"{NGPU} reload -c my.yaml" in reload  # which other tests run
