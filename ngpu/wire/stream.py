"""JSON documents with bodies in them, written piece by piece: a result of 64 MiB passes through without being held."""

from __future__ import annotations

import base64
import codecs
import enum
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

from ngpu.model import CHUNK, Body, BytesBody
from ngpu.thawed import thawed

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_PLAIN = frozenset({str, int, float, bool, type(None)})


class Spelling(enum.Enum):
    """How the bytes of a body stand in a document: inside a string, as the JSON that they are, or in base64."""

    TEXT = "text"
    JSON = "json"
    BASE64 = "base64"


@thawed
@dataclass(frozen=True, slots=True)
class Embedded:
    """A body that stands as a value in a document."""

    body: Body
    spelling: Spelling


def dump(value: Any) -> bytes:
    """A document without bodies in it, as UTF-8."""
    return _to_json(value).encode("utf-8", "replace")


def compose(value: Any) -> list[bytes | Embedded]:
    """The document as the bytes that it is, one item, but for `Embedded` values that are not in memory or large.

    Such values may stand in it, and in the objects within it.
    """
    parts: list[bytes | Embedded] = []
    _compose(value, parts)
    whole: list[bytes | Embedded] = []
    gathered: list[bytes] = []
    for part in parts:
        if isinstance(part, bytes):
            gathered.append(part)
        else:
            whole += [b"".join(gathered), part] if gathered else [part]
            gathered = []
    return [*whole, b"".join(gathered)] if gathered else whole


def _compose(value: Any, parts: list[bytes | Embedded]) -> None:
    if isinstance(value, Embedded):
        body = value.body
        parts.append(
            _spelled(body.data, value.spelling) if isinstance(body, BytesBody) and body.length <= CHUNK else value
        )
        return
    if not isinstance(value, dict | Mapping):  # a dictionary is one, but asking Mapping takes ten times as long
        parts.append(dump(value))
        return
    text = "{"
    plain: dict[Any, Any] = {}  # those that need no more than to be dumped, in one go
    for name, member in value.items():
        if type(member) in _PLAIN or not isinstance(member, Embedded | Mapping):
            plain[name] = member
            continue
        if plain:
            text += _to_json(plain)[1:-1] + ","
            plain = {}
        parts.append((text + _to_json(name) + ":").encode("utf-8", "replace"))
        text = ","
        _compose(member, parts)
    if plain:
        text += _to_json(plain)[1:-1]
    elif text == ",":
        text = ""
    parts.append((text + "}").encode("utf-8", "replace"))


def _spelled(data: bytes, spelling: Spelling) -> bytes:
    if spelling is Spelling.JSON:
        return data
    if spelling is Spelling.TEXT:
        return encode_basestring(data.decode("utf-8", "replace")).encode()
    return b'"' + base64.b64encode(data) + b'"'


async def render(value: Any) -> AsyncIterator[bytes]:
    """The document in pieces, none empty."""
    async for piece in pieces_of(compose(value)):
        yield piece


async def pieces_of(parts: Iterable[bytes | Embedded]) -> AsyncIterator[bytes]:
    """The same of what `compose` gave."""
    for part in parts:
        if isinstance(part, bytes):
            if part:
                yield part
        else:
            async for piece in _render_body(part):
                yield piece


async def _render_body(embedded: Embedded) -> AsyncIterator[bytes]:
    chunks = embedded.body.chunks()
    if embedded.spelling is Spelling.JSON:
        async for chunk in chunks:
            yield chunk
    elif embedded.spelling is Spelling.TEXT:
        yield b'"'
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        async for chunk in chunks:
            if text := decoder.decode(chunk):
                yield encode_basestring(text)[1:-1].encode()
        yield encode_basestring(decoder.decode(b"", final=True))[1:-1].encode() + b'"'
    else:
        yield b'"'
        rest = b""
        async for chunk in chunks:
            data = rest + chunk
            whole = len(data) - len(data) % 3
            rest = data[whole:]
            if whole:
                yield base64.b64encode(data[:whole])
        yield base64.b64encode(rest) + b'"'
