"""`ngpu doctor`: what it finds on hosts that are fit, and on others."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_rig import NODE, CommandRig, command, typed
from docker_bed import bed_or_skip, docker_bed
from processes import ROOT, find_free_port
from redis_server import RedisServer, shared

from ngpu.cli.doctor import machine
from ngpu.cli.doctor.asking import judged
from ngpu.containers import EngineInfo
from ngpu.examining import Level
from ngpu.fleet.station import Post
from ngpu.model import Node
from ngpu.settings import load
from ngpu.stores.folder import examine_folder, file_system

OTHERS = "CREATE TABLE a (b)"
NEWER = "PRAGMA application_id = 0x6E677075; PRAGMA user_version = 99; CREATE TABLE a (b)"


def examined(folder: Path, code: int, **config: Any) -> Mapping[str, Any]:
    """What it finds with a configuration, by what it is about: level and words."""
    file = folder / "ngpu.yaml"
    listeners = {"listen": [free()], "admin": {"listen": [free()]}}
    file.write_text(yaml.safe_dump({**listeners, **config}))
    done = subprocess.run(
        command("doctor", "-c", str(file), "--json"), capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == code and done.stderr == "", done
    return {each["about"]: each for each in json.loads(done.stdout)["findings"]}


def free() -> str:
    return f"tcp:{find_free_port()}:interface=127.0.0.1"


def test_a_host_that_is_fit_and_is_left_as_it_was(tmp_path: Path) -> None:
    """With a real Redis and a real Docker engine, which has no GPUs to give."""
    bed_or_skip()
    with docker_bed() as bed:
        node = {"address": NODE, "host": "127.0.0.1", "engine": bed.engines[0].url, "gpus": {"count": 2}}
        found = examined(tmp_path, 0, nodes=[node], store={"kind": "redis", "url": shared().url})
    assert {"configuration", "listen", "admin.listen", "admin token", "memory", "clock"} <= found.keys()
    assert found["Redis"]["level"] == "ok" and "answers" in found["Redis"]["words"]
    assert found["Redis appendfsync"]["words"].startswith("everysec")
    assert found["Redis clock"]["level"] == "ok"
    assert found[f"engine of {NODE}"]["level"] == "ok" and "docker" in found[f"engine of {NODE}"]["words"]
    assert found[f"GPUs of {NODE}"]["level"] == "warning"
    assert "NVIDIA Container Toolkit" in found[f"GPUs of {NODE}"]["advice"]
    assert [file.name for file in tmp_path.iterdir()] == ["ngpu.yaml"]


def test_everything_that_is_wrong_is_said_at_once_with_what_to_do(tmp_path: Path) -> None:
    token, secret = tmp_path / "token", tmp_path / "secret"
    token.write_text("x" * 32)
    token.chmod(0o644)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = examined(
            tmp_path,
            1,
            listen=[f"tcp:{port}:interface=127.0.0.1"],
            admin={"listen": ["tcp:1234:interface=203.0.113.1"], "token_file": str(token)},
            registries={"registry.example": {"username": "u", "password_file": str(secret)}},
            store={"kind": "redis", "url": f"redis://127.0.0.1:{find_free_port()}"},
            nodes=[{"address": NODE, "host": "127.0.0.1", "engine": f"unix://{tmp_path}/none.sock"}],
            spool=str(token),
        )
    assert found["spool folder"]["words"] == f"{token} is no folder"
    assert found["listen"]["level"] == "problem" and f"sport = :{port}" in found["listen"]["advice"]
    assert found["admin.listen"]["level"] == "problem" and "no such address" in found["admin.listen"]["advice"]
    assert found["admin token"]["level"] == "warning" and "chmod 600" in found["admin token"]["advice"]
    assert found["password of registry.example"]["words"] == f"{secret} is missing"
    assert found["Redis"]["level"] == "problem" and "cannot be reached" in found["Redis"]["words"]
    assert found[f"engine of {NODE}"]["level"] == "problem"


def test_a_gateway_that_runs_has_its_own_ports(rig: CommandRig) -> None:
    done = subprocess.run(command("doctor", "-c", rig.config), capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0 and done.stdout.count("is the gateway's, which runs") == 2, done
    assert "  disk: " in done.stdout and "  writes: " in done.stdout and "for its owner only" in done.stdout


def test_a_configuration_that_cannot_be_used_ends_it_with_2(tmp_path: Path) -> None:
    file = tmp_path / "ngpu.yaml"
    file.write_text("lissten: 1\n")
    done = typed("doctor", "-c", str(file))
    assert done.code == 2 and "did you mean 'listen'?" in done.err


def test_a_redis_that_would_lose_tasks(tmp_path: Path) -> None:
    settings = ("--appendonly", "no", "--appendfsync", "no", "--save", "", "--maxmemory-policy", "allkeys-lru")
    server = RedisServer(tmp_path / "redis", *settings).start()
    file = tmp_path / "ngpu.yaml"
    file.write_text(yaml.safe_dump({"listen": [free()], "store": {"kind": "redis", "url": server.url}}))
    try:
        done = subprocess.run(
            command("doctor", "-q", "-c", str(file)), capture_output=True, text=True, cwd=ROOT, timeout=60
        )
    finally:
        server.stop()
    assert done.returncode == 1
    assert "appendonly yes" in done.stdout and "maxmemory-policy noeviction" in done.stdout
    assert "set appendfsync everysec" in done.stdout


def test_what_engines_say_is_judged() -> None:
    post = Post("k", Node(NODE, "h"), None, "docker", ("0", "1"), memory=8 << 30)  # type: ignore[arg-type]

    def levels(info: EngineInfo, driver: str = "nvidia") -> list[str]:
        return [str(each.level) for each in judged("e", info, post, driver)]

    assert levels(EngineInfo("1", 16 << 30, runtimes=frozenset(("runc", "nvidia")))) == ["ok", "ok"]
    assert levels(EngineInfo("1", 4 << 30, runtimes=frozenset(("runc",)))) == ["ok", "warning", "warning"]
    assert levels(EngineInfo("1", 16 << 30, runtimes=frozenset(("runc",))), "cdi") == ["ok"]
    assert levels(EngineInfo("1", 16 << 30, gpus=1)) == ["ok", "problem"]


@pytest.mark.parametrize(
    ("now", "synchronised", "level"),
    [(0.0, True, "problem"), (1.9e9, False, "warning"), (1.9e9, True, "ok"), (1.9e9, None, "ok")],
)
def test_clocks(now: float, synchronised: bool | None, level: str) -> None:
    assert [each.level for each in machine.clock(now, synchronised)] == [Level(level)]


def test_memory_and_open_files() -> None:
    settings = load(ROOT / "config" / "demo.yaml").settings
    told = "MemTotal: 9 kB\nMemAvailable:    4000000 kB\n"
    assert [each.level for each in machine.memory(settings, told, None)] == [Level.OK]
    assert [each.level for each in machine.memory(settings, told, 1 << 30)] == [Level.WARNING]
    assert list(machine.memory(settings, "", None)) == []
    assert [each.level for each in machine.open_files(settings, 1024)] == [Level.WARNING]
    assert [each.level for each in machine.open_files(settings, 65536)] == [Level.OK]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no database", "file is not a database"),
        (OTHERS, "is the SQLite database of another program"),
        (NEWER, "was written by a newer ngpu (schema 99"),
        (b"", None),
    ],
)
def test_a_store_that_no_start_could_use(tmp_path: Path, content: bytes | str, words: str | None) -> None:
    file = tmp_path / "tasks.sqlite"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        with closing(sqlite3.connect(file)) as db:
            db.executescript(content)
    before = file.read_bytes()
    found = examined(tmp_path, int(words is not None), store={"kind": "sqlite", "path": str(file)})
    assert ("store" in found) is (words is not None)
    if words is not None:
        assert found["store"]["level"] == "problem" and words in found["store"]["words"], found["store"]
    assert file.read_bytes() == before and not list(tmp_path.glob("tasks.sqlite-*"))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"one\ntwo", "clé".encode(), b"a\x00b"])
def test_an_admin_token_that_no_request_could_show(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    (tmp_path / "token").chmod(0o600)
    found = examined(tmp_path, 1, admin={"listen": [free()], "token_file": "token"})
    assert found["admin token"]["level"] == "problem" and "one line of visible ASCII" in found["admin token"]["words"]
    start = command("run", "-c", str(tmp_path / "ngpu.yaml"))
    done = subprocess.run(start, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 2 and "token_file" in done.stderr, done


def test_the_kind_of_a_file_system() -> None:
    mounts = "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / /proc rw shared:1 - proc proc rw\n"
    assert file_system(Path("/proc/self"), mounts) == "proc"
    assert file_system(Path("/nowhere"), mounts) == "ext4"
    assert file_system(Path("/nowhere"), "") == ""


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert [(each.level, each.about) for each in examine_folder(file / "x")] == [(Level.PROBLEM, "folder")]
    assert {each.about: str(each.level) for each in examine_folder(tmp_path / "a" / "b")}["writes"] in ("ok", "warning")
    assert [each.level for each in examine_folder(Path("/proc")) if each.about == "folder"] == [Level.PROBLEM]
