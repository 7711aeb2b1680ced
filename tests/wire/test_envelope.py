"""Submissions are read strictly, and what is for the worker leaves as it came."""

from __future__ import annotations

import contextlib
import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngpu.errors import BadRequest
from ngpu.model import DataForm
from ngpu.wire.envelope import DEEPEST, LONGEST_NUMBER, MOST_VALUES, Envelope, parse_envelope, parse_object
from ngpu.wire.large import find_envelope

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
MIB = 1024 * 1024
SECONDS = 20.0
"""What no large body may take, on a slow machine; what grows with the square of its size takes minutes."""


def with_data(data: str) -> bytes:
    return b'{"data":' + data.encode() + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"\xef\xbb\xbf" + with_data('"x"'),
        b"\xff\xfe",
        b'{"data":"\xff"}',
        b'{"data":"\xed\xa0\x80"}',
        b"[]",
        b'["data"]',
        b"null",
        b'"data"',
        b"1",
        b"{",
        b"}",
        b"{}",
        b'{"data"}',
        b'{"data":}',
        b'{"data":"x"',
        b'{"data":"x",}',
        b'{,"data":"x"}',
        b'{"data":"x"}x',
        b'{"data":"x"}{}',
        b'{"data":"x"} ,',
        b'{"data":"x"}\x00',
        b'{"data":"x" "a":1}',
        b'{data:"x"}',
        b"{'data':'x'}",
        b'{"data":"x"/**/}',
        with_data("null"),
        with_data("[]"),
        with_data("1"),
        with_data("true"),
        with_data('"a\nb"'),
        with_data('"\\x"'),
        with_data('"\\u12"'),
        with_data('"\\ud800"'),
        with_data('"\\udc00\\ud800"'),
        with_data('{"a":01}'),
        with_data('{"a":1.}'),
        with_data('{"a":.5}'),
        with_data('{"a":+1}'),
        with_data('{"a":1_0}'),
        with_data('{"a":tru}'),
        with_data('{"a":[1,]}'),
        with_data('{"a":NaN}'),
        with_data('{"a":Infinity}'),
        with_data('{"a":-Infinity}'),
        with_data('{"a":1e999}'),
        with_data('{"a":-1e999}'),
        with_data('{"a":%s}' % ("1" * (LONGEST_NUMBER + 1))),
        with_data('{"a":0.%s}' % ("1" * LONGEST_NUMBER)),
        with_data("[" * (DEEPEST + 1)),
        with_data('{"a":' * DEEPEST + "1" + "}" * DEEPEST),
        b'{"data":"x","data":"y"}',
        b'{"data":"x","d\\u0061ta":"y"}',
        with_data('{"a":1,"a":1}'),
        with_data('{"a":[{"b":{"c":1,"d":2,"c":3}}]}'),
        b'{"data":{},"other":{"a":1,"a":2}}',
        b'{"data":"x","btc_address":1}',
        b'{"data":"x","btc_address":null}',
        b'{"data":"x","btc_address":["bc1"]}',
        b'{"data":"x","btc_address":{"a":"b"}}',
        b'{"data":"x","btc_address":"\\ud800"}',
        b'{"btc_address":"bc1"}',
    ],
)
def test_a_bad_body_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_envelope(body)
    assert 10 < len(str(refused.value)) < 300
    str(refused.value).encode()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (gzip.compress(b'{"data": "x"}', mtime=0), "not compressed"),
        ('{"data": "x"}'.encode("utf-16"), "UTF-8"),
        ('{"data": "x"}'.encode("utf-8-sig"), "byte order mark"),
        ("\uff5b\uff5d".encode(), "must be a JSON object"),  # braces of another width begin with the same byte
    ],
)
def test_what_some_clients_send_is_told_with_what_to_do(body: bytes, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        parse_envelope(body)
    with pytest.raises(BadRequest, match=told):
        find_envelope(lambda start, size: body[start : start + size])


def test_what_is_just_not_too_deep_or_long_passes() -> None:
    deep = DEEPEST - 1
    assert parse_envelope(with_data('{"a":' * deep + "1" + "}" * deep)).form is DataForm.OBJECT
    assert parse_envelope(with_data('{"a":' + "1" * LONGEST_NUMBER + "}")).form is DataForm.OBJECT
    assert parse_envelope(with_data(json.dumps("[" * 1000))).data == b"[" * 1000, "brackets in strings are text"


@pytest.mark.parametrize(
    "data",
    [
        "{}",
        '{ "b" : 1.0,\n\t"a":1e5 , "c":-0.0}',
        '{"u":"\\u00e9\\/\\n", "v":"é😀"}',
        '{"lone":"\\ud800"}',
        '{"n":123456789012345678901234567890, "z":1E+2}',
        '{"z":1,"a":{"y":2,"b":[ ]}}',
    ],
)
def test_an_object_leaves_in_the_very_characters_it_came_in(data: str) -> None:
    envelope = parse_envelope(b' {"x": [1, {}] , "data" :  ' + data.encode() + b' , "btc_address":"a" } ')
    assert envelope == Envelope("a", DataForm.OBJECT, data.encode())


@pytest.mark.parametrize("data", ["", " ", '{"a": "b"c"}', "no json", '{"a":1}', "é\u0000\x7f😀", "\\"])
def test_a_string_leaves_byte_for_byte(data: str) -> None:
    assert parse_envelope(with_data(json.dumps(data))) == Envelope("", DataForm.STRING, data.encode())


@pytest.mark.parametrize("address", [None, "", "  ", "0000000000000000000000000GFg7xJaNVN2"])
def test_no_address_in_all_its_spellings_asks_for_no_check(address: str | None) -> None:
    body = {"data": "x"} if address is None else {"data": "x", "btc_address": address}
    assert parse_envelope(json.dumps(body).encode()).btc_address == ""


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (" BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4\n", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kV8F3T4", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kV8F3T4"),
        ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"),
    ],
    ids=["capitals", "mixed: no address", "base58"],
)
def test_one_address_has_one_spelling(sent: str, kept: str) -> None:
    """Capitals are for QR codes (BIP-173): tasks of one address are found together."""
    body = {"data": "x", "btc_address": sent}
    assert parse_envelope(json.dumps(body).encode()).btc_address == kept


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=5), st.booleans(), st.sampled_from([None, 1, "\t"]))
@settings(deadline=None)
def test_objects_are_read_as_the_standard_library_reads_them(value: Any, ascii: bool, indent: Any) -> None:
    body = json.dumps(value, ensure_ascii=ascii, indent=indent).encode()
    fields = parse_object(body)
    assert {name: field.value for name, field in fields.items()} == json.loads(body)
    for field in fields.values():
        assert isinstance(field.value, str) or json.loads(field.source) == field.value


PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\u12", b"1", b"-", b".", b"e9", b"data", b"NaN", b" ", b"\xc3"]
)


@given(st.binary(max_size=60) | st.lists(PIECES, max_size=30).map(b"".join))
@settings(deadline=None, max_examples=200)
def test_whatever_bytes_come_are_read_or_refused(body: bytes) -> None:
    try:
        parse_envelope(body)
    except BadRequest:
        return
    assert isinstance(json.loads(body)["data"], str | dict)


@given(st.lists(PIECES, max_size=20).map(b"".join))
@settings(deadline=None, max_examples=200)
def test_nothing_is_read_that_is_not_json(middle: bytes) -> None:
    body = b'{"data":{"a":' + middle + b"}}"
    try:
        json.loads(body)
    except ValueError:
        with pytest.raises(BadRequest):
            parse_envelope(body)


@pytest.mark.parametrize(
    "body",
    [
        with_data("[" * 20_000 + "]" * 20_000),
        with_data('{"a":' * 20_000 + "1" + "}" * 20_000),
        b"[" * (64 * MIB),
        with_data('"' + "x" * (64 * MIB) + '"'),
        with_data("{" + '"a":{},' * 201 + '"' + '\\"' * (8 * MIB)),
        with_data("{" + '"a":{},' * 201 + '"' * (4 * MIB)),
        with_data('{"a":"' + "[" * (16 * MIB) + '"}'),
        with_data('{"a":' + "1" * (16 * MIB) + "}"),
        with_data('{"a":' + " " * (16 * MIB) + "1}"),
    ],
    ids=["deep", "deep objects", "brackets", "string", "quotes", "empty strings", "text", "number", "space"],
)
def test_large_bodies_take_time_in_proportion(body: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(BadRequest):
        parse_envelope(body)
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("value", ["1", "{}", '{"a":1}', '""', "[]", '"\\","'])
def test_as_many_values_as_may_be_are_read_and_one_more_is_refused(value: str) -> None:
    """Each of them costs a hundred times its bytes, in memory and in a thread that the reactor has to share with."""
    each = 2 if value[0] in "[{" else 1
    fits = (MOST_VALUES - 4) // each
    body = with_data('{"list": [' + ",".join([value] * fits) + "]}")
    assert parse_envelope(body).form is DataForm.OBJECT
    began = time.process_time()
    with pytest.raises(BadRequest, match="more than 1000000 JSON values"):
        parse_envelope(with_data('{"list": [' + ",".join([value] * (4 * MOST_VALUES)) + "]}"))
    assert time.process_time() - began < SECONDS


def test_marks_in_a_string_are_no_values() -> None:
    text = ",[{" * MOST_VALUES
    assert parse_envelope(with_data(json.dumps(text))).data == text.encode()
