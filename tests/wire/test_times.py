"""Times of records and queries in the configured zone, and ids that nobody guesses."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngpu.errors import BadRequest
from ngpu.wire.times import format_time, new_task_id, parse_time

ZONES = [
    ZoneInfo(name)
    for name in ("UTC", "Asia/Shanghai", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo")
]
ZERO = ZoneInfo("UTC")


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]


@given(st.integers(0, 4_000_000_000), st.sampled_from(ZONES))
@settings(deadline=None)
def test_what_a_record_shows_finds_it_again(seconds: int, zone: ZoneInfo) -> None:
    shown = format_time(float(seconds), zone)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", shown)
    assert parse_time(shown, "startTime", zone, end=False) <= seconds <= parse_time(shown, "endTime", zone, end=True)


def test_a_date_covers_its_whole_day() -> None:
    assert parse_time("2024-04-20", "startTime", ZERO, end=False) == at(2024, 4, 20)
    end = parse_time("2024-04-20", "endTime", ZERO, end=True)
    assert at(2024, 4, 20, 23, 59, 59) + 0.9999 < end < at(2024, 4, 21)


def test_a_second_at_the_end_covers_its_whole_second() -> None:
    end = parse_time("2024-04-20 10:00:00", "endTime", ZERO, end=True)
    assert at(2024, 4, 20, 10) + 0.9999 < end < at(2024, 4, 20, 10, 0, 1)


@pytest.mark.parametrize(
    ("zone", "date", "hours"),
    [
        ("America/New_York", "2024-03-10", 23),
        ("America/New_York", "2024-11-03", 25),
        ("Australia/Lord_Howe", "2024-04-07", 24.5),
        ("America/Sao_Paulo", "2018-02-17", 25),
        ("America/Sao_Paulo", "2018-11-04", 23),
        ("Asia/Shanghai", "2024-03-10", 24),
    ],
)
def test_days_are_as_long_as_clocks_make_them(zone: str, date: str, hours: float) -> None:
    begin = parse_time(date, "startTime", ZoneInfo(zone), end=False)
    end = parse_time(date, "endTime", ZoneInfo(zone), end=True)
    assert end - begin == pytest.approx(hours * 3600, abs=0.01)


def test_an_hour_that_comes_twice_is_covered_both_times() -> None:
    zone = ZoneInfo("America/New_York")
    begin = parse_time("2024-11-03 01:30:00", "startTime", zone, end=False)
    end = parse_time("2024-11-03 01:30:00", "endTime", zone, end=True)
    assert end - begin == pytest.approx(3601, abs=0.01)


@pytest.mark.parametrize("text", ["2024-4-1", "2024-04-01T00:00:00", " 2024-04-01 00:00:00 ", "2024-04-01 0:00:00"])
def test_usual_spellings_mean_the_same(text: str) -> None:
    assert parse_time(text, "startTime", ZERO, end=False) == at(2024, 4, 1)


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024",
        "2024-04",
        "2024-13-01",
        "2024-02-30",
        "0000-01-01",
        "2024-04-01 24:00:00",
        "2024-04-01 10:60:00",
        "2024-04-01 10:00:60",
        "2024-04-01 10:00",
        "2024-04-01Z",
        "-2024-04-01",
        "٢٠٢٤-٠٤-٠١",
        "12024-04-01",
        "2024-04-01\n2024",
    ],
)
def test_what_is_no_time_is_refused(text: str, end: bool) -> None:
    with pytest.raises(BadRequest, match="endTime must be"):
        parse_time(text, "endTime", ZERO, end)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31", "9999-12-31 23:59:59", "1970-01-01", "2099-01-01"])
def test_the_ends_of_time_are_times(text: str, end: bool, zone: ZoneInfo) -> None:
    """Clients write them for "ever"."""
    seconds = parse_time(text, "endTime", zone, end)
    assert abs(seconds - at(int(text[:4]), int(text[5:7]), int(text[8:10]))) < 2 * 86400


def test_no_time_is_shown_as_nothing() -> None:
    assert format_time(None, ZERO) == ""


def test_task_ids_are_dated_in_the_zone_and_unguessable() -> None:
    now = at(2024, 4, 15, 14, 30, 9) + 0.891041
    ids = [new_task_id(now, ZoneInfo("Asia/Shanghai")) for _ in range(2000)]
    assert all(re.fullmatch(r"20240415_22_30_09_891041\d{20}", one) for one in ids)
    assert len(set(ids)) == len(ids)
    for place in range(20):
        assert {one[-20:][place] for one in ids} == set("0123456789"), "a digit is not random"
    assert 10**20 > 2**64
