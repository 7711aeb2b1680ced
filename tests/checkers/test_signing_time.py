"""Requests that are signed with their time, while the clock that timers go by is elsewhere."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
import pytest_twisted
from brc20_sources import HOLDER
from twisted.internet.task import Clock

from ngpu.brc20.reply import Surprise
from ngpu.fetch import FetchRequest
from ngpu.plugins.okx import Credentials, Okx


@pytest_twisted.ensureDeferred
async def test_okx_is_told_the_time_of_the_wall_clock() -> None:
    """It refuses what is half a minute off; the clock of timers may be hours behind, of a machine that was paused."""
    asked: list[FetchRequest] = []

    class Paused:
        clock = Clock()
        path = ""

        async def send(self, request: FetchRequest) -> None:
            asked.append(request)
            raise Surprise("no more")

    source: Any = Paused()
    with pytest.raises(Surprise):
        await Okx(Credentials("key", "secret", "passphrase"), "0", "").look_up(source, HOLDER, ("ordi",))
    stamp = dict(asked[0].headers)["OK-ACCESS-TIMESTAMP"]
    assert abs(datetime.fromisoformat(stamp).timestamp() - time.time()) < 60
