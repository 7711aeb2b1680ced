"""Reading a source's JSON strictly: whatever is not as documented is a `Surprise`, never a guess."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

MOST_DECIMALS = 18
"""Decimals that a BRC-20 token has at most, and by default."""

_AMOUNT = re.compile(r"[0-9]{1,40}(\.[0-9]{1,36})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,60}", re.ASCII)


class Surprise(Exception):
    """A reply that is not as its source documents; ``str()`` says where, for the log, and holds nothing out of it."""


class Reply:
    """A value in a reply, and where it stands."""

    def __init__(self, value: Any, where: str = "the reply") -> None:
        self.value = value
        self._where = where

    def __getitem__(self, name: str) -> Reply:
        """A member of an object.

        :raises Surprise: this is none, or has no such member.
        """
        if not isinstance(self.value, dict) or name not in self.value:
            self._refuse(f"has no {name}")
        return Reply(self.value[name], f"{self._where}.{name}")

    def has(self, name: str) -> bool:
        """Whether this is an object with such a member."""
        return isinstance(self.value, dict) and name in self.value

    def items(self) -> Iterator[Reply]:
        """What a list holds."""
        if not isinstance(self.value, list):
            self._refuse("is no list")
        return (Reply(each, f"{self._where}[{index}]") for index, each in enumerate(self.value))

    def text(self) -> str:
        """A string that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            self._refuse("is no text")
        return str(self.value)

    def whole(self) -> int:
        """A JSON number that is whole and not negative, such as a height or a total."""
        if type(self.value) is not int or not 0 <= self.value < 1 << 53:
            self._refuse("is no whole number")
        return int(self.value)

    def amount(self) -> Decimal:
        """A balance in tokens: plain decimal digits in a string (up to 36 behind the point), or a whole JSON number.

        A JSON number with a point or an exponent has been a float somewhere, and is refused.
        """
        text = self._digits()
        if not _AMOUNT.fullmatch(text):
            self._refuse("is no amount")
        return Decimal(text)

    def scaled(self, decimals: int) -> Decimal:
        """A balance as a whole number of a token's smallest parts, 10 to the power of ``decimals`` of them a token."""
        text = self._digits()
        if not _WHOLE.fullmatch(text):
            self._refuse("is no whole amount")
        return Decimal(f"{text}e-{decimals}")

    def _digits(self) -> str:
        if type(self.value) is int:
            return str(self.value)
        return self.value if isinstance(self.value, str) else ""

    def _refuse(self, why: str) -> NoReturn:
        raise Surprise(f"{self._where} {why}")


def parse(body: bytes) -> Reply:
    """A JSON text as it was written: fractions exact, no NaN, no name twice in an object.

    :raises ValueError: it is no JSON, or none that can be read safely.
    """
    try:
        return Reply(
            json.loads(
                body.decode("utf-8"),
                parse_float=_fraction,
                parse_int=_integer,
                parse_constant=_constant,
                object_pairs_hook=_object,
            )
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _fraction(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        raise ValueError("an exponent that nobody can mean") from None


def _integer(digits: str) -> int:
    if len(digits) > 100:
        raise ValueError("a number of more than 100 digits")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name twice in one object")
    return members
