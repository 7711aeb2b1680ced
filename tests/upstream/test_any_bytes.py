"""Replies cut anywhere, and replies of any bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
import pytest_twisted
from hypothesis import example, given, settings
from hypothesis import strategies as st
from raw_worker import says
from upstream_rig import Rig

from ngpu.errors import BadReply, CallCut
from ngpu.upstream.reader import ReplyReader

H = b"HTTP/1.1 200 OK\r\n"
VALID = [
    H + b"X-A: 1\r\nContent-Length: 11\r\n\r\nhello world",
    H + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-T: t\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: l\r\n\r\n"
    + H
    + b"x-Y:  2 \r\nContent-Length: 11\r\n\r\nhello world",
    b"HTTP/1.0 200\r\n\r\nhello world",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n",
]
PIECES = [
    b"HTTP/1.1 ",
    b"200 OK",
    b"\r\n",
    b"\r\n\r\n",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"5\r\n",
    b"0\r\n\r\n",
]


def read(pieces: list[bytes]) -> tuple[object, ...]:
    reader = ReplyReader()
    body = b"".join([reader.feed(piece) for piece in pieces])
    assert reader.began
    return reader.status, reader.fields, body, reader.length, reader.complete, reader.persistent, reader.until_close


@pytest.mark.parametrize("wire", VALID)
def test_a_reply_reads_the_same_cut_at_any_one_byte(wire: bytes) -> None:
    """TCP has no message boundaries."""
    whole = read([wire])
    assert all(read([wire[:cut], wire[cut:]]) == whole for cut in range(1, len(wire)))
    assert read([wire[at : at + 1] for at in range(len(wire))]) == whole


@pytest.mark.parametrize("passed", [0, 1, 6])
@pytest.mark.parametrize("behind", [b"", b"x"])
@pytest.mark.parametrize("cut", [1, 4, 6])
def test_what_comes_behind_bytes_that_went_another_way_is_the_rest(passed: int, behind: bytes, cut: int) -> None:
    reader = ReplyReader()
    assert reader.feed(VALID[0][:-6]) == b"hello"
    reader.passed(passed)
    rest = VALID[0][len(VALID[0]) - 6 + passed :] + behind
    assert reader.feed(rest[:cut]) + reader.feed(rest[cut:]) == b" world"[passed:]
    assert reader.complete and reader.persistent is not bool(behind)


@given(st.sampled_from(VALID), st.lists(st.integers(1, 200), max_size=12))
def test_a_reply_reads_the_same_cut_anywhere(wire: bytes, cuts: list[int]) -> None:
    """TCP has no message boundaries, however many segments there are."""
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    assert read([wire[a:b] for a, b in pairwise(places)]) == read([wire])


BYTES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)), max_size=20).map(b"".join),
    st.builds(
        lambda wire, at, junk: wire[:at] + junk + wire[at + len(junk) :],
        st.sampled_from(VALID),
        st.integers(0, 120),
        st.binary(min_size=1, max_size=4),
    ),
)


@settings(max_examples=500)
@given(BYTES, st.integers(1, 50), st.booleans())
@example(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc", 50, False)
def test_the_reader_answers_any_bytes_with_a_reply_or_bad_reply(wire: bytes, size: int, head: bool) -> None:
    """Nothing else may come out of it, llhttp's own errors above all."""
    reader = ReplyReader(head)
    try:
        for at in range(0, len(wire), size):
            reader.feed(wire[at : at + size])
    except BadReply as error:
        assert str(error)
    assert reader.status == 0 or 200 <= reader.status <= 599


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest_twisted.ensureDeferred
async def test_a_call_ends_whatever_bytes_come_back(rig: Rig, then: str) -> None:
    """With a reply, BadReply or CallCut, and nothing left on the reactor (the fixture of all tests looks)."""
    outcomes = set()
    for wire in samples(150):
        try:
            outcomes.add(type(await rig.send(rig.worker(says(wire, then=then)), timeout=10)))
        except (BadReply, CallCut) as error:
            outcomes.add(type(error))
    assert {BadReply, CallCut} <= outcomes


def samples(count: int) -> list[bytes]:
    """Some of those bytes, the same each time."""
    import random

    rng = random.Random(7)
    found = [*VALID]
    while len(found) < count:
        wire = bytearray(rng.choice(VALID))
        for _ in range(rng.randint(0, 3)):
            at = rng.randrange(len(wire))
            wire[at : at + rng.randint(0, 2)] = rng.choice([*PIECES, rng.randbytes(2)])
        found.append(bytes(wire[: rng.randint(0, 2 * len(wire))]))
    return found
