"""The bed itself: machines of their own, nothing left behind, and no silence where it cannot be made."""

from __future__ import annotations

from pathlib import Path

import docker_bed as module
import pytest
import requests
from docker_bed import Bed, bed_or_skip, docker_bed
from docker_engine import run, wait_until
from docker_images import SERVES, busybox_layer


def processes_in(folder: Path) -> list[str]:
    """The command lines that name a folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.fixture
def possible() -> None:
    bed_or_skip()


@pytest.mark.usefixtures("possible")
def test_machines_of_their_own_publish_the_same_port_and_make_a_swarm() -> None:
    with docker_bed(2, "netns", tls=False) as bed:
        pinned = bed.registry.push("serving:1", [busybox_layer()])
        for engine in bed.engines:
            engine.docker("pull", "--quiet", pinned)
            engine.docker("run", "--detach", "--publish", "8080:8080", pinned, *SERVES)
            url = f"http://{engine.host}:8080/"
            wait_until(lambda url=url: _page(url) == "hello", 10.0, engine.tail)  # type: ignore[misc]
        first, second = bed.engines
        first.docker("swarm", "init", "--advertise-addr", first.host)
        token = first.docker("swarm", "join-token", "--quiet", "worker").strip()
        second.docker("swarm", "join", "--token", token, "--advertise-addr", second.host, f"{first.host}:2377")
        assert len(first.docker("node", "ls", "--quiet").split()) == 2
        folder = bed.folder
    assert not folder.exists()
    assert processes_in(folder) == []


def _page(url: str) -> str:
    try:
        return requests.get(url, timeout=1).text
    except requests.RequestException:
        return ""


@pytest.mark.usefixtures("possible")
def test_nothing_is_left_behind_after_a_failure() -> None:
    beds: list[Bed] = []
    links = run("ip", "-brief", "link")
    with pytest.raises(ZeroDivisionError), docker_bed(1) as bed:
        beds.append(bed)
        engine = bed.engines[0]
        engine.docker("run", "--detach", bed.registry.push("serving:1", [busybox_layer()]), *SERVES)
        engine.hang()
        assert processes_in(bed.folder)
        raise ZeroDivisionError
    assert processes_in(beds[0].folder) == []
    assert not beds[0].folder.exists()
    left = {line.split()[0] for line in run("ip", "-brief", "link").splitlines()}
    assert beds[0].engines[0].name not in " ".join(left - {line.split()[0] for line in links.splitlines()})
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{beds[0].engines[0].name}"))


def test_where_it_cannot_be_made_tests_are_skipped_but_not_in_continuous_integration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "NEEDED", ("nobody-has-this",))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Docker engines"):
        bed_or_skip()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(AssertionError, match=r"cannot run: not installed: nobody-has-this|need Linux and root"):
        bed_or_skip()
