"""Reading an engine's answers, which may be anything: each function returns what it promises, or raises `BadAnswer`."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

LONGEST_MESSAGE = 4 << 20
"""Bytes that one message of a stream may have."""

_NEVER = "0001-01-01"


class BadAnswer(Exception):
    """What came is nothing that Docker's API gives."""


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise BadAnswer(f"{type(value).__name__} in place of an object")
    return value


def listed(value: Any) -> Sequence[Any]:
    """A JSON list; Docker writes ``null`` for an empty one."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadAnswer(f"{type(value).__name__} in place of a list")
    return value


def text(block: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """The text under a key."""
    value = block.get(key, default)
    if not isinstance(value, str):
        raise BadAnswer(f"{key} is no text")
    return value


def whole(block: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """The whole number under a key."""
    value = block.get(key, default)
    if type(value) is not int:
        raise BadAnswer(f"{key} is no whole number")
    return value


def moment(block: Mapping[str, Any], key: str) -> float | None:
    """Seconds since the epoch of a time (RFC 3339, in UTC, with nanoseconds); ``None`` where it has not come."""
    written = text(block, key, "")
    if not written or written.startswith(_NEVER):
        return None
    try:
        whole_seconds, _, fraction = written.removesuffix("Z").partition(".")
        seconds = datetime.fromisoformat(whole_seconds).replace(tzinfo=UTC).timestamp()
        return seconds + float(f"0.{fraction or 0}")
    except (ValueError, OverflowError):
        raise BadAnswer(f"{key} is no time") from None


def one_line(message: object, most: int = 300) -> str:
    """What somebody else says, fit to stand in a sentence: printable, on one line, and not long."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in str(message)[: most * 4]).split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def messages(pieces: Iterator[bytes]) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a stream of them, as they come; between them is white space or nothing."""
    decoder, letters = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8")("replace")
    waiting = ""
    for piece in pieces:
        waiting = (waiting + letters.decode(piece)).lstrip()
        while waiting:
            try:
                message, end = decoder.raw_decode(waiting)
            except RecursionError:
                raise BadAnswer("a message is nested too deep") from None
            except ValueError:
                break  # the rest of it is still to come
            yield mapping(message)
            waiting = waiting[end:].lstrip()
        if len(waiting) > LONGEST_MESSAGE:
            raise BadAnswer(f"a message of more than {LONGEST_MESSAGE} bytes")
    if waiting:
        raise BadAnswer("the stream ends within a message")


class Unframed:
    """Takes the framing from a container's output: a head of 8 bytes before each piece, with its length (Docker)."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        """What was printed of what came."""
        printed = []
        while data:
            if self._left:
                printed.append(data[: self._left])
                self._left -= len(printed[-1])
                data = data[len(printed[-1]) :]
                continue
            need = 8 - len(self._head)
            self._head, data = self._head + data[:need], data[need:]
            if len(self._head) == 8:
                if self._head[0] > 2 or self._head[1:4] != b"\0\0\0":
                    raise BadAnswer("a container's output without its framing")
                self._left, self._head = int.from_bytes(self._head[4:], "big"), b""
        return b"".join(printed)
