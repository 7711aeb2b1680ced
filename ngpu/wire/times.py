"""Times in the contract's spelling, ``YYYY-MM-DD HH:MM:SS`` in the configured zone (wire contract §4), and task ids."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from ngpu.errors import BadRequest

_FORMAT = "%Y-%m-%d %H:%M:%S"
_SPELLING = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2}):(\d{2}))?", re.ASCII)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC).timestamp(), datetime.max.replace(tzinfo=UTC).timestamp()
_RANDOM_DIGITS = 20  # 66 bits, on top of the microseconds (wire contract §2)


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
    moment = datetime.fromtimestamp(now, UTC).astimezone(zone)
    return f"{moment:%Y%m%d_%H_%M_%S_%f}{secrets.randbelow(10**_RANDOM_DIGITS):0{_RANDOM_DIGITS}d}"
