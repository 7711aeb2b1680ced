"""The section of docs/plugins.md on writing one: who does what it says, word for word, has a policy that works."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from markdown_page import paste
from page_blocks import told

from ngpu.plugin import Factory
from ngpu.testing import verify_plugin

SECTION = told("writing a plugin")


def test_a_reader_gets_a_policy_that_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written where the page names them, commands are run as it shows them, all in the page's order."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    printed = []
    for block in SECTION:
        kind, _, file = block.kind.partition(" ")
        if kind == "sh":
            (output,) = paste([block.text], tmp_path)
            printed.append(output)
        elif file:
            path = tmp_path / file
            assert path.parent.is_dir() and (path.exists() or path.suffix == ".yaml"), "what `new` has made is changed"
            path.write_text(block.text)
    wrote, tested, checked = printed
    assert "wrote my-plugins/cheapest.py, a selection plugin, and my-plugins/tests/test_cheapest.py" in wrote
    assert "2 passed" in tested
    (listed,) = [line for line in checked.splitlines() if line.split()[:2] == ["selection", "cheapest"]]
    assert "my-plugins/cheapest.py" in listed and "lowest price" in listed
    assert [line for line in checked.splitlines() if line.split()[:2] == ["cheapest", "default_price"]]


def test_the_same_as_a_ranked_policy_keeps_the_contract() -> None:
    (text,) = [block.text for block in SECTION if block.kind == "python" and "Ranked" in block.text]
    module: dict[str, Any] = {"__name__": "shown"}
    exec(compile(text, "docs/plugins.md", "exec"), module)
    made = module["Cheapest"]
    verify_plugin(Factory("selection", "cheapest", "A page's.", lambda options, context: made(1, context.rng)))
