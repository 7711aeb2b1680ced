"""The README's way from two Docker hosts to a served image, with hosts and an image of the test's own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import requests
from docker_bed import Bed
from docker_images import SERVES
from fleet_rig import FleetRig
from page_blocks import told
from processes import ROOT, Processes, find_free_port

Push = Callable[..., str]
Make = Callable[..., FleetRig]


def test_from_the_readme_to_a_served_image(fleet: Make, image: Push, bed: Bed, processes: Processes) -> None:
    fleet(2, fleet="ngpu")  # which removes what is left
    text = (ROOT / "config/fleet.yaml").read_text()
    for number, engine in enumerate(bed.engines[:2], 1):
        text, changed = re.subn(rf"engine: \S+gpu{number}\.example\S*", f"engine: {engine.url}", text)
        assert changed == 1
        text, changed = re.subn(rf"host: gpu{number}\.example", f"host: {engine.host}", text)
        assert changed == 1
    text = text.replace('"traefik/whoami"', f'"{image()}"').replace("command: []", f"command: {list(SERVES)}")
    text = text.replace("ports: {8080: 80}", "ports: {8080: 8080}").replace("path: /,", "path: /index.html,")
    public, admin = find_free_port(), find_free_port()
    text += f'listen: ["tcp:{public}:interface=127.0.0.1"]\n'
    text += f'admin: {{listen: ["tcp:{admin}:interface=127.0.0.1"]}}\n'
    gateway = processes.start_gateway(text)
    begin, then = [block.text for block in told("fleet")]
    assert begin.startswith("cp config/fleet.yaml fleet.yaml") and begin.endswith(".venv/bin/ngpu run -c fleet.yaml\n")
    assert then.startswith("export NGPU_CONFIG=fleet.yaml\n.venv/bin/ngpu deploy first\ncurl ")
    deployed = subprocess.run(
        [sys.executable, "-m", "ngpu.cli", "deploy", "first"],
        env={**os.environ, "NGPU_CONFIG": str(gateway.config_file)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert deployed.returncode == 0, deployed.stderr
    assert "first: serving, 2 of 2 serve" in deployed.stdout
    (curl,) = [line for line in then.splitlines() if line.startswith("curl")]
    curl = curl.replace("localhost:8080", f"127.0.0.1:{public}").replace("paramUrl=/", "paramUrl=cgi-bin/echo")
    arguments = shlex.split(curl.replace('{"data": ""}', '{"data": "x"}'))
    called = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=30).stdout
    assert '"data":"x"' in called, called
    assert requests.get(f"{gateway.admin}/readyz", timeout=5).ok
    assert (Path(gateway.config_file).parent / "var/fleet.sqlite").exists()
    gateway.kill9()
