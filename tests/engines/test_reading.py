"""Streams of messages and of framed output, however they are cut into pieces."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngpu.engines.reading import LONGEST_MESSAGE, BadAnswer, Unframed, messages, moment

values = st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers() | st.none(), max_size=3)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


@given(st.lists(values), st.lists(st.integers(1, 9)), st.sampled_from(["\r\n", "", "\n\n "]))
def test_messages_come_whole(sent: list[dict[str, Any]], sizes: list[int], between: str) -> None:
    data = between.join(json.dumps(each, ensure_ascii=False) for each in sent).encode("utf-8", "surrogatepass")
    if "\\ud" not in repr(sent):
        assert list(messages(iter(cut(data, sizes)))) == sent


@pytest.mark.parametrize("data", [b"[1]", b'{"a":', b"x", b'{"a":1}{', b"{" * (LONGEST_MESSAGE + 9), b"[" * 100_000])
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        list(messages(iter(cut(data, [3]))))


@given(st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=20))), st.lists(st.integers(1, 9)))
def test_framing_is_taken_off(printed: list[tuple[int, bytes]], sizes: list[int]) -> None:
    data = b"".join(struct.pack(">BxxxL", stream, len(text)) + text for stream, text in printed)
    unframed = Unframed()
    assert b"".join(map(unframed.feed, cut(data, sizes))) == b"".join(text for _, text in printed)


def test_moments() -> None:
    assert moment({"at": "2026-11-25T23:14:44.120923944Z"}, "at") == pytest.approx(1795648484.120924)
    assert moment({"at": "0001-01-01T00:00:00Z"}, "at") is None
    assert moment({}, "at") is None
    for odd in ("yesterday", "2026-99-99T00:00:00Z", "2026-11-25T23:14:44.x1Z"):
        with pytest.raises(BadAnswer):
            moment({"at": odd}, "at")
