"""Things in the order of their ranks: each change costs O(log n), the first one O(1), ties are broken at random.

Things of one rank stand together in a bucket, and a heap holds each bucket's rank once. A random number as the last
part of a rank would not do: whoever drew a high one would stay behind those that come and go, and draw anew, for ever.
"""

from __future__ import annotations

import heapq
from random import Random
from typing import Any, Generic, TypeVar

T = TypeVar("T")

SPARE = 16
"""Empty buckets that may stand in the heap, beside as many as there are things, before it is made anew."""


class Ranking(Generic[T]):
    """Named things, each with a rank.

    :param rng: chooses among those of one rank.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._heap: list[Any] = []
        self._buckets: dict[Any, list[tuple[str, T]]] = {}
        self._where: dict[str, tuple[Any, int]] = {}

    def __len__(self) -> int:
        """How many things there are."""
        return len(self._where)

    def put(self, name: str, rank: Any, thing: T) -> None:
        """Take a thing in, or give it another rank.

        :param rank: hashable, and comparable with all others; the least is first.
        """
        before = self._where.get(name)
        if before is not None and before[0] == rank:
            self._buckets[rank][before[1]] = name, thing
            return
        self.drop(name)
        bucket = self._buckets.get(rank)
        if bucket is None:
            bucket = self._buckets[rank] = []
            heapq.heappush(self._heap, rank)
        self._where[name] = rank, len(bucket)
        bucket.append((name, thing))
        if len(self._heap) > 2 * len(self._where) + SPARE:
            self._tidy()

    def drop(self, name: str) -> None:
        """Leave a thing out, if it is there."""
        rank, index = self._where.pop(name, (None, -1))
        if index >= 0:
            bucket = self._buckets[rank]
            last = bucket.pop()
            if index < len(bucket):  # the last one fills the gap
                bucket[index] = last
                self._where[last[0]] = rank, index

    def first(self) -> T | None:
        """One of those with the least rank; ``None`` when there is nothing."""
        while self._heap:
            bucket = self._buckets[self._heap[0]]
            if bucket:
                return bucket[self._rng.randrange(len(bucket))][1] if len(bucket) > 1 else bucket[0][1]
            del self._buckets[heapq.heappop(self._heap)]
        return None

    def _tidy(self) -> None:
        self._buckets = {rank: bucket for rank, bucket in self._buckets.items() if bucket}
        self._heap = list(self._buckets)
        heapq.heapify(self._heap)
