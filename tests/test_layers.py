"""Imports go down only (docs/architecture.md), and the checker that says so sees every way to break it."""

from __future__ import annotations

from pathlib import Path

import pytest
from layers import ROOMS, violations

ROOT = Path(__file__).parent.parent


def test_the_house_keeps_its_rules() -> None:
    assert not violations(ROOT), "\n" + "\n".join(violations(ROOT))


def test_the_rules_speak_of_the_house_as_it_stands() -> None:
    """The checker would pass an empty folder; this house has rooms, and the base is among them."""
    present = {path.stem for path in (ROOT / "ngpu").iterdir()} & set(ROOMS)
    assert {"errors", "model", "interfaces"} <= present


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (
            "ngpu/model.py",
            "from ngpu.interfaces import X",
            "ngpu/model.py:1: ngpu.model must not import ngpu.interfaces",
        ),
        ("ngpu/model.py", "import ngpu.cli", "ngpu.model must not import ngpu.cli"),
        ("ngpu/model.py", "from ngpu import cli", "ngpu.model must not import ngpu.cli"),
        ("ngpu/model.py", "def f():\n    from ngpu.cli import main", "ngpu/model.py:2: ngpu.model must not"),
        ("ngpu/stores/sqlite/lane.py", "from ....ngpu import x", "ngpu.stores must not import ngpu.x"),
        ("ngpu/stores/sqlite/lane.py", "from ...http import x", "ngpu.stores must not import ngpu.http"),
        ("ngpu/tasks/__init__.py", "from ..http import x", "ngpu.tasks must not import ngpu.http"),
        ("ngpu/tasks/run.py", "from .. import http", "ngpu.tasks must not import ngpu.http"),
        ("ngpu/demo/worker.py", "from ngpu.errors import NgpuError", "ngpu.demo must not import ngpu.errors"),
        ("ngpu/testing/fakes.py", "from ngpu.pool import Pool", "ngpu.testing must not import ngpu.pool"),
        ("ngpu/http/x.py", "from ngpu.plugins.static import x", "ngpu.http must not import ngpu.plugins"),
        ("ngpu/http/x.py", "import ngpu.demo.effects", "ngpu.http must not import ngpu.demo"),
        ("plugins/p.py", "from ngpu.settings import Settings", "plugins/p.py:1: ngpu.plugins must not import"),
        ("plugins/p.py", "from twisted.internet import reactor", "imports the global reactor"),
        ("ngpu/pool.py", "from twisted.internet import reactor", "imports the global reactor"),
        ("ngpu/pool.py", "import twisted.internet.reactor", "imports the global reactor"),
        (
            "ngpu/pool.py",
            "try:\n    from twisted.internet import reactor as r\nfinally:\n    pass",
            "pool.py:2: imports",
        ),
        ("ngpu/helpers.py", "", "the room ngpu.helpers has no place"),
        ("ngpu/pool.py", "x = 1\n" * 301, "301 lines, more than 300"),
        ("twisted/__init__.py", "", "must not exist"),
        ("twisted/plugins/__init__.py", "", "must not exist"),
    ],
)
def test_each_violation_is_found(tmp_path: Path, path: str, text: str, said: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert [line for line in violations(tmp_path) if said in line], violations(tmp_path)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ngpu/tap.py", "def main():\n    from twisted.internet import reactor"),
        ("ngpu/tap.py", "from ngpu import __version__\nfrom ngpu.http import x\nimport ngpu"),
        ("ngpu/tasks/run.py", "from . import stores\nfrom .stores import sqlite\nfrom ..model import Task"),
        ("ngpu/demo/worker.py", "from ngpu.demo.effects import paint"),
        ("ngpu/discovery.py", "import ngpu.plugins"),
        ("plugins/p.py", "from ngpu.interfaces import X\nfrom ngpu.model import Y\nfrom ngpu.errors import Z"),
    ],
)
def test_what_goes_down_is_allowed(tmp_path: Path, path: str, text: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert not violations(tmp_path)
