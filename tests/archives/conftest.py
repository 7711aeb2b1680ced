"""What the tests of archives start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest_twisted
from archives_rig import SOON

from ngpu.archives.opening import Archives


@pytest_twisted.async_yield_fixture
async def archives(tmp_path: Path) -> AsyncIterator[Archives]:
    from twisted.internet import reactor

    opened = Archives(reactor, Random(1), str(tmp_path), patience=SOON)
    yield opened
    opened.close()
