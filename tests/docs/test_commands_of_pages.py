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
from collections.abc import Iterator
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
    with demo_on_other_ports(tmp_path_factory.mktemp("demo")) as gateway:
        yield gateway


@pytest.mark.parametrize("block", told("starting"), ids=lambda block: block.page)
def test_a_configuration_is_checked_and_then_served(block: Told, tmp_path: Path) -> None:
    """The lines of the block one after another; the last of them is the gateway, until it is told to stop."""
    file = re.findall(r"-c (\S+)", block.text)[0]
    public, admin = find_free_port(), find_free_port()
    config = (ROOT / "config/demo.yaml").read_text()
    config = (
        config.replace("tcp:8080:", f"tcp:{public}:").replace("tcp:8081:", f"tcp:{admin}:").replace("../var", "var")
    )
    (tmp_path / Path(file).name).write_text(config)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    text = block.text.replace(file, Path(file).name)
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
        deadline = time.monotonic() + 30
        while not is_ready(admin):
            assert shell.poll() is None and time.monotonic() < deadline, (tmp_path / "said").read_text()
            time.sleep(0.05)
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(30)
    assert "1 workspace, 1 node, 2 apps, 1 gate" in (tmp_path / "said").read_text()


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


def test_the_access_log_has_the_fields_that_are_shown(demo: Gateway) -> None:
    (block,) = told("access log")
    picture = {"btc_address": "", "data": {"prompt": "x", "init_images": [png()]}}
    assert requests.post(f"{demo.url}/user/img2img", json=picture, timeout=30).status_code == 200
    lines = [line for line in demo.log.read_text().splitlines() if line.startswith('{"time"')]
    logged = next(line for line in map(json.loads, lines) if line["path"] == "/user/img2img")
    shown = json.loads(block.text)
    assert list(logged) == list(shown)
    assert (logged["route"], logged["workspace"]) == (shown["route"], shown["workspace"])


def test_a_key_that_is_made_as_shown_opens_its_workspace(tmp_path: Path) -> None:
    (block,) = told("keys")
    (printed,) = paste([block.text], tmp_path)
    key, digest = printed.split()
    assert hashlib.sha256(key.encode()).hexdigest() == digest
    node = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
    workspace = f'{{id: "1", keys: ["{digest}"], ports: {{80: 80}}, upstream: [{{node: "{node}", ports: {{80: 80}}}}]}}'
    text = f'nodes: [{{address: "{node}", host: 127.0.0.1}}]\nworkspaces: [{workspace}]\n'
    assert loads(text, "keys", tmp_path).settings.workspaces[0].keys == (digest,)
