"""Times in the contract's spelling, ``YYYY-MM-DD HH:MM:SS`` in the configured zone (wire contract §4), and task ids."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from ngpu.errors import BadRequest

_FORMAT = "%Y-%m-%d %H:%M:%S"
_SPELLING = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2}):(\d{2}))?", re.ASCII)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC).timestamp(), datetime.max.replace(tzinfo=UTC).timestamp()
_RANDOM_DIGITS = 20  # 66 bits, on top of the microseconds (wire contract §2)
_DRAWN_AT_ONCE = 256
_drawn: list[str] = []


def format_time(seconds: float | None, zone: ZoneInfo) -> str:
    """A time as records show it, "" where there is none."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, zone).strftime(_FORMAT)


def parse_time(text: str, name: str, zone: ZoneInfo, end: bool) -> float:
    """A ``startTime`` or ``endTime``; a date alone means its first second, as an end its last.

    :param name: the parameter, for the message.
    :raises BadRequest: it is neither a date nor a date with a time.
    """
    found = _SPELLING.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        date_only = found[4] is None
        moment = datetime(*(int(part or 0) for part in found.groups()), tzinfo=zone)  # type: ignore[arg-type,misc]
        if end:
            moment += timedelta(days=1) if date_only else timedelta(seconds=1)
            moment = (moment - timedelta(microseconds=1)).replace(fold=1)  # of an hour that comes twice, the later
        return moment.timestamp()
    except OverflowError:  # beyond the calendar's first or last moment, which no task is
        return _FIRST if text.strip().startswith("0001") else _LAST
    except ValueError:
        raise BadRequest(f"{name} must be YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, not {text[:40]!r}") from None


def new_task_id(now: float, zone: ZoneInfo) -> str:
    """``YYYYMMDD_HH_MM_SS_<digits>``: six digits of microseconds, then at least 64 random bits."""
    second, microseconds = divmod(round(now * 1e6), 1_000_000)
    return f"{_second_of(second, zone)}{microseconds:06d}{_random()}"


@lru_cache(maxsize=16)
def _second_of(second: int, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(second, UTC).astimezone(zone):%Y%m%d_%H_%M_%S_}"


def _random() -> str:
    """_RANDOM_DIGITS digits; the system is asked for many at once, since asking costs more than using them."""
    if not _drawn:
        drawn = os.urandom(16 * _DRAWN_AT_ONCE)
        numbers = (int.from_bytes(drawn[at : at + 16]) % 10**_RANDOM_DIGITS for at in range(0, len(drawn), 16))
        _drawn.extend([f"{number:0{_RANDOM_DIGITS}d}" for number in numbers])
    return _drawn.pop()
