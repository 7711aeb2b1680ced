"""What the pages tell a reader to run beside the first ten minutes and the API's examples."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from demo_gateway import demo_on_other_ports
from markdown_page import paste
from page_blocks import Told, told
from processes import ROOT, Gateway, find_free_port

from ngpu.settings import loads

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with demo_on_other_ports(tmp_path_factory.mktemp("demo"), "log: {format: json}\n") as gateway:
        yield gateway


@pytest.mark.parametrize("block", told("starting"), ids=lambda block: block.page)
def test_a_configuration_is_checked_and_then_served(block: Told, tmp_path: Path) -> None:
    """Its lines that check and run, one after another; the last of them is the gateway, until it is told to stop."""
    file = re.findall(r"-c (\S+)", block.text)[0]
    public, admin = find_free_port(), find_free_port()
    config = (ROOT / "config/demo.yaml").read_text()
    config = (
        config.replace("tcp:8080:", f"tcp:{public}:").replace("tcp:8081:", f"tcp:{admin}:").replace("../var", "var")
    )
    (tmp_path / Path(file).name).write_text(config)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    lines = [line for line in block.text.splitlines() if re.search(r"ngpu (check|run) -c", line)]
    assert len(lines) == 2
    text = "\n".join(lines).replace(file, Path(file).name)
    with (tmp_path / "said").open("wb") as said:
        shell = subprocess.Popen(
            ["bash", "-ec", text],
            cwd=tmp_path,
            stdout=said,
            stderr=said,
            env={**os.environ, "PATH": PATH},
            start_new_session=True,
        )
    try:
        until(lambda: is_ready(admin), (tmp_path / "said").read_text)
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(30)
    assert "1 workspace, 1 node, 2 apps, 1 gate" in (tmp_path / "said").read_text()


def until(true: Callable[[], bool], log: Callable[[], str]) -> None:
    deadline = time.monotonic() + 90
    while not true():
        assert time.monotonic() < deadline, log()
        time.sleep(0.05)


def is_ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def test_the_client_brings_a_picture(demo: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = told("client")
    names: dict[str, Any] = {}
    monkeypatch.chdir(ROOT)
    exec(compile(block.text.replace("http://localhost:8080", demo.url), block.page, "exec"), names)
    (image,) = names["images"]
    assert image.startswith("iVBORw0KGgo")


def png() -> str:
    return base64.b64encode((ROOT / "docs/demo/photo.png").read_bytes()).decode()


def test_the_audit_prints_what_is_shown(demo: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (block,) = told("audit")
    command, header, _, end = block.text.splitlines()
    monkeypatch.setenv("NGPU_CONFIG", str(demo.config_file))
    monkeypatch.setenv("PATH", PATH)
    (printed,) = paste([command.removeprefix("$ ")], tmp_path)
    lines = printed.splitlines()
    assert lines[0].split() == header.split()
    assert lines[-1] == end


def test_the_logs_have_the_fields_that_are_shown(demo: Gateway) -> None:
    access, journal = [json.loads(block.text) for block in told("logs")]
    for app, data in (("img2img", {"init_images": [png()]}), ("img2img?taskMode=Async", {})):
        submitted = requests.post(f"{demo.url}/user/{app}", json={"btc_address": "", "data": data}, timeout=30)
        assert submitted.status_code == 200
    logged: list[dict[str, Any]] = []

    def has_failed() -> bool:
        logged[:] = [json.loads(line) for line in demo.log.read_text().splitlines() if line.startswith('{"time"')]
        return any("journal" in line and line["journal"] == journal["journal"] for line in logged)

    until(has_failed, demo.tail)
    call = next(line for line in logged if line.get("path") == "/user/img2img")
    assert list(call) == list(access)
    assert (call["route"], call["workspace"]) == (access["route"], access["workspace"])
    failed = next(line for line in logged if line.get("journal") == journal["journal"])
    assert list(failed) == list(journal)


def test_what_has_happened_is_told_by_the_admin_api(demo: Gateway, tmp_path: Path) -> None:
    (block,) = told("events")
    events, live = block.text.splitlines()
    token = (demo.config_file.parent.parent / "var/admin.token").read_text().strip()
    begin = f'ADMIN={demo.admin}/api/v1 TOKEN="Authorization: Bearer {token}"'
    listed, streamed = paste([f"{begin}\n{events}", f"{live} -m 1 || test $? = 28"], tmp_path)
    assert json.loads(listed)["result_code"] == 200
    assert "event: " in streamed


def test_a_key_that_is_made_as_shown_opens_its_workspace(tmp_path: Path) -> None:
    (block,) = told("keys")
    (printed,) = paste([block.text], tmp_path)
    key, digest = printed.split()
    assert hashlib.sha256(key.encode()).hexdigest() == digest
    node = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
    workspace = f'{{id: "1", keys: ["{digest}"], ports: {{80: 80}}, upstream: [{{node: "{node}", ports: {{80: 80}}}}]}}'
    text = f'nodes: [{{address: "{node}", host: 127.0.0.1}}]\nworkspaces: [{workspace}]\n'
    assert loads(text, "keys", tmp_path).settings.workspaces[0].keys == (digest,)
