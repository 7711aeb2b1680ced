# ruff: noqa: E501 - a row of a table is one line
"""The block ``store`` of a configuration: a plugin's name, and its options beside it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from random import Random

import pytest
from processes import ROOT
from twisted.internet.task import Clock

from ngpu.discovery import discover
from ngpu.interfaces import PluginContext
from ngpu.settings import CheckBlock, SettingsError, loads

PLUGINS = discover([])
SECRET = "hunter2"


def heads(text: str, folder: Path) -> list[str]:
    """The first line of each problem, those of plugins included; empty when there is none."""

    def find(folders: object) -> CheckBlock:
        context = PluginContext(Clock(), Random(), str(folder))
        return lambda family, name, options: PLUGINS.make(family, name, options, context)

    try:
        loads(text, "f", folder, find)
    except SettingsError as error:
        assert SECRET not in str(error)
        return [problem.head("f") for problem in error.problems]
    return []


def test_the_default_of_the_file_is_the_one_that_the_example_says() -> None:
    (path,) = PLUGINS.factories["store", "sqlite"].options
    assert (path.name, path.default) == ("path", "var/ngpu.sqlite")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Has the files that blocks name."""
    (tmp_path / "keys").mkdir()
    for name in ("redis", "sentinels"):
        (tmp_path / "keys" / name).write_text(f"{SECRET}\n")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca", "-keyout", "/dev/null"]
    subprocess.run([*command, "-out", str(tmp_path / "keys/redis-ca.pem")], check=True, capture_output=True)
    return tmp_path


def test_the_blocks_that_the_page_shows_can_be_used(folder: Path) -> None:
    blocks = re.findall(r"^```yaml[^\n]*\n(store:.*?)^```", (ROOT / "docs/plugins.md").read_text(), re.M | re.S)
    assert len(blocks) == 3
    for block in blocks:
        assert heads(block, folder) == []


def test_every_option_stands_in_the_page() -> None:
    page = (ROOT / "docs/plugins.md").read_text().partition("\n## Stores\n")[2].partition("\n## ")[0]
    for option in (*PLUGINS.factories["store", "redis"].options, *PLUGINS.factories["store", "sqlite"].options):
        assert f"`{option.name}`" in page
        assert option.default in (None, []) or f"`{option.default}`" in page or option.default in page


@pytest.mark.parametrize("text", ["{}", "store: {}", "store: {kind: sqlite}", "store: {path: /x/y}"])
def test_blocks_that_are_right(text: str, tmp_path: Path) -> None:
    assert heads(text, tmp_path) == []


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("store: {kind: mysql, host: h}", "f:1:15: store.kind: there is no store plugin 'mysql'; there are redis, sqlite"),
        ("store: {kind: reddis}", "f:1:15: store.kind: there is no store plugin 'reddis' (did you mean 'redis'?)"),
        ("store: {pth: x}", "f:1:14: store.pth: sqlite has no such option (did you mean 'path'?); it takes path"),
        ("store:\n  kind: sqlite\n  path: 5", "f:3:9: store.path: must be the path of a file"),
        ("store: {path: ''}", "f:1:15: store.path: must be the path of a file"),
        ("store: {kind: redis}", "f:1:15: store.kind: url is missing, such as redis://127.0.0.1:6379/0"),
        ("store:\n  kind: redis\n  url: http://h", "f:3:8: store.url: must be redis://host:port/number"),
        ("store: {kind: redis, url: 'redis://u:hunter2@h/x'}", "f:1:27: store.url: must be redis://host:port/number"),
        ("store: {kind: redis, url: 'redis://h', urk: 1}", "f:1:45: store.urk: redis has no such option (did you mean 'url'?)"),
        ("store: {kind: redis, url: 'redis://h', sentinels: [5]}", "f:1:52: store.sentinels[0]: must be host:port"),
        ("store: {kind: redis, url: 'redis://h:1', sentinels: [h]}", "f:1:27: store.url: with sentinels it is redis://name"),
        ("store: {kind: redis, url: 'redis://h', timeout: 5}", "f:1:49: store.timeout: needs a unit"),
        ("store: {kind: redis, url: 'redis://h', lease: 0s}", "f:1:47: store.lease: must be more than 0"),
        ("store: {kind: redis, url: 'redis://h', prefix: 'a:b'}", "f:1:48: store.prefix: must be 1 to 64 letters"),
        ("store: {kind: redis, url: 'redis://h', prefix: 5}", "f:1:48: store.prefix: must be 1 to 64 letters"),
        ("store: {kind: redis, url: 'redis://h', ca: keys/redis-ca.pem}", "f:1:44: store.ca: is for rediss:// only"),
        ("store: {kind: redis, url: 'rediss://h', ca: keys/none}", "f:1:45: store.ca: cannot be read: No such file"),
        ("store: {kind: redis, url: 'rediss://h', ca: keys/redis}", "f:1:45: store.ca: the file holds no certificate"),
        ("store: {kind: redis, url: 'redis://h', password_file: keys/none}", "f:1:55: store.password_file: cannot be read"),
        ("store: {kind: redis, url: 'redis://:hunter2@h', password_file: keys/redis}", "f:1:64: store.password_file: stands beside"),
        ("store: {kind: redis, url: 'redis://h', sentinel_password_file: keys/redis}", "f:1:64: store.sentinel_password_file: there are no"),
        ("store: {1: x}", "f:1:9: store[1]: there is no such key here"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_place(text: str, head: str, folder: Path) -> None:
    found = heads(text, folder)
    assert len(found) == 1 and found[0].startswith(head), found
