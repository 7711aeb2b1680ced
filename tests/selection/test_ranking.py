"""`Ranking` and `Ring`: against naive accounts of the same, and what their users rely on."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ngpu.selection import Ranking, Ring

STEPS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.none() | st.integers(0, 3)), max_size=60)


@given(STEPS)
@settings(deadline=None)
def test_a_ranking_gives_one_of_the_least(steps: list[tuple[str, int | None]]) -> None:
    ranking: Ranking[tuple[str, int]] = Ranking(Random(1))
    ranks: dict[str, int] = {}
    for number, (name, rank) in enumerate(steps):
        if rank is None:
            ranking.drop(name)
            ranks.pop(name, None)
        else:
            ranking.put(name, rank, (name, number))
            ranks[name] = rank
        first = ranking.first()
        assert len(ranking) == len(ranks)
        assert (first is None) is (not ranks)
        assert first is None or ranks[first[0]] == min(ranks.values())


def test_ties_are_broken_evenly_also_among_those_that_come_and_go() -> None:
    """One that is taken out and put back has no better turn than those that stay."""
    ranking: Ranking[str] = Ranking(Random(2))
    for name in "abcd":
        ranking.put(name, 0, name)
    chosen: Counter[str] = Counter()
    for _ in range(4000):
        name = ranking.first()
        assert name is not None
        chosen[name] += 1
        ranking.drop(name)
        ranking.put(name, 0, name)
    assert len(chosen) == 4 and min(chosen.values()) > 900


def filled(names: str, points: int = 1) -> Ring[str]:
    ring: Ring[str] = Ring()
    for name in names:
        ring.put(name, name, points)
    return ring


KEYS = [f"key {number}" for number in range(2000)]


def find(ring: Ring[str], key: str, out: str = "") -> str:
    found = ring.find(key, lambda name: name not in out)
    assert found is not None
    return found


def test_a_ring_spreads_keys_evenly_and_in_proportion_to_points() -> None:
    spread = Counter(find(filled("abcdefgh"), key) for key in KEYS)
    assert len(spread) == 8 and max(spread.values()) < 1.5 * 2000 / 8
    ring = filled("abc", 2)
    ring.put("d", "d", 8)
    spread = Counter(find(ring, key) for key in KEYS)
    assert spread["d"] > 2 * max(spread[name] for name in "abc")


def test_only_the_keys_of_one_that_leaves_move_and_they_come_back() -> None:
    ring = filled("abcdefgh")
    before = {key: find(ring, key) for key in KEYS}
    without = {key: find(ring, key, out="c") for key in KEYS}
    ring.drop("c")
    assert {key: find(ring, key) for key in KEYS} == without, "not there and not fit are the same"
    moved = {key for key in KEYS if before[key] != without[key]}
    assert moved == {key for key in KEYS if before[key] == "c"}
    assert len({without[key] for key in moved}) > 3, "and they do not all go to one"
    ring.put("c", "c", 1)
    assert {key: find(ring, key) for key in KEYS} == before


def test_a_ring_is_the_same_in_every_process() -> None:
    """Several gateways must agree, and so must one with itself after a restart: hashes are not Python's own."""
    assert [find(filled("abcdefgh"), key) for key in ("user-1", "user-2", "user-3", "")] == ["b", "f", "f", "h"]


def test_a_ring_without_anything_that_fits() -> None:
    assert filled("").find("x", lambda name: True) is None
    assert filled("abc").find("x", lambda name: False) is None
    assert filled("a").find("x", lambda name: True) == "a"
