"""Durations and sizes as operators write them: ``10s``, ``64MiB``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

DURATIONS: Final[Mapping[str, Decimal]] = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
SIZES: Final[Mapping[str, Decimal]] = {"B": Decimal(1)} | {
    f"{letter}{suffix}": Decimal(base) ** power
    for power, letter in enumerate("KMGT", 1)
    for suffix, base in (("iB", 1024), ("B", 1000))
}
LONGEST: Final = 100 * 365 * 86400.0
"""A century, in seconds; times further away overflow in calendars."""

LARGEST: Final = 1 << 60
"""An exbibyte."""

_AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)", re.ASCII)


class UnitError(ValueError):
    """No amount of the wanted kind. ``word`` and ``names``: the unit that was written, and those that exist."""

    def __init__(self, why: str, word: str = "", names: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.word = word
        self.names = names


def duration(value: Any) -> float:
    """Seconds of a duration such as ``500ms``, ``10s``, ``5m``, ``2h``, ``1d`` or a bare ``0``.

    :raises UnitError: it is none, or longer than a century.
    """
    seconds = float(_amount(value, DURATIONS, "a duration such as 10s, 5m or 1d", "30s"))
    if seconds > LONGEST:
        raise UnitError("is too long: a century is the most")
    return seconds


def size(value: Any) -> int:
    """Bytes of a size such as ``100B``, ``512KiB``, ``64MiB``, ``24GB`` or a bare ``0``.

    :raises UnitError: it is none, or larger than an exbibyte.
    """
    count = int(_amount(value, SIZES, "a size such as 512KiB, 64MiB or 24GB", "64MiB"))
    if count > LARGEST:
        raise UnitError("is too large: an exbibyte is the most")
    return count


def shown(count: int) -> str:
    """A size for people: in the largest unit of 1024 that leaves 1 or more, with a decimal where it is not even."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if count >= SIZES[unit]:
            return f"{count / int(SIZES[unit]):.1f}".removesuffix(".0") + unit
    return f"{count}B"


def _amount(value: Any, units: Mapping[str, Decimal], wanted: str, example: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnitError(f"must be {wanted}")
    match = _AMOUNT.fullmatch(str(value).strip())
    if match is None:
        raise UnitError(f"must be {wanted}")
    number, unit = Decimal(match[1]), match[2]
    if not unit:
        if number == 0:
            return number
        raise UnitError(f"needs a unit ({', '.join(units)}), such as {example}")
    if unit not in units:
        raise UnitError(f"has an unknown unit '{unit[:20]}'", unit, tuple(units))
    return number * units[unit]
