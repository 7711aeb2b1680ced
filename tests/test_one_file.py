"""`make dist`: one file that runs anywhere, and is the same whenever it is made of the same things."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from one_file import RUNNING, made_once, make
from processes import ROOT, Process, find_free_port

sys.path.insert(0, str(ROOT / "tools"))
import dist

WARM = 1.5
"""Seconds from the command to a gateway that answers, once the file has unpacked itself. They are counted as seconds of
the processor, the stop included, since other tests run at the same time; on a machine that does nothing else, a start
takes as long as the processor works on it."""

STARTS = "starting up"
"""What twistd logs of each beginning."""

PLUGINS = sorted(file.stem for file in (ROOT / "plugins").glob("*.py") if file.stem != "__init__")


def another_python() -> tuple[str, str] | None:
    """Version and program of a newer Python than the one that runs this, where there is one."""
    for minor in range(sys.version_info.minor + 1, 15):
        name = f"python3.{minor}"
        found = shutil.which(name)
        environment = dict(os.environ)
        if found and "/shims/" in found:
            versions = subprocess.run(["pyenv", "whence", name], capture_output=True, text=True, check=False).stdout
            environment["PYENV_VERSION"] = versions.split()[0] if versions else ""
        if found:
            code = "import sys; print(sys.executable)"
            done = subprocess.run([found, "-c", code], env=environment, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return f"3.{minor}", done.stdout.strip()
    return None


OTHER = another_python()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that everybody may look into, as those of pytest may not be."""
    made = Path(tempfile.mkdtemp(prefix="ngpu-one-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


class User:
    """Somebody without any rights, on whose machine there is nothing of ngpu but the file."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(mode=0o755)
        self.prefix: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self.home, "nobody", "nogroup")
            self.prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        self.file = folder / "ngpu"
        shutil.copy(file, self.file)
        self.environment = {"HOME": str(self.home), "PATH": "/usr/local/bin:/usr/bin:/bin"}
        version = self.run("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()
        if version != RUNNING:
            pytest.skip(f"the python3 that every user of this machine has is {version or 'missing'}")

    def command(self, *words: str | Path) -> list[str]:
        environment = [f"{name}={value}" for name, value in self.environment.items()]
        return [*self.prefix, "env", "-i", *environment, *map(str, words)]

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), cwd="/", capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def user(folder: Path, made: Path) -> User:
    return User(folder, made)


def configure(folder: Path) -> tuple[Path, str]:
    """A configuration file in a folder, and its admin listener's URL."""
    public, admin = find_free_port(), find_free_port()
    content = {
        "listen": [f"tcp:{public}:interface=127.0.0.1"],
        "admin": {"listen": [f"tcp:{admin}:interface=127.0.0.1"], "token_file": "admin.token"},
        "store": {"kind": "sqlite", "path": "ngpu.sqlite"},
        "media": {"folder": "media"},
    }
    file = folder / "ngpu.yaml"
    file.write_text(yaml.safe_dump(content))
    return file, f"http://127.0.0.1:{admin}"


def test_the_same_sources_give_the_same_bytes(made: Path, tmp_path: Path) -> None:
    """Made at another time, in another folder and under another umask."""
    again = make(tmp_path / "elsewhere", 0o077)
    assert hashlib.sha256(again.read_bytes()).hexdigest() == hashlib.sha256(made.read_bytes()).hexdigest()


def test_anybody_can_use_its_commands_and_its_plugins(user: User) -> None:
    version = user.run(user.file, "--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert (ROOT / "ngpu/__init__.py").read_text().split('"')[-2] in version.stdout
    shown = user.run(user.file, "plugins")
    assert shown.returncode == 0, shown.stderr
    assert [name for name in PLUGINS if name not in shown.stdout] == []
    wrong = user.home.parent / "wrong.yaml"
    wrong.write_text("lissten: 3\n")
    checked = user.run(user.file, "check", "-c", wrong)
    assert (checked.returncode, "did you mean" in checked.stderr) == (2, True)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"HOME": "/proc/nobodys"}, "cannot unpack itself into /proc/nobodys/.shiv: No such file or directory"),
        ({"SHIV_ROOT": "/dev/null"}, "cannot unpack itself into /dev/null: Not a directory"),
        ({"SHIV_ROOT": "/proc/self/task"}, "cannot unpack itself into /proc/self/task: "),
    ],
)
def test_where_it_cannot_unpack_itself_it_says_so(user: User, more: dict[str, str], why: str) -> None:
    done = user.run("env", *(f"{name}={value}" for name, value in more.items()), user.file, "--version")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"ngpu: {why}") and done.stderr.endswith("; name another folder with SHIV_ROOT\n")


