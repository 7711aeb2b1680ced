"""A store of somebody else's: what docs/plugins.md says that one is made of, and a start that it makes fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from processes import find_free_port

from ngpu.families import FAMILIES
from ngpu.testing import load_plugin, make_plugin

STORE = """
from zope.interface import implementer

from ngpu.auditing import AuditPage
from ngpu.plugin import Factory
from ngpu.sharing import Alone
from ngpu.storing import IStore
from ngpu.testing.documents import MemoryDocuments
from ngpu.testing.store import MemoryTaskStore


@implementer(IStore)
class Memory(MemoryTaskStore, Alone):
    def __init__(self):
        super().__init__()
        self.documents = self.led_documents = MemoryDocuments()

    {opens}

    async def audit(self, cursor, now):
        return AuditPage()


memory = Factory("store", "memory", "For as long as it lives.", lambda options, context: Memory())
"""
CONFIGURATION = """
listen: ["tcp:PORT:interface=127.0.0.1"]
admin: {listen: []}
store: {kind: memory}
plugins: {path: [.]}
"""


def test_what_the_page_names_is_all_of_a_store(tmp_path: Path) -> None:
    (tmp_path / "memory.py").write_text(STORE.format(opens="async def open(self): pass"))
    FAMILIES["store"].verify(make_plugin(load_plugin(tmp_path / "memory.py")))


@pytest.mark.parametrize("opens", ["async def open(self): raise KeyError('no disk')", "def open(self): return None"])
def test_one_that_fails_at_once_ends_the_start(tmp_path: Path, opens: str) -> None:
    """Before the reactor runs, so that there is nothing yet to stop: the process stayed, and served nobody."""
    (tmp_path / "memory.py").write_text(STORE.format(opens=opens))
    (tmp_path / "ngpu.yaml").write_text(CONFIGURATION.replace("PORT", str(find_free_port())))
    command = [sys.executable, "-m", "ngpu.cli", "run", "-c", str(tmp_path / "ngpu.yaml")]
    over = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert over.returncode == 1
    assert b"the gateway could not start" in over.stdout and b"Error" in over.stdout
