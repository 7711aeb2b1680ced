"""A YAML scalar read as YAML 1.1 reads it, save for the notations that trap people."""

from __future__ import annotations

import re
from typing import Any, Final

_PREFIX = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_DIGITS = 100
"""No number here has more; Python takes quadratic time over long ones."""


class Broken:
    """Stands for a value whose problem was already reported, so that nothing more is said about it."""

    def __repr__(self) -> str:
        return "BROKEN"


BROKEN: Final = Broken()


class Refused(Exception):
    """This scalar cannot be taken; ``str()`` says why, ``notation`` whether its text is fine once it is quoted."""

    def __init__(self, why: str, quotable: bool = False) -> None:
        super().__init__(why)
        self.quotable = quotable


def read_scalar(tag: str, text: str) -> Any:
    """The value of a scalar: str, int, float, bool or None.

    Dates stay text: nothing here is a date, and versions and image tags look like one.

    :param tag: resolved as YAML 1.1 says.
    :raises Refused: for other tags, values that do not fit their tag, and numbers in octal or base 60.
    """
    kind = tag.removeprefix(_PREFIX)
    if kind in ("str", "timestamp", "value", "merge"):
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return _truth(text)
    if kind == "int":
        return _integer(text)
    if kind == "float":
        return _float(text)
    raise Refused("this tag is not allowed: only plain values, lists and mappings are")


def _truth(text: str) -> bool:
    word = text.lower()
    if word in ("yes", "true", "on"):
        return True
    if word in ("no", "false", "off"):
        return False
    raise Refused("this is neither true nor false")


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise Refused("this number is too long")
    plain = text.replace("_", "")
    try:
        if _DECIMAL.fullmatch(text):
            return int(plain)
        if plain.lstrip("+-")[:2].lower() in ("0x", "0b"):
            return int(plain, 0)
        value = _base_60(plain) if ":" in plain else int(plain, 8)
    except ValueError:
        raise Refused("this is no whole number") from None
    notation = "in base 60" if ":" in plain else "in octal"
    raise Refused(f"YAML reads this as the number {value}, {notation}", quotable=True)


def _base_60(text: str) -> int:
    value = 0
    for part in text.lstrip("+-").split(":"):
        value = value * 60 + int(part)
    return -value if text.startswith("-") else value


def _float(text: str) -> float:
    if ":" in text:
        raise Refused("YAML reads this as a number in base 60", quotable=True)
    if len(text) > _DIGITS:
        raise Refused("this number is too long")
    try:
        return float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise Refused("this is no number") from None
