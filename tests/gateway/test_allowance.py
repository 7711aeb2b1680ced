"""What a workspace may submit: days, rates, and what is said of both."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from gateway_rig import WORKSPACE, House, begun, done, workspace
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from ngpu.allowance import Allowances, quota_of, rate_of
from ngpu.errors import OverLimit
from ngpu.http.reply import refusal
from ngpu.limits import Allowance, Quota, Rate, paced
from ngpu.model import BytesBody, Priority
from ngpu.submission import Wishes
from ngpu.testing.store import MemoryTaskStore

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("moment", "window", "seconds"),
    [
        ("2026-11-25 00:00:00", "2026-11-25", 86400),
        ("2026-11-25 23:59:59", "2026-11-25", 1),
        ("2026-11-26 00:00:00", "2026-11-26", 86400),
        ("2026-10-25 00:00:00", "2026-10-25", 25 * 3600),
        ("2026-03-29 00:00:00", "2026-03-29", 23 * 3600),
        ("2026-12-31 12:00:00", "2026-12-31", 43200),
    ],
)
def test_a_day_is_one_of_the_time_zone(moment: str, window: str, seconds: int) -> None:
    now = datetime.fromisoformat(moment).replace(tzinfo=BERLIN).timestamp()
    assert quota_of(workspace(quota={"per_day": 7}), now, BERLIN) == Quota(7, window, seconds)
    assert quota_of(workspace(), now, BERLIN) is None


@pytest.mark.parametrize(
    ("rate", "meant"),
    [
        ({}, None),
        ({"per_second": 5}, Rate(5.0, 5)),
        ({"per_second": 2.5}, Rate(2.5, 3)),
        ({"per_second": 0.1}, Rate(0.1, 1)),
        ({"per_second": 0.1, "burst": 10}, Rate(0.1, 10)),
    ],
)
def test_a_rate_without_a_burst(rate: dict[str, float], meant: Rate | None) -> None:
    assert rate_of(workspace(rate=rate)) == meant


@given(
    st.floats(0.001, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=60),
)
def test_no_more_come_than_the_rate_lets(per_second: float, burst: int, gaps: list[float]) -> None:
    """In whatever time, at most the burst and what the rate adds to it meanwhile; and who waits as told comes in."""
    rate, now, full_at = Rate(per_second, burst), 1e9, 0.0
    came: list[float] = []
    for gap in gaps:
        now += gap / per_second / 10
        full_at, pace = paced(full_at, rate, now)
        if pace.wait:
            assert paced(full_at, rate, now + pace.wait)[1].wait == 0.0
        else:
            came.append(now)
            assert 0 <= pace.left < burst
    for first in range(len(came)):
        for last in range(first, len(came)):
            assert last - first + 1 <= burst + (came[last] - came[first]) * per_second + 2e-3


def test_how_the_limits_stand_is_said_with_a_refusal() -> None:
    clock, store = Clock(), MemoryTaskStore()
    allowances = Allowances(store, ZoneInfo("UTC"), clock)
    limited = workspace(rate={"per_second": 1, "burst": 2}, quota={"per_day": 10})
    assert done(allowances.take(limited)) == (Allowance("rate", 2, 2, 1, 1), Allowance("quota", 10, 86400, 9, 86400))
    done(allowances.take(limited))
    error = begun(allowances.take(limited)).error
    assert isinstance(error, OverLimit)
    reply = refusal(error)
    assert reply.status == 429
    assert reply.headers == {
        "Retry-After": "1",
        "RateLimit-Policy": '"rate";q=2;w=2, "quota";q=10;w=86400',
        "RateLimit": '"rate";r=0;t=2, "quota";r=10;t=86400',
    }
    assert done(allowances.take(workspace())) == ()


def test_the_longer_wait_counts() -> None:
    house = House(up=False, rate={"per_second": 1}, quota={"per_day": 1})
    allowances = Allowances(house.store, ZoneInfo("UTC"), house.clock)
    house.submit()
    done(allowances.take(house.workspace, known=True))
    error = begun(allowances.take(house.workspace)).error
    assert isinstance(error, OverLimit) and error.retry_after > 1 and "quota" in str(error)


def test_wishes_are_in_the_record() -> None:
    house = House(up=False, queue={"ttl": "400s"})
    wishes = Wishes(30.0, 10.0, Priority.HIGH, "https://a.example/", "k")
    task = house.task(house.submit(wishes=wishes, digest="d"))
    now = task.submitted_at
    assert (task.expires_at, task.timeout, task.priority) == (now + 30, 10.0, Priority.HIGH)
    assert (task.place, task.webhook, task.idempotency_key, task.request_digest) == (
        now - 100,
        "https://a.example/",
        "k",
        "d",
    )
    assert task.workspace == WORKSPACE
    plain = house.submission().task("t", now)
    assert (plain.expires_at, plain.timeout, plain.place) == (now + 400, 60.0, now)
    assert done(house.store.request_body(task).chunks().__anext__()) == b"{}" == BytesBody(b"{}").data
