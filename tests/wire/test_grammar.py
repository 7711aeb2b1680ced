"""Whether a text in pieces is JSON: the same answer as for the whole, and no memory for its strings."""

from __future__ import annotations

import json
import time
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ngpu.wire.envelope import DEEPEST
from ngpu.wire.grammar import TextCheck

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def checked(*pieces: bytes, json: bool = True) -> tuple[bool, bool]:
    check = TextCheck(json)
    for piece in pieces:
        check.feed(piece)
    return check.finish()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(ends)]


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_json(data: bytes) -> bool:
    """What the standard library says, without the constants that are not JSON."""

    def refuse(name: str) -> Any:
        raise ValueError

    try:
        json.loads(data.decode("utf-8"), parse_constant=refuse)
    except ValueError:
        return False
    return True


@given(JSON_VALUES, st.booleans(), st.lists(st.integers(0, 10_000), max_size=8))
@settings(deadline=None)
def test_json_is_json_wherever_it_is_cut(value: Any, ascii: bool, places: list[int]) -> None:
    data = json.dumps(value, ensure_ascii=ascii).encode()
    assert checked(*cut(data, places)) == (True, True)


MARKS = ["{", "}", "[", "]", '"', ":", ",", "\\", "\\u00", "4e", "1", "-", ".", "e+", "true", "null", " ", "\n", "\x0b"]


@given(
    st.lists(st.sampled_from(MARKS) | st.characters(exclude_categories=["Cs"]), max_size=25).map("".join),
    st.lists(st.integers(0, 100), max_size=5),
)
@example("[\x0b]", [])
@example("[\x0c1]", [])
@example('null"', [])
@settings(deadline=None, max_examples=250)
def test_the_answer_is_the_standard_librarys(text: str, places: list[int]) -> None:
    data = text.encode()
    assert checked(*cut(data, places)) == (True, is_json(data))


@given(JSON_VALUES, st.integers(0, 10_000), st.binary(min_size=1, max_size=3), st.lists(st.integers(0, 10_000)))
@settings(deadline=None, max_examples=200)
def test_damaged_json_is_judged_alike(value: Any, place: int, damage: bytes, places: list[int]) -> None:
    data = json.dumps(value).encode()
    place %= len(data) + 1
    data = data[:place] + damage + data[place + 1 :]
    assert checked(*cut(data, places)) == (is_text(data), is_json(data))


@given(st.binary(max_size=40), st.lists(st.integers(0, 40)))
@settings(deadline=None)
def test_utf8_is_judged_across_pieces(data: bytes, places: list[int]) -> None:
    assert checked(*cut(data, places), json=False) == (is_text(data), False)


@pytest.mark.parametrize(
    "data",
    [
        b'"\\x"',
        b'"\\u12g4"',
        b'"\\u12',
        b'"\n"',
        b'"\x00"',
        b'"\xff"',
        b'"\xc3"',
        b'"\xed\xa0\x80"',
        b'"a',
        b'"a\\',
        b"",
        b"1" * 5000,
        b"[" + b"1" * 5000 + b"]",
        b"1e99999999999999999999999",
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_no_client_could_read_is_no_json(data: bytes) -> None:
    assert checked(data) == checked(*(bytes([byte]) for byte in data))
    assert not checked(data)[1]


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_is_nested_too_deep_for_clients_is_text(opening: bytes, closing: bytes) -> None:
    """It is JSON by the book, and would make a reply that holds it unreadable."""
    for depth, fits in ((DEEPEST, True), (DEEPEST + 1, False), (100_000, False)):
        data = opening * depth + b'"]}[{"' + closing * depth
        assert checked(data) == checked(*cut(data, [7, 501, len(data) - 9])) == (True, fits)
    flat = b"[" + b",".join([opening + b"1" + closing] * 5000) + b"]"
    assert checked(flat) == checked(*cut(flat, [1000, 1001, 9000])) == (True, True), "much is not deep"


def test_lone_surrogates_and_duplicates_are_the_workers_own_affair() -> None:
    assert checked(b'{"a":"\\ud800","a":2}') == (True, True)


def test_a_picture_passes_without_being_held() -> None:
    piece = b"iVBORw0KGgo" * 6000
    check = TextCheck(True)
    check.feed(b'{"images":["')
    tracemalloc.start()
    try:
        for _ in range(64 * 1024 * 1024 // len(piece)):
            check.feed(piece)
        assert tracemalloc.get_traced_memory()[1] < 2 * 1024 * 1024
    finally:
        tracemalloc.stop()
    check.feed(b'"]}')
    assert check.finish() == (True, True)


@pytest.mark.parametrize("filling", [b"1", b"[", b" ", b'"",', b"1,", b"\\u0000", b"e", b"-"])
def test_a_long_reply_of_one_kind_is_checked_as_it_comes(filling: bytes) -> None:
    piece = filling * (64 * 1024 // len(filling))
    check = TextCheck(True)
    check.feed(b'["' if filling == b"\\u0000" else b"[")
    began = time.process_time()
    for _ in range(64):
        check.feed(piece)
    check.finish()
    assert time.process_time() - began < 15
