"""The configurations that the pages show, whole ones and parts, are what `ngpu check` would take."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from page_blocks import Told, told
from tls_files import write_certificate
from twisted.internet.task import Clock

from ngpu.http.reply import limit_fields
from ngpu.limits import Allowance
from ngpu.tap import check

NODE = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
KEY_FILE = re.compile(r"\bkeys/[\w.-]+")


def named(block: Told) -> str:
    return f"{block.page}: {block.text[:30]!r}"


def checked(text: str, folder: Path) -> None:
    """`ngpu check` over it, with what its key files would hold.

    :raises ConfigError: with all that is wrong.
    """
    (folder / "keys").mkdir()
    for file in KEY_FILE.findall(text):
        (folder / file).write_text("secret\n")
        if file.endswith(".pem"):
            write_certificate(folder, "127.0.0.1", timedelta(days=1)).rename(folder / file)
    path = folder / "ngpu.yaml"
    path.write_text(text)
    check(path, Clock())


@pytest.mark.parametrize("block", told("a whole configuration"), ids=named)
def test_a_whole_configuration(block: Told, tmp_path: Path) -> None:
    checked(block.text, tmp_path)


@pytest.mark.parametrize("block", told("a part of a configuration"), ids=named)
def test_a_part_has_its_place_in_one(block: Told, tmp_path: Path) -> None:
    """Of the file itself where its keys are the file's, else of a workspace."""
    for number, text in enumerate(alternatives(block.text)):
        folder = tmp_path / str(number)
        folder.mkdir()
        checked(around(text, folder), folder)


def alternatives(text: str) -> list[str]:
    """The parts that begin with a key that was there already: it says how else it may be written."""
    found: list[list[str]] = [[]]
    seen: set[str] = set()
    for line in text.splitlines():
        key = re.match(r"\w+(?=:)", line)
        if key and key[0] in seen:
            found.append([])
            seen.clear()
        if key:
            seen.add(key[0])
        found[-1].append(line)
    return ["\n".join(lines) for lines in found]


def around(text: str, folder: Path) -> str:
    """A whole configuration that has the part in it, and certificates where it looks for them."""
    if "/etc/ngpu/tls" in text:
        certificate = write_certificate(folder, "127.0.0.1", timedelta(days=1))
        text = re.sub(r"/etc/ngpu/tls/\w+\.pem", str(certificate), text)
    part = yaml.safe_load(text)
    ids = set(re.findall(r'workspace: "(\d+)"', text)) or {"1"}
    ports = {int(port) for port in re.findall(r"\bport: (\d+)", text)} or {8080}
    upstream = [{"node": NODE, "ports": {port: port for port in ports}}]
    workspaces: list[dict[str, Any]] = [
        {"id": each, "ports": {port: port for port in ports}, "upstream": upstream} for each in sorted(ids)
    ]
    whole: dict[str, Any] = {"nodes": [{"address": NODE, "host": "127.0.0.1"}], "workspaces": workspaces}
    if "media" not in part:
        whole["media"] = {"url": "http://10.0.0.1:8080"}
    if part.keys() <= {"selection", "rate", "quota"}:
        workspaces[0] |= part
    else:
        whole |= part
    return yaml.safe_dump(whole)


def test_the_machines_of_a_swarm_say_what_docker_reads() -> None:
    (block,) = told("daemon.json")
    assert json.loads(block.text).keys() == {"node-generic-resources", "default-runtime", "runtimes"}


def test_the_fields_that_tell_of_limits() -> None:
    (block,) = told("rate fields")
    fields = limit_fields([Allowance("rate", 10, 2, 9, 1), Allowance("quota", 1000, 86400, 41, 30120)])
    assert block.text == "".join(f"{name}: {value}\n" for name, value in fields.items())
