"""A gateway that is started by fork is the one that users start: the other tests may take the cheaper one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from forked import fork_server, unbuffered
from processes import ROOT, Gateway, find_free_port

MARK = "NGPU_TEST_MARK"


@pytest.fixture(autouse=True)
def _may_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NGPU_TRUE_STARTS", raising=False)


def _file(descriptor: Path) -> str:
    """What it is open for, without a name by chance; "" for a socket, since connections come and go."""
    try:
        link = os.readlink(descriptor)
    except FileNotFoundError:
        return ""
    name = re.sub(r"^[0-9a-f]{16}\.", "*.", Path(link).name.partition(":[")[0])
    return "" if link.startswith("socket:") else name


def life(folder: Path, forks: bool) -> tuple[list[str], dict[str, object]]:
    """What a gateway printed from its start to its end, and what the kernel knew of it; ports are left out."""
    gateway = Gateway({}, folder, {MARK: "x"})
    gateway.forks = forks
    gateway.start()
    try:
        proc = Path(f"/proc/{gateway.pid}")
        status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
        known = {
            "leads": os.getsid(gateway.pid) == os.getpgid(gateway.pid) == gateway.pid,
            "files": sorted(filter(None, map(_file, (proc / "fd").iterdir()))),
            **{name: status[name] for name in ("SigIgn", "SigCgt", "SigBlk", "Threads", "Umask")},
            "cwd": os.readlink(proc / "cwd"),
        }
    finally:
        gateway.stop()
    log = re.sub(r"tcp:\d+|on \d+|Port \d+", "", gateway.log.read_text())
    return [re.sub(r"^\S+ ", "", line) for line in log.splitlines() if not line.startswith("{")], known


def test_both_live_the_same_life(tmp_path: Path) -> None:
    true, forked = (life(tmp_path / str(forks), forks) for forks in (False, True))
    assert forked[0] == true[0] and "ngpu 0.1.0 serves" in "\n".join(true[0])
    assert forked[1] == true[1]


def test_a_configuration_that_cannot_be_used_ends_both_alike(tmp_path: Path) -> None:
    file = tmp_path / "ngpu.yaml"
    file.write_text("listne: []\n")
    arguments = ["-m", "ngpu.cli", "run", "-c", str(file)]
    true = subprocess.run([sys.executable, *arguments], capture_output=True, cwd=ROOT, timeout=60)
    with (tmp_path / "log").open("wb") as log:
        forked = fork_server.start(arguments, ROOT, unbuffered(), log.fileno())
    assert forked.wait(60) == true.returncode == 2
    assert (tmp_path / "log").read_bytes() == true.stdout + true.stderr


TOLD = f"""
import json, os, sys
os.write(int(sys.argv[1]), b"passed")
print(json.dumps([__name__, os.environ.pop("{MARK}"), len(os.environ), os.getcwd(), sys.argv, sys.orig_argv[1:]]))
raise SystemExit(7)
"""


def test_it_has_what_it_was_given_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text(TOLD)
    env = {**unbuffered(), MARK: "y"}
    read, write = os.pipe()
    arguments = ["-m", "told", str(write)]
    with (tmp_path / "log").open("wb") as log:
        child = fork_server.start(arguments, tmp_path, env, log.fileno(), [write])
    os.close(write)
    assert child.wait(60) == 7
    told = json.loads((tmp_path / "log").read_text())
    assert told == [
        "__main__", "y", len(env) - 1, str(tmp_path), [str(tmp_path / "told.py"), str(write)], arguments
    ]  # fmt: skip
    assert (os.read(read, 99), os.read(read, 1)) == (b"passed", b""), "nobody else has it"
    os.close(read)


def test_what_the_interpreter_reads_as_it_starts_takes_a_true_start() -> None:
    env = unbuffered()
    with open(os.devnull, "wb") as nothing:
        assert fork_server.start(["-m", "this"], ROOT, env, nothing.fileno()).wait(60) == 0
    assert fork_server.can({**env, "NGPU_CONFIG": "x"})
    assert not fork_server.can({**env, "LD_PRELOAD": "x"})
    assert not fork_server.can({**env, "PYTHONHASHSEED": "1"})


def test_a_command_that_is_run_tells_what_it_would_otherwise(tmp_path: Path) -> None:
    command = ("-m", "ngpu.cli", "tasks", "-c", str(tmp_path / "none.yaml"))
    true = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT, timeout=60)
    forked = fork_server.run(*command, cwd=ROOT, timeout=60)
    assert (forked.returncode, forked.stdout, forked.stderr) == (true.returncode, true.stdout, true.stderr)
    assert true.returncode and true.stderr
    with pytest.raises(subprocess.TimeoutExpired):
        fork_server.run("-m", "ngpu.demo", "--port", str(find_free_port()), cwd=ROOT, timeout=0.5)
