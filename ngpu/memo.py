"""What was found out about short pieces of heads that come again and again: names of header fields, whole lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

LONGEST = 160
"""Bytes of a key at most: longer ones are looked at each time, since those who send them decide how many there are."""

MOST = 1024
"""How many are kept; with one more, all are forgotten."""


class Memo(dict[K, V]):
    """``memo[key]`` is what ``find`` says of the key. A dictionary, since a hit must cost no call of Python code.

    :param find: what it raises is not kept.
    :param size: how many bytes a key has.
    """

    def __init__(self, find: Callable[[K], V], size: Callable[[K], int] = len) -> None:  # type: ignore[assignment]
        super().__init__()
        self._find = find
        self._size = size

    def __missing__(self, key: K) -> V:
        value = self._find(key)
        if self._size(key) <= LONGEST:
            if len(self) >= MOST:
                self.clear()
            self[key] = value
        return value


def size_of_field(field: tuple[bytes, bytes]) -> int:
    """The bytes of a header field, as a `Memo` asks."""
    return len(field[0]) + len(field[1])
