"""What was found out about short byte strings that come again and again, such as names of header fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

V = TypeVar("V")

LONGEST = 64
"""Bytes of a key at most: longer ones are looked at each time, since those who send them decide how many there are."""

MOST = 1024
"""How many are kept; with one more, all are forgotten."""


class Memo(dict[bytes, V]):
    """``memo[key]`` is what ``find`` says of the key. A dictionary, since a hit must cost no call of Python code."""

    def __init__(self, find: Callable[[bytes], V]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: bytes) -> V:
        value = self._find(key)
        if len(key) <= LONGEST:
            if len(self) >= MOST:
                self.clear()
            self[key] = value
        return value
