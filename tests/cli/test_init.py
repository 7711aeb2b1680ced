"""`ngpu init`: answers become a configuration that can be used, and nothing that is there is lost."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml
from command_rig import JOB, CommandRig, seen, typed
from processes import find_free_port, running

from ngpu.client import Client


def key_in(text: str) -> str:
    """The workspace's key, as it was shown."""
    found = re.search(r"shown this once: (ngpu-[\w-]{32})", text)
    assert found is not None, text
    return found[1]


def test_what_it_wrote_runs_and_its_key_opens_it(rig: CommandRig, tmp_path: Path) -> None:
    file = tmp_path / "ngpu.yaml"
    ports = find_free_port(), find_free_port()
    worker = f"127.0.0.1:{rig.worker.port}"
    done = typed(
        *("init", str(file), "--yes", "--worker", worker, "--worker", f"localhost:{find_free_port()}"),
        *("--listen", str(ports[0]), "--admin", f"127.0.0.1:{ports[1]}", "--name", "painting"),
    )
    assert done.code == 0 and f"ngpu doctor -c {file}" in done.out and f"ngpu run -c {file}" in done.out
    key = key_in(done.out)
    assert key not in file.read_text() and file.stat().st_mode & 0o777 == 0o640
    checked = typed("check", "-c", str(file))
    assert checked.code == 0 and "1 workspace, 2 nodes" in checked.out
    with running(tmp_path) as processes:
        gateway = processes.start_gateway(file.read_text(), tmp_path / "gateway")
        with Client(gateway.url, key) as client:
            assert client.call(JOB, path="sdapi/v1/img2img").value()["images"]


def test_it_asks_for_what_no_option_says(tmp_path: Path) -> None:
    """At a terminal: defaults by Enter, a wrong answer is asked for again, several workers."""
    file = tmp_path / "ngpu.yaml"
    answers = "*:9090\nnonsense\n\nredis://127.0.0.1:6379/3\nmine\ny\n10.0.0.5:7860\n10.0.0.5:7861\n\n/health\n"
    code, painted = seen("init", str(file), answers=answers)
    assert code == 0 and "'nonsense' is no HOST:PORT" in painted, painted
    written = yaml.safe_load(file.read_text())
    assert (written["listen"], written["admin"]["listen"]) == (["tcp:9090"], ["tcp:8081:interface=127.0.0.1"])
    assert written["store"] == {"kind": "redis", "url": "redis://127.0.0.1:6379/3"}
    (node,), (workspace,) = written["nodes"], written["workspaces"]
    upstream = [{"node": node["address"], "ports": {8080: port}} for port in (7860, 7861)]
    assert (workspace["name"], workspace["upstream"], workspace["health"]["path"]) == ("mine", upstream, "/health")
    assert len(key_in(painted)) == 37


def test_an_image_for_docker_engines(tmp_path: Path) -> None:
    file, key = tmp_path / "ngpu.yaml", tmp_path / "key"
    done = typed(
        *("init", str(file), "-y", "--image", "registry.example/app:1", "--gpus", "2", "--port", "80"),
        *("--engine", "ssh://ngpu@gpu1.example", "--engine", "unix:///run/docker.sock", "--key-file", str(key)),
    )
    assert done.code == 0 and f"ngpu deploy first -c {file}" in done.out
    assert key.read_text().strip() not in done.out and key.stat().st_mode & 0o777 == 0o600
    written = yaml.safe_load(file.read_text())
    assert [node["host"] for node in written["nodes"]] == ["gpu1.example", "127.0.0.1"]
    assert written["workspaces"][0]["ports"] == {8080: 80} and written["workspaces"][0]["gpus"] == {"count": 1}
    assert len({node["address"] for node in written["nodes"]}) == 2


def test_a_file_that_is_there_stays_unless_told_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "ngpu.yaml"
    file.write_text("mine\n")
    file.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(file, 12, 34)
    refused = typed("init", str(file), "--yes")
    assert refused.code == 1 and "is there already" in refused.err and file.read_text() == "mine\n"
    code, painted = seen("init", str(file), answers="n\n")
    assert code == 1 and "Write over it?" in painted and file.read_text() == "mine\n"
    assert typed("init", str(file), "--yes", "--force").code == 0
    assert yaml.safe_load(file.read_text())["workspaces"] and file.stat().st_mode & 0o777 == 0o600
    assert os.geteuid() or (file.stat().st_uid, file.stat().st_gid) == (12, 34)
    assert [each.name for each in tmp_path.iterdir()] == ["ngpu.yaml"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--worker", "a:1", "--image", "b"), 2),
        (("--listen", "8080:9090:1"), 2),
        (("--listen", "0"), 2),
        (("--store", "mysql://x"), 2),
        (("--image", "Not An Image"), 2),
        (("--engine", "here", "--image", "b"), 2),
        (("--health", "health"), 2),
        (("--store", "redis://[x"), 2),
    ],
)
def test_what_cannot_be_used_writes_nothing(tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    done = typed("init", str(tmp_path / "ngpu.yaml"), "-y", *options)
    assert done.code == code and done.err and "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert typed("init", str(tmp_path / "none" / "ngpu.yaml"), "-y").code == 1


def test_the_key_and_the_configuration_are_two_files(tmp_path: Path) -> None:
    file = tmp_path / "ngpu.yaml"
    done = typed("init", str(file), "-y", "--force", "--key-file", str(file))
    assert done.code == 2 and "would be one file" in done.err and not file.exists()
