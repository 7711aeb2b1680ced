"""A large submission is read as a small one is: the same is refused, and what is for the worker is the same bytes."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_envelope import JSON_VALUES, MIB, PIECES, SECONDS, with_data

from ngpu.errors import BadRequest
from ngpu.model import CHUNK
from ngpu.wire.envelope import DEEPEST, LONGEST_NUMBER, MOST_VALUES, Envelope, parse_envelope, parse_flat
from ngpu.wire.large import LONGEST_ADDRESS, Span, find_envelope, find_flat
from ngpu.wire.unescape import Unescape
from ngpu.wire.window import MARGIN, Read

SPLITS = st.integers(1, 7) | st.sampled_from([MARGIN, CHUNK])


def reading(body: bytes) -> Read:
    return lambda offset, size: body[offset : offset + size]


def envelope_of(body: bytes, span: Span, piece: int) -> Envelope:
    """What a worker gets of it, unescaped in pieces of that size."""
    data = body[span.offset : span.offset + span.length]
    if span.escaped:
        text = Unescape()
        parts = [text.feed(data[at : at + piece]) for at in range(0, len(data), piece)]
        data = b"".join([*parts, text.feed(b"", last=True)])
    assert len(data) == span.size
    return Envelope(span.btc_address, span.form, data)


def verdict(read: Callable[[], Envelope]) -> Envelope | None:
    try:
        return read()
    except BadRequest as error:
        assert 10 < len(str(error)) < 300
        str(error).encode()
        return None


def check_same(body: bytes, piece: int) -> None:
    expected = verdict(lambda: parse_envelope(body))
    assert verdict(lambda: envelope_of(body, find_envelope(reading(body), piece), piece)) == expected
    expected = verdict(lambda: parse_flat(body))
    assert verdict(lambda: envelope_of(body, find_flat(reading(body), piece), piece)) == expected


TEXTS = st.text(alphabet=st.characters() | st.sampled_from('\\"\n\x00\x7f\ud800\udfff😀é'))
VALUES = JSON_VALUES | TEXTS | st.dictionaries(TEXTS, JSON_VALUES | TEXTS, max_size=4)


@given(
    st.dictionaries(st.sampled_from(["data", "btc_address"]) | TEXTS, VALUES, max_size=5),
    st.booleans(),
    st.sampled_from([None, 1, "\t"]),
    SPLITS,
)
@settings(deadline=None, max_examples=150)
def test_what_is_json_is_read_alike(value: dict[str, Any], ascii: bool, indent: Any, piece: int) -> None:
    check_same(json.dumps(value, ensure_ascii=ascii, indent=indent).encode("utf-8", "surrogatepass"), piece)


@given(st.binary(max_size=60) | st.lists(PIECES, max_size=30).map(b"".join), SPLITS)
@settings(deadline=None, max_examples=150)
def test_whatever_bytes_come_are_read_alike(body: bytes, piece: int) -> None:
    check_same(body, piece)


MORE = rb"""\ud83d \ude00 \\ \" "a" "a": "\u0061": 0 true null 1e400 1e99 -0.5 Infinity {"a":1} [1,2.5] "a",""".split()
MORE_PIECES = PIECES | st.sampled_from([*MORE, "é😀".encode(), b"\xf0\x9f", b"\x1f", b"\n", b"1" * LONGEST_NUMBER])


@given(
    st.lists(MORE_PIECES, max_size=16).map(b"".join),
    st.sampled_from([b'{"data":%b}', b'{"data":"%b"}', b'{"data":{"a":[%b]}}', b'{"data":{%b}}']),
    SPLITS,
)
@settings(deadline=None, max_examples=400)
@example(b"\\ud83d\\ude00", b'{"data":"%b"}', 1)
@example(b"\\\\ud83d", b'{"data":"%b"}', 1)
@example(b'"a":1,"\\u0061":2', b'{"data":{%b}}', 3)
@example(b"1" * LONGEST_NUMBER + b"1", b'{"data":{"a":[%b]}}', 100)
def test_whatever_stands_in_data_is_read_alike(middle: bytes, around: bytes, piece: int) -> None:
    check_same(around % middle, piece)


@given(st.integers(0, 5), st.sampled_from(['"', "\\", "é", "x"]), SPLITS)
@settings(deadline=None)
def test_long_keys_are_told_apart_by_all_of_them(more: int, mark: str, piece: int) -> None:
    key = mark * (60 + more)
    for other in (key, key + "y", "y" + key):
        body = b'{"data":{%b:1,%b:{},"z":1}}' % (
            json.dumps(key).encode(),
            json.dumps(other, ensure_ascii=False).encode(),
        )
        check_same(body, piece)


@pytest.mark.parametrize("depth", [DEEPEST - 2, DEEPEST - 1, DEEPEST])
@pytest.mark.parametrize("opens, closes", [("[", "]"), ('{"a":', "}"), ('{"b":1,"a":[', "]}")])
def test_what_is_too_deep_is_refused_alike(depth: int, opens: str, closes: str) -> None:
    times = depth // (opens.count("[") + opens.count("{"))
    for inner in ("", "[]", "{}"):
        text = opens * times + (inner or '"x"') + closes * times
        check_same(with_data('{"a":' + text + "}"), CHUNK)
        check_same(b'{"data":"x","more":' + text.encode() + b"}", CHUNK)


@pytest.mark.parametrize("value", ["1", "[]"])
def test_as_many_values_as_may_be_are_read_and_one_more_is_refused(value: str) -> None:
    each = 2 if value[0] in "[{" else 1
    fits = (MOST_VALUES - 4) // each
    body = with_data('{"list": [' + ",".join([value] * fits) + "]}")
    began = time.process_time()
    span = find_envelope(reading(body))
    assert body[span.offset : span.offset + span.length] == body[8:-1]
    with pytest.raises(BadRequest, match="more than 1000000 JSON values"):
        find_envelope(reading(with_data('{"list": [' + ",".join([value] * (fits + 5)) + "]}")))
    assert time.process_time() - began < SECONDS


def test_an_address_is_a_short_text() -> None:
    address = "b" * LONGEST_ADDRESS
    assert find_flat(reading(b'{"btc_address": "%b"}' % address.encode())).btc_address == address
    with pytest.raises(BadRequest, match="longer than"):
        find_flat(reading(b'{"btc_address": "%bb"}' % address.encode()))


LARGE = 8 * MIB


@pytest.mark.parametrize(
    "body",
    [
        with_data('"' + "x" * LARGE + '"'),
        with_data('"' + '\\"' * (LARGE // 2) + '"'),
        with_data('"' + "é\\n" * (LARGE // 4) + '"'),
        with_data('{"a":"' + "[,{" * (LARGE // 3) + '"}'),
        with_data('{"a":' + " " * LARGE + "1}"),
        with_data('{"' + "k" * LARGE + '":1}'),
        with_data('{"a":[' + ("1." + "5" * 60 + ",") * (LARGE // 63) + "1]}"),
    ],
    ids=["string", "escapes", "mixed", "text", "space", "key", "numbers"],
)
def test_it_is_not_held(body: bytes) -> None:
    tracemalloc.start()
    try:
        began = time.process_time()
        span = find_envelope(reading(body))
        took = time.process_time() - began
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert span.length > LARGE - 100
    assert peak < 4 * MIB
    assert took < SECONDS
