"""Streams of statuses without sockets: what is told when, and what a quiet one says."""

from __future__ import annotations

import json
from typing import Any

from gateway_rig import House, begun

from ngpu.errors import StoreUnavailable
from ngpu.http.streaming import HEARTBEAT, Streaming


class Reader:
    """Takes what a stream gives, as it comes."""

    def __init__(self, house: House, task_id: str) -> None:
        self.streaming = Streaming(house.gateway, house.runs, house.clock, house.metrics, 10)
        self.pieces: list[bytes] = []
        self._events = self.streaming._events(house.task(task_id), None)
        self.reading = begun(self._read())

    async def _read(self) -> None:
        async for piece in self._events:
            self.pieces.append(piece)

    @property
    def told(self) -> list[dict[str, Any]]:
        text = b"".join(self.pieces).decode()
        return [json.loads(line.removeprefix("data: ")) for line in text.split("\n") if line.startswith("data: ")]


def test_a_quiet_stream_shows_that_it_lives_and_says_nothing_twice() -> None:
    house = House(up=False)
    reader = Reader(house, house.submit())
    assert [event["status"] for event in reader.told] == ["queued"]
    house.pass_time(HEARTBEAT * 2 + 2)
    assert reader.pieces.count(b": still there\n\n") == 2
    assert len(reader.told) == 1


def test_places_in_the_queue_are_told_as_they_change() -> None:
    house = House(up=False)
    first, second = house.submit(), house.submit()
    reader = Reader(house, second)
    begun(house.gateway.cancel(first, house.submission().access))
    house.pass_time(1.5)
    assert [event["queue_position"] for event in reader.told] == [2, 1]


def test_a_store_that_fails_ends_it() -> None:
    """Its client comes back; what was told is not taken back."""
    house = House(up=False)
    reader = Reader(house, house.submit())
    house.store.refusing.add("get")
    house.pass_time(1.5)
    assert reader.reading.over and isinstance(reader.reading.error, StoreUnavailable)
    assert reader.streaming._open == 0


def test_one_that_is_left_is_over() -> None:
    house = House(up=False)
    reader = Reader(house, house.submit())
    assert reader.streaming._open == 1
    reader.reading.deferred.cancel()
    assert reader.streaming._open == 0
    assert house.clock.getDelayedCalls() == []
