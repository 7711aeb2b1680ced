"""The README's section on two gateways, as it stands there: each block a terminal."""

from __future__ import annotations

import subprocess
from pathlib import Path

from desk import Desk
from markdown_page import examples
from page_blocks import told
from processes import ROOT
from redis_server import needs_redis

PORTS = ("8080", "8081", "8090", "8091", "18080", "6390")


def desk_with_what_it_needs(folder: Path) -> Desk:
    """A copy of what the section names, on other ports."""
    desk = Desk(folder, PORTS)
    for name in ("docs", "ngpu", "Makefile", ".venv", ".ci", "setup.py", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "config").mkdir()
    (folder / "config/redis.yaml").write_text(desk.here((ROOT / "config/redis.yaml").read_text()))
    return desk


def do(desk: Desk, commands: str) -> str:
    """Type these, and wait for their end."""
    done = subprocess.run(
        ["bash", "-ec", desk.here(commands)], cwd=desk.folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_works_as_written(tmp_path: Path) -> None:
    needs_redis()
    readme = (ROOT / "README.md").read_text()
    redis, first, second, asking = [block.text for block in told("two gateways")]
    picture = next(each.commands for each in examples(readme) if "> request.json" in each.commands)
    desk = desk_with_what_it_needs(tmp_path)
    with desk.terminal(redis), desk.terminal(first), desk.terminal(second):
        desk.until(lambda: desk.is_ready("8081") and desk.is_ready("8091"), "ready")
        do(desk, picture)
        events = do(desk, asking)
        assert [word for word in ("running", "finished") if f'"status":"{word}"' in events] == ["running", "finished"]
        task = (tmp_path / "task.json").read_text()
        do(desk, asking.partition("\nTASK=")[0])
        assert (tmp_path / "task.json").read_text() != task
