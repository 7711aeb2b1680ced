# ruff: noqa: E501 - a row of a table is one line
"""The block ``store`` of a configuration: a plugin's name, and its options beside it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
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
        ("store: {1: x}", "f:1:9: store[1]: there is no such key here"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_place(text: str, head: str, tmp_path: Path) -> None:
    found = heads(text, tmp_path)
    assert len(found) == 1 and found[0].startswith(head), found
