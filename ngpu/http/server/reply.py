"""Pure: the head of a reply, with one framing field only (RFC 9112 §6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ngpu.http.server.refusal import reason_phrase
from ngpu.memo import Memo, size_of_field

_OURS = frozenset((b"connection", b"content-length", b"date", b"keep-alive", b"server", b"transfer-encoding"))
"""The server writes these by itself, whatever the application has set."""

Fields = Sequence[tuple[bytes, bytes]]

_FRAMING = _OURS - {b"date", b"server"}

_BODILESS = (204, 304)

SWITCHED = 101
"""Switching Protocols (RFC 9110 §15.2.2)."""

_CONTROLS = bytes(c for c in (*range(0x20), 0x7F) if c != 0x09)


class Framing(NamedTuple):
    """How a reply's end is found.

    ``field`` is the field that says so (or nothing), ``body`` says whether there is one on the wire, ``chunked``
    that it is chunked, ``length`` how long it must be if that was promised, ``close`` that the connection ends it.
    """

    field: bytes
    body: bool
    chunked: bool = False
    length: int | None = None
    close: bool = False


def frame(status: int, method: bytes, version: bytes, length: int | None) -> Framing:
    """Choose the framing of a reply (RFC 9112 §6.3).

    :param length: of the body, or ``None`` when that is not known yet.
    """
    if status in _BODILESS:
        return Framing(b"", body=False)
    if length is not None:
        return Framing(b"Content-Length: %d\r\n" % length, body=method != b"HEAD", length=length)
    if method == b"HEAD":
        return Framing(b"", body=False)
    if version == b"HTTP/1.1":
        return Framing(b"Transfer-Encoding: chunked\r\n", body=True, chunked=True)
    return Framing(b"", body=True, close=True)


def reply_head(
    status: int, fields: Iterable[tuple[bytes, Sequence[bytes]]], framing: Framing, close: bool, date: bytes
) -> bytes:
    """The bytes of a reply's head, up to and with its empty line.

    :raises ValueError: a status that is none, or a field that holds control characters.
    """
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is no status of a final reply")
    lines = [b"HTTP/1.1 %d %b\r\nServer: ngpu\r\nDate: %b\r\n" % (status, reason_phrase(status), date), framing.field]
    for name, values in fields:
        if name.lower() in _OURS:
            continue
        for value in values:
            check_field(name, value)
            lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(b"Connection: close\r\n\r\n" if close else b"\r\n")
    return b"".join(lines)


def passed_head(
    status: int, fields: Iterable[tuple[bytes, bytes]], framing: Framing, close: bool, date: bytes, own: Fields = ()
) -> bytes:
    """The same for a reply that another server made: its fields in their order, and a Date only where it has none.

    :param own: fields beside those, which are as they should be.
    :raises ValueError: a status that is none, or a field that holds control characters.
    """
    if not 200 <= status <= 599 and status != SWITCHED:
        raise ValueError(f"{status} is no status of a final reply")
    dated = False
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, reason_phrase(status))]
    for field in fields:
        line, is_date = _LINES[field]
        lines.append(line)
        dated = dated or is_date
    if not dated:
        lines.append(b"Date: %b\r\n" % date)
    lines += [b"%b: %b\r\n" % field for field in own]
    lines += [framing.field, b"Connection: close\r\n\r\n" if close else b"\r\n"]
    return b"".join(lines)


def _line(field: tuple[bytes, bytes]) -> tuple[bytes, bool]:
    """A field of such a reply on the wire, b"" where the server writes it itself; and whether it is Date."""
    key = field[0].lower()
    if key in _FRAMING:
        return b"", False
    check_field(*field)
    return b"%b: %b\r\n" % field, key == b"date"


_LINES = Memo(_line, size_of_field)


def check_field(name: bytes, value: bytes) -> None:
    """:raises ValueError: when a header field would break out of its line."""
    if len(value.translate(None, _CONTROLS)) != len(value) or len(name.translate(None, _CONTROLS)) != len(name):
        raise ValueError(f"the value of the header field {name!r} holds control characters")
