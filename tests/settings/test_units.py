"""Durations and sizes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngpu.settings.units import DURATIONS, SIZES, UnitError, duration, shown, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("1.5h", 5400),
        ("0", 0),
        (0, 0),
        ("0s", 0),
    ],
)
def test_durations_are_seconds(text: object, seconds: float) -> None:
    assert duration(text) == seconds
    assert isinstance(duration(text), float)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *(("100B", 100), ("512KiB", 524288), ("64MiB", 2**26), ("24GiB", 24 * 2**30), ("1TiB", 2**40), (0, 0)),
        *(("1KB", 1000), ("64MB", 64 * 10**6), ("24GB", 24 * 10**9), ("1.5KiB", 1536), ("24 GiB", 24 * 2**30)),
    ],
)
def test_sizes_are_bytes(text: object, count: int) -> None:
    assert size(text) == count
    assert isinstance(size(text), int)


@pytest.mark.parametrize(
    "value", [30, "30", 1.5, "1e3s", "-1s", "s", "", "1 0s", "1h30m", "٣s", True, None, [], {}, "nan"]
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(UnitError):
        duration(value)


@pytest.mark.parametrize(
    "value", [30, "64M", "64Mi", "64mib", "5s", "-1B", "1e3", "inf", "999999999999999999TiB", None]
)
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(UnitError):
        size(value)


def test_what_calendars_cannot_hold_is_refused() -> None:
    with pytest.raises(UnitError, match="century"):
        duration("99999999999d")


def test_a_bare_number_is_told_its_units() -> None:
    with pytest.raises(UnitError, match="needs a unit \\(ms, s, m, h, d\\), such as 30s"):
        duration(30)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans()))
def test_nothing_else_is_ever_raised(value: object) -> None:
    for read in (duration, size):
        with contextlib.suppress(UnitError):
            assert read(value) >= 0


@given(st.integers(0, 1000), st.sampled_from(sorted(DURATIONS)), st.sampled_from(sorted(SIZES)))
def test_an_amount_is_its_number_times_its_unit(number: int, time: str, count: str) -> None:
    assert duration(f"{number}{time}") == float(number * DURATIONS[time])
    assert size(f"{number}{count}") == number * SIZES[count]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (1536 << 20, "1.5GiB"),
        (24 << 30, "24GiB"),
        (10**12, "931.3GiB"),
        (1 << 60, "1048576TiB"),
    ],
)
def test_sizes_are_shown_in_the_largest_unit_that_fits(count: int, text: str) -> None:
    assert shown(count) == text
