"""Documents with bodies in them say the same as those written in one go."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

from gateway_rig import done
from hypothesis import given, settings
from hypothesis import strategies as st

from ngpu.model import CHUNK, BytesBody
from ngpu.wire.stream import Embedded, Spelling, dump, render


class CutBody:
    """A body in pieces of a test's choice."""

    def __init__(self, data: bytes, places: Sequence[int]) -> None:
        self._data = data
        self._ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})

    @property
    def length(self) -> int:
        return len(self._data)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start, end in pairwise(self._ends):
            yield self._data[start:end]


async def _pieces(value: Any) -> list[bytes]:
    return [piece async for piece in render(value)]


def written(value: Any) -> bytes:
    pieces = done(_pieces(value))
    assert all(pieces), "an empty piece would end a chunked reply"
    return b"".join(pieces)


PLACES = st.lists(st.integers(0, 1000), max_size=6)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(st.text(), JSON_VALUES, max_size=4)


@given(DOCUMENTS, st.text(max_size=60), st.binary(max_size=60), JSON_VALUES, PLACES)
@settings(deadline=None)
def test_documents_are_what_json_says(plain: Any, text: str, data: bytes, value: Any, places: list[int]) -> None:
    bodies = {
        "text": Embedded(CutBody(text.encode(), places), Spelling.TEXT),
        "base64": Embedded(CutBody(data, places), Spelling.BASE64),
        "json": Embedded(CutBody(json.dumps(value).encode(), places), Spelling.JSON),
    }
    said = {"text": text, "base64": base64.b64encode(data).decode(), "json": value}
    document = {**plain, "inner": {**plain, **bodies}, **bodies}
    assert json.loads(written(document)) == {**plain, "inner": {**plain, **said}, **said}


@given(JSON_VALUES)
@settings(deadline=None)
def test_plain_documents_are_written_alike(value: Any) -> None:
    spelled = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert written(value) == dump(value) == spelled


def test_a_character_may_be_cut_anywhere() -> None:
    text = 'é😀\u2028\x00"\\/'
    data = text.encode()
    for place in range(len(data)):
        assert json.loads(written(Embedded(CutBody(data, [place]), Spelling.TEXT))) == text


def test_empty_bodies_are_empty_strings() -> None:
    for spelling in (Spelling.TEXT, Spelling.BASE64):
        assert written({"a": Embedded(BytesBody(), spelling)}) == b'{"a":""}'


def test_a_lone_surrogate_in_a_message_does_not_break_the_reply() -> None:
    assert json.loads(written({"msg": "a\ud800b"})) == {"msg": "a?b"}


def test_what_is_no_text_after_all_still_makes_a_document() -> None:
    assert json.loads(written(Embedded(BytesBody(b"a\xffb"), Spelling.TEXT))) == "a\ufffdb"


def test_a_large_body_comes_in_pieces() -> None:
    pieces = done(_pieces({"data": Embedded(BytesBody(b"x" * (10 * CHUNK)), Spelling.TEXT)}))
    assert max(map(len, pieces)) <= 2 * CHUNK