def test_where_the_home_is_that_of_another_user_it_says_so(user: User, folder: Path) -> None:
    if not user.prefix:
        pytest.skip("only root can have a folder that the user of the file may not look into")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    done = user.run("env", f"HOME={closed}", user.file, "--version")
    assert done.stderr == (
        f"ngpu: cannot unpack itself into {closed}/.shiv: Permission denied; name another folder with SHIV_ROOT\n"
    )


def test_the_gateway_starts_from_it_in_a_moment_and_again_for_a_new_configuration(user: User) -> None:
    file, admin = configure(user.home)
    process = Process(user.command(user.file, "run", "-c", file), user.home.parent / "log", admin + "/readyz")
    process.clean_exits = (-signal.SIGTERM,)
    took = []
    try:
        for _ in range(3):
            before = processor()
            process.start()
            process.stop()
            took.append(processor() - before)
        assert min(took[1:]) <= WARM, took
        process.start()
        assert requests.get(admin + "/metrics", timeout=5).status_code == 401
        assert "<title>ngpu</title>" in requests.get(admin + "/", timeout=5).text
        assert healthy(admin)
        starts = process.log.read_text().count(STARTS)
        os.kill(process.pid, signal.SIGHUP)
        until = time.monotonic() + 20
        while process.log.read_text().count(STARTS) == starts or not healthy(admin):
            assert time.monotonic() < until, process.tail()
            time.sleep(0.05)
        process.stop()
    finally:
        process.kill9()


def processor() -> float:
    """Seconds that the processor has worked on programs of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def healthy(admin: str) -> bool:
    try:
        return requests.get(admin + "/healthz", timeout=5).status_code == 200
    except requests.ConnectionError:  # it was about to end
        return False


def test_a_newer_python_has_its_compiled_parts(tmp_path: Path) -> None:
    if OTHER is None:
        pytest.skip(f"there is no newer Python than {RUNNING} here")
    version, program = OTHER
    stage = tmp_path / "stage"
    stage.mkdir()
    for library in dist.needed(RUNNING).values():
        dist.copy_library(library, stage)
    dist.add_compiled(version, stage, tmp_path / "wheels")
    file, _ = configure(tmp_path)
    code = "import sys; sys.path[:0] = sys.argv[1:3]; from ngpu.cli import main; main(sys.argv[3:])"
    done = subprocess.run(
        [program, "-Ic", code, str(ROOT), str(stage), "check", "-c", str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "can be used" in done.stdout


BEGIN = """
import pathlib, runpy, sys
sys.version_info = tuple(map(int, sys.argv[1].split(".")))
runpy.run_path(sys.argv[2], {"site_packages": pathlib.Path(sys.argv[3])})
"""


@pytest.mark.parametrize(
    ("version", "said"), [("3.10.1", "needs Python 3.11 or newer"), (sys.version.split()[0], "cpython-3.99-riscv,")]
)
def test_a_python_that_it_cannot_run_with_is_told_so(version: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "_cffi_backend.cpython-3.99-riscv.so").touch()
    command = [sys.executable, "-c", BEGIN, version, str(ROOT / "tools/begin.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
