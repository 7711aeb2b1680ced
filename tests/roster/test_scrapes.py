"""What a scrape shows while the store is away, and of what has not happened yet."""

from __future__ import annotations

import re

import pytest
from gateway_rig import begun
from roster_rig import Hall
from twisted.internet.task import deferLater

from ngpu.figures import SIDE_BY_SIDE, STORE_WITHIN, Figures

ID = "scraped"


@pytest.mark.parametrize("trouble", ["refuses", "hangs"])
def test_a_scrape_while_the_store_is_away_tells_of_all_else(hall: Hall, trouble: str) -> None:
    """Above all that it is away: what gives no metrics then looks like a gateway that is gone."""
    label = hall.put(ID).label
    hall.submit(ID)
    assert f'ngpu_queue_tasks{{workspace="{label}"}} 1.0' in hall.figures()
    {"refuses": hall.store.refusing, "hangs": hall.store.holding}[trouble].add("queued")
    scrape = begun(hall.scrape())
    hall.clock.advance(STORE_WITHIN)
    shown = scrape.value.decode()
    assert "ngpu_queue_tasks{" not in shown, "nobody knows"
    assert f'ngpu_line_waiting{{workspace="{label}"}}' in shown and "ngpu_store_up" in shown
    hall.store.refusing.clear()
    hall.store.release()
    assert f'ngpu_queue_tasks{{workspace="{label}"}} 1.0' in hall.figures()


def test_a_store_that_is_slow_is_not_away(hall: Hall) -> None:
    """Each answer takes a turn of a busy gateway; one after the other they took longer than a scrape waits."""
    count = SIDE_BY_SIDE + 8
    labels = {hall.put(f"{ID}{number}").label for number in range(count)}

    class Slow:
        async def queued(self, workspace: str) -> int:
            await deferLater(hall.clock, 2 * STORE_WITHIN / count)
            return 3

    scrape = begun(Figures(hall.metrics, hall.roster.lines, Slow(), hall.clock).exposition())  # type: ignore[arg-type]
    hall.clock.pump([2 * STORE_WITHIN / count] * 2)
    shown = re.findall(r'^ngpu_queue_tasks{workspace="(.*?)"} 3.0$', scrape.value.decode(), re.M)
    assert set(shown) == labels


def test_ends_of_tasks_are_counted_from_0(hall: Hall) -> None:
    """`increase` and `rate` see nothing of a counter that begins with its first end."""
    label = hall.put(ID).label
    shown = re.findall(rf'^ngpu_tasks_ended_total{{status="(\w+)",workspace="{label}"}} 0.0$', hall.figures(), re.M)
    assert sorted(shown) == ["cancelled", "expired", "failed", "finished"]
    hall.roster.remove(ID)
    assert label not in hall.figures()
