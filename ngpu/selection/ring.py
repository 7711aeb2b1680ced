"""A consistent hash of keys to whatever of it is there, for policies that keep requests together.

Each thing has a few points on a circle, and a key has several probes: the point that follows one of these most closely
wins (multi-probe consistent hashing, Appleton and O'Reilly 2015), which spreads keys as evenly as hundreds of points
for each thing do. When the winner leaves, its keys go elsewhere, each to the next closest; all other keys stay.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

PROBES = 16
STEPS = 8
"""How many points each probe looks at, at most, until one is fit."""

_CIRCLE = 1 << 64


class Ring(Generic[T]):
    """Named things on the circle. A look-up costs O(log n); so does a change, but for moving a short array's end."""

    def __init__(self) -> None:
        self._points: list[tuple[int, str]] = []
        self._things: dict[str, tuple[T, int]] = {}

    def put(self, name: str, thing: T, points: int) -> None:
        """Take a thing in, or in place of one of that name."""
        if name in self._things:
            points = self._things[name][1]
        else:
            for number in range(points):
                insort(self._points, (_hash(f"{name}/{number}")[0], name))
        self._things[name] = thing, points

    def drop(self, name: str) -> None:
        """Leave a thing out, if it is there."""
        _, points = self._things.pop(name, (None, 0))
        for number in range(points):
            del self._points[bisect_left(self._points, (_hash(f"{name}/{number}")[0], name))]

    def find(self, key: str, fits: Callable[[T], bool]) -> T | None:
        """The thing for a key, or the closest one that fits; ``None`` where none of those nearby does."""
        start, step = _hash(key)
        nearest, found = _CIRCLE, None
        for number in range(PROBES if self._points else 0):
            probe = (start + number * step) % _CIRCLE
            at = bisect_left(self._points, (probe, ""))
            for index in range(at, at + min(STEPS, len(self._points))):
                point, name = self._points[index % len(self._points)]
                distance = (point - probe) % _CIRCLE
                if distance >= nearest:
                    break
                thing = self._things[name][0]
                if fits(thing):
                    nearest, found = distance, thing
                    break
        return found


def _hash(text: str) -> tuple[int, int]:
    """Two numbers of 64 bits, the same in every process; the second is odd."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big") | 1
