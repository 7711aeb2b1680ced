"""A Docker daemon through a real sshd on this machine, and `docker system dial-stdio` behind it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from docker_bed import Bed
from docker_engine import SYSTEM_PATH, run, wait_until
from docker_images import Image, archive, busybox_layer
from engine_labs import TALKS, DockerLab, docker_engine, pieces
from processes import find_free_port
from twisted.internet import reactor

from ngpu.errors import EngineUnreachable

NEEDED = ("sshd", "ssh", "ssh-keygen", "docker")


class Sshd:
    """An ssh server that lets ``key`` in as root, onto the engine of a bed."""

    def __init__(self, folder: Path, docker_host: str) -> None:
        self.folder, self.port = folder, find_free_port()
        for name in ("host", "key", "stranger"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
        shutil.copy(folder / "key.pub", folder / "authorized")
        known = (folder / "host.pub").read_text().split()[:2]
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {' '.join(known)}\n")
        (folder / "unknown").write_text("")
        self._configure(docker_host)
        Path("/run/sshd").mkdir(exist_ok=True)
        sshd = shutil.which("sshd", path=SYSTEM_PATH)
        assert sshd is not None
        with (folder / "log").open("ab") as log:
            command = [sshd, "-D", "-e", "-f", str(folder / "config")]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._listens, 10.0, lambda: (folder / "log").read_text())

    def _configure(self, docker_host: str) -> None:
        folder = self.folder
        (folder / "config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/authorized\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n"
            f"SetEnv DOCKER_HOST={docker_host} PATH={SYSTEM_PATH}\n"
        )

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return "Server listening" in (self.folder / "log").read_text()

    def options(self, **changed: Any) -> dict[str, Any]:
        """Of an engine that is reached through it."""
        files = {"identity": str(self.folder / "key"), "known_hosts": str(self.folder / "known")}
        return {"url": f"ssh://root@127.0.0.1:{self.port}", **files, **changed}

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def sshd(bed: Bed, tmp_path: Path) -> Iterator[Sshd]:
    missing = [name for name in NEEDED if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        assert not os.environ.get("CI"), f"tests of ssh cannot run: {missing} not installed"
        print(f"\n*** Tests of engines through ssh are skipped: {missing} not installed", file=sys.__stderr__)
        pytest.skip(f"not installed: {', '.join(missing)}")
    started = Sshd(tmp_path, bed.engines[0].url)
    yield started
    started.stop()


def clients(sshd: Sshd) -> list[str]:
    """The ssh processes that are connected to it."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()
    return [line for line in listed if line.startswith("ssh ") and str(sshd.port) in line]


@pytest_twisted.ensureDeferred
async def test_everything_goes_through_it(sshd: Sshd, bed: Bed) -> None:
    lab = DockerLab(bed, "unix", reactor)
    await lab.engine.close()
    lab.engine = docker_engine(bed.engines[0], reactor, **sshd.options())
    assert (await lab.engine.info()).version
    first = clients(sshd)
    assert await lab.engine.image(await lab.image())
    assert clients(sshd)[:1] == first  # kept for the next call
    big = archive(Image([busybox_layer(lab.fleet)]))
    image = await lab.engine.load(pieces(big), len(big), lambda share: None)
    await lab.engine.create(lab.spec(image, TALKS))
    await lab.engine.start(lab.name())
    logs = lab.engine.logs(lab.name(), 1, True)
    assert await anext(logs) == b"more\n"
    await logs.aclose()
    await lab.end()
    wait_until(lambda: not clients(sshd), 10.0, lambda: f"still there: {clients(sshd)}")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"known_hosts": "unknown"}, "Host key verification failed"),
        ({"identity": "stranger"}, "Permission denied"),
    ],
    ids=["unknown host", "wrong key"],
)
@pytest_twisted.ensureDeferred
async def test_who_is_not_known_is_refused(sshd: Sshd, bed: Bed, changed: dict[str, str], words: str) -> None:
    options = sshd.options(**{name: str(sshd.folder / file) for name, file in changed.items()})
    engine = docker_engine(bed.engines[0], reactor, **options)
    with pytest.raises(EngineUnreachable, match=words):
        await engine.info()
    await engine.close()


@pytest_twisted.ensureDeferred
async def test_no_docker_behind_it(bed: Bed, sshd: Sshd) -> None:
    key = (sshd.folder / "key.pub").read_text()
    (sshd.folder / "authorized").write_text(f'command="exec nobody-has-docker" {key}')
    engine = docker_engine(bed.engines[0], reactor, **sshd.options())
    with pytest.raises(EngineUnreachable, match=r"nobody-has-docker: (command )?not found"):
        await engine.info()
    await engine.close()


@pytest_twisted.ensureDeferred
async def test_nobody_listens(bed: Bed, sshd: Sshd) -> None:
    sshd.stop()
    engine = docker_engine(bed.engines[0], reactor, **sshd.options())
    with pytest.raises(EngineUnreachable, match="Connection refused"):
        await engine.info()
    await engine.close()
    assert clients(sshd) == []
